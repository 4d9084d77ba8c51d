"""The watcher of this user: a systemd unit next to the timers; elsewhere cron's runs start it."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from ..host import facts, programs, watcher
from ..state import files, user
from . import schedule, timer

MARK = '# mirage-hooks: the watcher'
SERVICE = """\
{mark}
[Unit]
Description=mirage-hooks: ask what runs, restart what is silent

[Service]
{user}ExecStart={command} -C / watch
Restart=always
RestartSec=60s
# An earlier version that was gone back to has no such command.
RestartPreventExitStatus=2
# What it has started outlives it.
KillMode=process

[Install]
WantedBy={target}
"""


def put(folder: Path, when: str, command: Path, undo: contextlib.ExitStack) -> list[str]:
    """Have the repository `folder` watched from now on: by systemd where it pulls, too, else from
    cron's next run on. What was done, for a person."""
    if folder not in user.repositories():
        undo.callback(user.remember, folder, False)
    user.remember(folder, True)
    if when == schedule.TIMER:
        return _unit(command, undo)
    return [] if any(map(timer.there, user.repositories())) else _without_unit()


def take(folder: Path) -> list[str]:
    """Have `folder` watched no longer, and end the watcher with the last one."""
    user.remember(folder, False)
    if user.repositories():
        return []
    said = _without_unit()
    if number := user.watcher():
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGTERM)
        said = ['watcher: it is out']
    return said


def _without_unit() -> list[str]:
    path = watcher.unit()
    if not path.exists():
        return []
    if runs := facts.systemd(os.geteuid() == 0):
        programs.run(*timer.systemctl(), 'disable', '--quiet', '--now', path.name)
    with files.writing(path):
        path.unlink()
        (path.parent / f'{_target()}.wants' / path.name).unlink(missing_ok=True)
    if runs:
        programs.run(*timer.systemctl(), 'daemon-reload')
    return ['watcher: its unit is out']


def _target() -> str:
    return 'default.target' if os.geteuid() else 'multi-user.target'


def _unit(command: Path, undo: contextlib.ExitStack) -> list[str]:
    path = watcher.unit()
    text = os.fsencode(SERVICE.format(
        mark=MARK, command=timer.quoted(str(command)),
        user='' if os.geteuid() else 'User=root\n',
        target=_target(),
    ))
    before = path.read_bytes() if path.exists() else None
    changed = before != text
    if changed:
        undo.callback(_restore, path, before)
        with files.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        programs.run(*timer.systemctl(), 'daemon-reload')
    programs.run(*timer.systemctl(), 'enable', '--quiet', '--now', path.name)
    return [f'watcher: systemd runs {path.name}{"" if changed else ", unchanged"}']


def _restore(path: Path, before: bytes | None) -> None:
    path.unlink(missing_ok=True) if before is None else path.write_bytes(before)
    programs.run(*timer.systemctl(), 'daemon-reload')
