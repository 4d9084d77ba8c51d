"""The commands that look at mirage.yml itself."""

from __future__ import annotations

import sys
from pathlib import Path

from ..config import reading
from ..messages import errors
from ..messages.report import Reporter, plain


def check(files: list[Path]) -> int:
    """Say of each of `files` that it is well, or all that is wrong in it; 1 when anything is."""
    wrong = 0
    for file in files:
        try:
            settings = reading.load(file)
        except errors.Refused as refused:
            Reporter(stream=sys.stderr).failure(refused)
            wrong = 1
        else:
            count = len(settings.unikernels)
            print(plain(f'{file}: {count} unikernel{"s" * (count != 1)}, all well'))
    return wrong
