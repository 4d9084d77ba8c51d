"""`python -m mirage_hooks` is the command `mirage-hooks`."""

from __future__ import annotations

import sys

from .cli.main import main

sys.exit(main())
