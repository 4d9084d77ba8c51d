"""When this host pulls into one repository: by lines in the user's crontab, or by a systemd timer;
put there, and taken out again."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

from ..git import repository
from ..host import facts
from ..messages import errors
from . import crontab, timer

TIMER = 'timer'
"""In the place of cron's own words: let systemd do it."""

SETTING, NONE = 'mirage.cron', 'none'
"""In git's configuration, where a person wanted no line in the crontab."""

NOTHING = 'nothing pulls by itself and nothing starts after a reboot'


def spec(when: str | None) -> str | None:
    """`when` as it is meant; raises Refused when nobody can."""
    return crontab.spec(when) if when and when != TIMER else when


def table(needed: bool) -> bytes | None:
    """The user's crontab; None where cron is not. Raises Unavailable when it is `needed` and cannot
    be read."""
    try:
        return crontab.read()
    except errors.Unavailable:
        if needed:
            raise
        return None


def kept(where: repository.Repository, before: bytes | None) -> str:
    """How it is done now; cron's usual way where nothing was decided yet."""
    if timer.there(where.folder):
        return TIMER
    usual = '' if where.setting(SETTING) == NONE else crontab.DEFAULT
    return crontab.when(before or b'', where.folder) or usual


def put(
    where: repository.Repository, before: bytes | None, when: str, command: Path,
    undo: contextlib.ExitStack,
) -> list[str]:
    """Let this host pull at `when`, '' for never; `before` is its crontab. What was done, for a
    person."""
    if when == TIMER:
        said = timer.put(where.folder, command, undo)
        lines = [] if before is None else _lines(where, before, '', command, undo)
        return [*said, *(line for line in lines if line != 'cron: none, unchanged')]
    if timer.there(where.folder):
        undo.callback(timer.put, where.folder, command, contextlib.ExitStack())
    said = timer.take(where.folder)
    if before is None and when:
        return [*said, 'WARNING: this host has no crontab program, so '
                f'{NOTHING}: apt install cron, {_instead(where.folder, command)}']
    if before is None:
        return [*said, 'cron: none asked for']
    return [*said, *_lines(where, before, when, command, undo)]


def take(folder: Path) -> list[str]:
    """Take our lines and our timer for `folder` out; what was done, for a person."""
    said = timer.take(folder)
    before = table(needed=False)
    after = crontab.removed(before or b'', folder)
    if before is None or after == before:
        return said
    crontab.write(after)
    return [*said, 'cron: our lines are out']


def _lines(
    where: repository.Repository, before: bytes, when: str, command: Path,
    undo: contextlib.ExitStack,
) -> list[str]:
    after = crontab.removed(before, where.folder)
    if when:
        ours = crontab.ours(when, where.folder, command)
        after = crontab.added(before, where.folder, ours)
    if after != before:
        undo.callback(crontab.write, before)
        crontab.write(after, when)
    boot = ', and at boot' if when not in ('', crontab.BOOT) else ''
    said = [f'cron: {when or "none"}{boot}{"" if after != before else ", unchanged"}']
    if when and not crontab.served():
        said.append(f'WARNING: no cron daemon runs on this host, so {NOTHING}: start it (systemctl '
                    f'enable --now cron, or service cron start), '
                    f'{_instead(where.folder, command)}')
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


def _instead(folder: Path, command: Path) -> str:
    """What to do where there is no cron."""
    words = (str(command), '-C', str(folder), 'pull')
    if facts.systemd(os.geteuid() == 0):
        return f'or let systemd do it: {shlex.join((words[0], "install", "--timer", str(folder)))}'
    return f'or have {shlex.join(words)} run every few minutes'
