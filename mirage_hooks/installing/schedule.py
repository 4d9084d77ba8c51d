"""The cron lines of one repository: put into the user's crontab, and taken out again."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from ..git import repository
from ..messages import errors
from . import crontab

SETTING, NONE = 'mirage.cron', 'none'
"""In git's configuration, where a person wanted no line in the crontab."""


def table(needed: bool) -> bytes | None:
    """The user's crontab; None where cron is not. Raises Unavailable when it is `needed` and cannot
    be read."""
    try:
        return crontab.read()
    except errors.Unavailable:
        if needed:
            raise
        return None


def put(
    where: repository.Repository, before: bytes | None, when: str, command: Path,
    undo: contextlib.ExitStack,
) -> list[str]:
    """Let cron pull at `when`, '' for never; `before` is its table. What was done, for a person."""
    if before is None:
        return ['cron: none asked for'] if when == '' else [
            'WARNING: this host has no crontab program, so nothing pulls by itself and nothing '
            f'starts after a reboot: have {shlex.quote(str(command))} '
            f'-C {shlex.quote(str(where.folder))} pull run every few minutes'
        ]
    after = crontab.removed(before, where.folder)
    if when:
        ours = crontab.ours(when, where.folder, command)
        after = crontab.added(before, where.folder, ours)
    if after != before:
        undo.callback(crontab.write, before)
        crontab.write(after)
    boot = ', and at boot' if when not in ('', crontab.BOOT) else ''
    said = [f'cron: {when or "none"}{boot}{"" if after != before else ", unchanged"}']
    for line in crontab.pulls(before, where.folder):
        said.append('your crontab also has its own pull, no longer needed: as long as it stays, '
                    'cron mails `Already up to date.` for it each time; remove it with '
                    f'`crontab -e`: {line}')
    return said


def decide(where: repository.Repository, when: str, undo: contextlib.ExitStack) -> None:
    """Remember whether a person wanted no line, `when` being ''."""
    before, now = where.setting(SETTING), '' if when else NONE
    if before != now:
        undo.callback(where.configure, SETTING, before)
        where.configure(SETTING, now)


def take(folder: Path) -> list[str]:
    """Take our lines for `folder` out; what was done, for a person."""
    before = table(needed=False)
    after = crontab.removed(before or b'', folder)
    if before is None or after == before:
        return []
    crontab.write(after)
    return ['cron: our lines are out']
