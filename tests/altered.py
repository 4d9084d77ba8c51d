"""Runs `mirage-hooks` in another world: python -I altered.py CLOCK PATIENCE ARGS.

CLOCK is what the wall clock is off by, PATIENCE how long git may take, both in seconds."""

from __future__ import annotations

import sys
import time

from mirage_hooks.cli.main import main
from mirage_hooks.git import discovery, objects
from mirage_hooks.state import fastpath

shift, patience = float(sys.argv[1]), float(sys.argv[2])
now = time.time
time.time = lambda: now() + shift
discovery.PATIENCE = objects.PATIENCE = fastpath.PATIENCE = patience
sys.exit(main(sys.argv[3:]))
