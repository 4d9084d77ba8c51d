"""All that is printed for people. What comes from a repository or an image is made harmless."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import sys
import time
import unicodedata
from pathlib import Path
from typing import Any, TextIO

import msgspec

from . import errors, terminal

# Up to the last @ of the line after `user:`, for a password may hold @, / and blanks; without one,
# up to the last @ of the host's part. Rather too much than a part of a password.
_CREDENTIALS = re.compile(r'(?<=://)(?:[^/\s:]*:.*|[^/\s]*)@')


class Reporter:
    """Tells the story of one converge: steps with their time, then what runs now. `quiet` is for
    cron: only what changed or failed."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = stream or sys.stdout
        if isinstance(self.stream, io.TextIOWrapper):
            self.stream.reconfigure(errors='backslashreplace')
        self.held: list[str] = []

    def line(self, text: str) -> None:
        terminal.clear()
        # The pusher may hang up; the deployment must go on to its end all the same.
        with contextlib.suppress(OSError):
            self.stream.write(f'{text}\n')
            self.stream.flush()

    def step(self, unikernel: str, text: str) -> None:
        """Something is being done; under `quiet` it is told only when it leads to a change."""
        told = f'{stamp()}  {unikernel}: {plain(text)}'
        self.held.append(told) if self.quiet else self.line(told)

    def waiting(self, holder: str) -> None:
        if not self.quiet:
            self.line(f'waiting for another deployment to end: {plain(holder)}')

    def failure(self, refused: errors.Refused) -> None:
        """Why a whole command came to nothing: mistakes in a file as compilers tell them."""
        if isinstance(refused, errors.Mistakes):
            for line in refused.lines:
                self.line(plain(line))
        else:
            self.refused(refused.reason, refused.hint)

    def refused(self, reason: str, hint: str) -> None:
        self.line(f'{terminal.red("mirage-hooks:", self.stream)} {plain(reason)}')
        if hint:
            self.line(f'  hint: {plain(hint)}')


def stamp() -> str:
    """When it is, counted from when this command was started."""
    return f'{max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - _started()):6.2f} s'


@functools.cache
def _started() -> float:
    """Seconds since boot at which this process was started: field 22 of proc(5)."""
    fields = Path('/proc/self/stat').read_bytes().rpartition(b')')[2].split()
    return int(fields[19]) / os.sysconf('SC_CLK_TCK')


def encoded(value: Any) -> str:
    """`value` for a program, and harmless on a terminal: in ASCII alone."""
    return json.dumps(msgspec.to_builtins(value), indent=2)


def plain(text: str) -> str:
    """`text` on one line, without anything a terminal would obey: control, escape and
    direction-changing characters are shown as \\x1b or \\u202e."""
    return ''.join(
        character
        if character == ' ' or unicodedata.category(character)[0] not in 'CZ'
        else _shown(character)
        for character in text
    )


def _shown(character: str) -> str:
    if character == '\t':
        return ' '
    number = ord(character)
    return f'\\x{number:02x}' if number < 256 else f'\\u{number:04x}'


def masked(text: str) -> str:
    """`text` without the user and password of any address in it."""
    return _CREDENTIALS.sub('', text)


def age(then: float) -> str:
    """How long ago `then` (seconds since 1970) was, as 5 s, 12 min, 3 h or 2 days."""
    passed = max(0, int(time.time() - then))
    for size, unit in ((86400, 'days'), (3600, 'h'), (60, 'min')):
        if passed >= 2 * size:
            return f'{passed // size} {unit}'
    return f'{passed} s'


def table(rows: list[list[str]]) -> list[str]:
    """`rows` in columns as wide as their widest cell."""
    widths = [max(map(terminal.seen, column)) for column in zip(*rows, strict=True)]
    return [
        '  '.join(cell + ' ' * (width - terminal.seen(cell))
                  for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
