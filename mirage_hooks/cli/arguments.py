"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from ..messages import errors


def name(command: Any, dest: str = 'name', nargs: str | None = None) -> None:
    """Give `command` the argument NAME, which a shell completes."""
    one = command.add_argument(dest, metavar='NAME', nargs=nargs, default='',
                               help='the unikernel, as mirage.yml calls it')
    one.completer = _configured


def _configured(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The names that a shell may complete."""
    from ..git.repository import Repository
    from . import names

    try:
        return names.configured(Repository(Path(parsed_args.repository or '.')))
    except errors.Refused:  # there is nothing to complete
        return []


def count(text: str) -> int:
    """A number from 0."""
    if not re.fullmatch('[0-9]{1,9}', text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 0')
    return int(text)
