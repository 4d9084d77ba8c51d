"""What runs: of one repository or of all of this user's, once or drawn again and again."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ..git.repository import Repository
from ..messages import errors, terminal
from ..messages.report import Reporter, encoded, plain
from ..state import user
from ..watching import rows
from . import view

EVERY = 2.0  # seconds between two drawings
CLEAR, TOP, REST_OF_LINE, BELOW = '\x1b[2J', '\x1b[H', '\x1b[K', '\x1b[J'  # ECMA-48's ED, CUP, EL


def status(repository: Path, only: str, as_json: bool) -> int:
    """Print what runs, of `only` one where it is named; 1 when something that should run does not,
    or does not answer, or nobody can tell."""
    found = rows.found(Repository(repository), only)
    if as_json:
        print(encoded(found.fields), flush=True)
    else:
        _print(view.lines(found))
    if found.wrong:
        Reporter(stream=sys.stderr).failure(found.wrong)
    return int(not found.well)


def of_all(as_json: bool) -> int:
    """The same of every repository of this user."""
    lines, told, well = _of_all()
    if as_json:
        print(encoded({'repositories': told}), flush=True)
    else:
        _print(lines)
    return int(not well)


def drawn(repository: Path, only: str, everything: bool) -> NoReturn:
    """Draw it until Ctrl-C; raises Refused without a terminal to draw on."""
    if not terminal.capable(sys.stdout):
        raise errors.Refused(
            'status --watch draws on a terminal, and this is none',
            hint='leave --watch out, or in a terminal: watch mirage-hooks status')

    def lines() -> list[str]:
        if everything:
            return _of_all()[0]
        return _whole(Repository(repository), only)

    _draw(lines)


def _draw(lines: Callable[[], list[str]]) -> NoReturn:
    sys.stdout.write(CLEAR)
    while True:
        try:
            texts = lines()
        except errors.Refused as refused:
            texts = _failure(refused)
        size = shutil.get_terminal_size()
        shown = '\n'.join([time.strftime('%H:%M:%S  (Ctrl-C ends this)'), '', *texts]).split('\n')
        if (more := len(shown) - size.lines + 1) > 0:
            shown = [*shown[:-more - 1], f'… {more + 1} more lines']
        ends = f'{REST_OF_LINE}\n'
        sys.stdout.write(TOP + ''.join(line + ends for line in shown) + BELOW)
        sys.stdout.flush()
        time.sleep(EVERY)


def _of_all() -> tuple[list[str], list[dict[str, Any]], bool]:
    """The lines, the same for programs, and whether all is well."""
    lines, told, well = list[str](), list[dict[str, Any]](), True
    for folder in user.required():
        lines += ['', plain(str(folder))] if lines else [plain(str(folder))]
        try:
            found = rows.found(Repository(folder), '')
        except errors.Refused as refused:
            lines += _failure(refused)
            told.append({'repository': str(folder), 'wrong': refused.reason, 'hint': refused.hint})
            well = False
            continue
        lines += view.lines(found)
        lines += _failure(found.wrong) if found.wrong else []
        told.append(found.fields)
        well &= found.well
    return lines, told, well


def _whole(repository: Repository, only: str) -> list[str]:
    found = rows.found(repository, only)
    return [*view.lines(found), *(_failure(found.wrong) if found.wrong else [])]


def _failure(refused: errors.Refused) -> list[str]:
    hint = [f'  hint: {plain(refused.hint)}'] if refused.hint else []
    return [f'{terminal.red("mirage-hooks:")} {plain(refused.reason)}', *hint]


def _print(lines: list[str]) -> None:
    for line in lines:
        print(line)
