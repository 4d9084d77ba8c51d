"""All that is printed for people. What comes from a repository or an image is made harmless."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import sys
import time
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

import msgspec

from . import model, secret

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
        self.began = time.monotonic()
        self.held: list[str] = []

    def line(self, text: str) -> None:
        # The pusher may hang up; the deployment must go on to its end all the same.
        with contextlib.suppress(OSError):
            self.stream.write(f'{text}\n')
            self.stream.flush()

    def step(self, unikernel: str, text: str) -> None:
        """Something is being done; under `quiet` it is told only when it leads to a change."""
        told = f'{time.monotonic() - self.began:6.2f} s  {unikernel}: {plain(text)}'
        self.held.append(told) if self.quiet else self.line(told)

    def waiting(self, holder: str) -> None:
        if not self.quiet:
            self.line(f'waiting for another deployment to end: {plain(holder)}')

    def outcomes(self, outcomes: Iterable[model.Outcome]) -> None:
        told = [outcome for outcome in outcomes if not (self.quiet and silent(outcome))]
        for text in self.held if told else ():
            self.line(text)
        for outcome in told:
            for text in lines(outcome):
                self.line(text)

    def refused(self, reason: str, hint: str) -> None:
        self.line(f'mirage-hooks: {plain(reason)}')
        if hint:
            self.line(f'  hint: {plain(hint)}')


def lines(outcome: model.Outcome) -> list[str]:
    """What a person should know about `outcome`; the last line says what now runs."""
    name = outcome.unikernel
    said = []
    if outcome.failed:
        again = 'still refused' if outcome.kind == 'remembered' else 'REFUSED'
        said.append(f'{name}: {again}: {plain(outcome.reason)}')
        said += [f'    | {plain(text)}' for text in outcome.console]
        said += [f'  hint: {plain(outcome.hint)}'] if outcome.hint else []
    elif outcome.reason:
        said.append(f'{name}: {plain(outcome.reason)}')
        said += [f'  hint: {plain(outcome.hint)}'] if outcome.hint else []
    return [*said, f'{name}: {_now(outcome)}']


def _now(outcome: model.Outcome) -> str:
    release = outcome.running
    if release is None:
        return {'removed': 'stopped: it is no longer in mirage.yml'}.get(
            outcome.kind, 'stopped' if outcome.kind == 'stopped' else 'nothing runs'
        )
    what = (
        f'release {release.number} ({plain(release.description)}, commit {release.commit[:12]})'
    )
    return {
        'unchanged': f'{what} runs, nothing to do',
        'deployed': f'{what} now runs',
        'restarted': f'{what} runs again',
        'pinned': f'{what} runs, kept by a rollback until a newer image comes or `deploy`',
    }.get(outcome.kind, f'{what} goes on running')


def silent(outcome: model.Outcome) -> bool:
    """Whether `outcome` is no news: cron and `notify` say nothing of it."""
    return outcome.kind in ('unchanged', 'remembered', 'pinned') or (
        outcome.kind == 'stopped' and not outcome.reason
    )


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
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ['  '.join(map(str.ljust, row, widths)).rstrip() for row in rows]


def lines_of_plan(plan: model.Plan) -> list[str]:
    """A plan as a person would type it, without its secrets."""
    plan = secret.masked(plan)
    made = [
        f'# {tap.name} on {tap.bridge}, {tap.mac}' if tap.ours else f'# {tap.name}, which is there'
        for tap in plan.taps
    ]
    files = [f'# {name}: {line}' for name, text in plan.files.items() for line in text.splitlines()]
    return [*made, *files, shlex.join(plan.command)]
