"""A systemd timer in the place of our cron lines: two unit files, which say whose they are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path

from ..host import facts, programs, watcher
from ..messages import errors
from ..state import files

EVERY = '7min'
SERVICE = """\
{mark}
[Unit]
Description=mirage-hooks: pull {folder}, and start what does not run

[Service]
Type=oneshot
{user}ExecStart={command} -C {repository} pull --quiet
# What it starts outlives it.
KillMode=process
"""
TIMER = """\
{mark}
[Unit]
Description=mirage-hooks: when to pull {folder}

[Timer]
OnStartupSec=20s
OnUnitInactiveSec={every}

[Install]
WantedBy=timers.target
"""


def require() -> None:
    """Raise Refused unless systemd keeps timers here for this user."""
    if facts.systemd(os.geteuid() == 0):
        return
    if not facts.SYSTEMD.is_dir():
        raise errors.Refused(
            'systemd does not run on this host, so there are no timers',
            hint='leave --timer out: cron pulls then',
        )
    raise errors.Refused(
        'your systemd ends with your last session, and its timers with it',
        hint='loginctl enable-linger, then again; or leave --timer out: cron pulls then',
    )


def there(folder: Path) -> bool:
    """Whether the timer for the repository `folder` is installed."""
    path = _paths(folder)[0]
    return path.exists() and path.read_bytes().startswith(_mark(folder) + b'\n')


def name(folder: Path) -> str:
    """What systemd calls the timer for the repository `folder`."""
    return _paths(folder)[0].name


def put(folder: Path, command: Path, undo: contextlib.ExitStack) -> list[str]:
    """Let systemd pull into the repository `folder` from now on; what was done, for a person."""
    timer, service = _paths(folder)
    texts = _texts(folder, command)
    changed = [path for path, text in texts.items() if not _is(path, text)]
    for path in changed:
        if path.exists() and not there(folder):
            raise errors.Refused(f'{path} is there and is not ours', hint='move it away')
    if changed:
        undo.callback(_restore, folder, {path: _read(path) for path in texts})
        with files.writing(timer.parent):
            timer.parent.mkdir(parents=True, exist_ok=True)
            for path in changed:
                path.write_bytes(texts[path])
        programs.run(*systemctl(), 'daemon-reload')
    programs.run(*systemctl(), 'enable', '--quiet', '--now', timer.name)
    user = '--user ' if os.geteuid() else ''
    return [f'timer: at boot and {EVERY} after each run{"" if changed else ", unchanged"}; what it '
            f'said: journalctl {user}-u {service.name}']


def take(folder: Path) -> list[str]:
    """Take the timer for the repository `folder` out; what was done, for a person."""
    if not there(folder):
        return []
    timer, service = _paths(folder)
    if runs := facts.systemd(os.geteuid() == 0):
        programs.run(*systemctl(), 'disable', '--quiet', '--now', timer.name)
    with files.writing(timer.parent):
        for path in (timer, service, timer.parent / 'timers.target.wants' / timer.name):
            path.unlink(missing_ok=True)
    if runs:
        programs.run(*systemctl(), 'daemon-reload')
    return ['timer: it is out']


def _restore(folder: Path, before: dict[Path, bytes | None]) -> None:
    if all(content is None for content in before.values()):
        take(folder)
    for path, content in before.items():
        if content is not None:
            path.write_bytes(content)
    programs.run(*systemctl(), 'daemon-reload')


def _paths(folder: Path) -> tuple[Path, Path]:
    """The timer, and the service that it starts. A path can be too long for a unit's name."""
    name = f'mirage-hooks-pull-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}'
    return watcher.units() / f'{name}.timer', watcher.units() / f'{name}.service'


def _texts(folder: Path, command: Path) -> dict[Path, bytes]:
    timer, service = _paths(folder)
    mark, shown = os.fsdecode(_mark(folder)), str(folder).replace('%', '%%')
    # systemd puts variables in the place of $NAME, but for the program itself.
    words = {'command': quoted(str(command)),
             'repository': quoted(str(folder)).replace('$', '$$'),
             'user': '' if os.geteuid() else 'User=root\n'}  # without it there is no HOME
    return {
        timer: os.fsencode(TIMER.format(mark=mark, folder=shown, every=EVERY)),
        service: os.fsencode(SERVICE.format(mark=mark, folder=shown, **words)),
    }


def _mark(folder: Path) -> bytes:
    return b'# mirage-hooks: ' + os.fsencode(folder)


def quoted(text: str) -> str:
    escaped = re.sub(r'(["\\])', r'\\\1', text)
    return '"' + escaped.replace('%', '%%') + '"'


def _is(path: Path, text: bytes) -> bool:
    return _read(path) == text


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def systemctl() -> tuple[str, ...]:
    return ('systemctl', '--user') if os.geteuid() else ('systemctl',)
