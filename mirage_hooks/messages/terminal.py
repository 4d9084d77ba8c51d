"""What only a terminal gets: colours, lines that fit, and one that moves. It is given text that is
plain already."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import Any, TextIO

CHOICES = ('auto', 'always', 'never')
colour = 'auto'
"""What --color says: auto is a terminal where NO_COLOR is not set (no-color.org)."""

RED, GREEN, YELLOW = 31, 32, 33  # ECMA-48's SGR

_moving: Any = None  # tqdm's, while it is drawn


def capable(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get('TERM') != 'dumb'


def red(text: str, stream: TextIO | None = None) -> str:
    return _painted(text, RED, stream or sys.stdout)


def green(text: str, stream: TextIO | None = None) -> str:
    return _painted(text, GREEN, stream or sys.stdout)


def yellow(text: str, stream: TextIO | None = None) -> str:
    return _painted(text, YELLOW, stream or sys.stdout)


def _painted(text: str, number: int, stream: TextIO) -> str:
    wanted = capable(stream) and not os.environ.get('NO_COLOR')
    if colour == 'never' or (colour == 'auto' and not wanted):
        return text
    return f'\x1b[{number}m{text}\x1b[0m'


def seen(text: str) -> int:
    """How many characters of `text` are seen: all but its colours."""
    return len(re.sub('\x1b\\[[0-9]+m', '', text))


def fitted(text: str) -> str:
    """`text`, one line for stdout, broken between words where a terminal is narrower."""
    if not capable(sys.stdout):
        return text
    import textwrap

    indent = ' ' * (len(text) - len(text.lstrip()))
    return textwrap.fill(
        text, max(20, columns()), subsequent_indent=f'{indent}    ', break_on_hyphens=False,
        break_long_words=False,  # an address can still be clicked, a colour is whole
    )


def columns() -> int:
    """Of the terminal that stdout is; 80 where it is none."""
    import shutil

    return shutil.get_terminal_size().columns if capable(sys.stdout) else 80


def can_print(text: str) -> bool:
    """Whether stdout takes `text` in its encoding."""
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


def width() -> int:
    """Of the terminal that `draw` draws on; tqdm leaves the last column free."""
    return os.get_terminal_size(sys.stderr.fileno()).columns - 1


def draw(text: str) -> None:
    """Show `text` on stderr, which is `capable`, in the place of what was drawn there."""
    global _moving
    with contextlib.suppress(OSError):  # as with every line: who looked on may be gone
        if _moving is None:
            _moving = _bar()
        _moving.set_description_str(text)


def clear() -> None:
    """Take away what is drawn, so that something may be printed there."""
    global _moving
    if _moving is not None:
        with contextlib.suppress(OSError):
            _moving.close()
        _moving = None


def _bar() -> Any:
    import threading

    from tqdm import std

    # Neither its thread nor its semaphore: whoever asks for health is a fork of this process.
    std.tqdm.monitor_interval = 0
    std.tqdm.set_lock(threading.RLock())
    return std.tqdm(bar_format='{desc}', file=sys.stderr, leave=False, dynamic_ncols=True)
