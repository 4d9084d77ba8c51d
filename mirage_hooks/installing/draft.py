"""`install --adopt`: the mirage.yml that does what the old scripts did, for a person to read. No
hook, no cron line and no domain is touched, so nothing deploys it before `install` or `deploy`."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

from ..git import repository
from ..messages import errors
from . import adopt, crontab, hookfolder, install, installation, mirageyml, schedule, timer


def write(path: Path, settings: Path | None = None, when: str | None = None) -> list[str]:
    """Adopt the old scripts of the repository at `path`; what was done and what comes next, for a
    person. `when` is handed on to `install`. Raises Refused, with nothing changed."""
    where = repository.Repository(path)
    when = schedule.spec(when)
    file = mirageyml.path_of(where, settings)
    adopted = adopt.adopt(where)
    installed = _installed(where)
    if installed and not file.exists():
        raise errors.Refused(
            f'mirage-hooks is installed in {where.folder}: its {installed} would deploy the new '
            'file before anybody has read it',
            hint=f'mirage-hooks install --uninstall {shlex.quote(str(where.folder))}, then again',
        )
    stays = _stays(file, adopted)
    fresh = not file.exists()
    with contextlib.ExitStack() as undo:
        said = [*install.warned(where), *mirageyml.put(where, file, undo, adopted.text)]
        installation.remember(where.folder, True)
        undo.pop_all()
    told = adopted.said if fresh else ()
    return [*said, *stays, *told, *([] if installed else _next(where, file, adopted, when))]


def _installed(where: repository.Repository) -> str:
    """What would deploy by itself, '' for nothing."""
    with contextlib.suppress(errors.Refused):
        folder = where.hooks()
        places = [hookfolder.place(folder, name, None) for name in hookfolder.NAMES]
        if any(place.found == 'ours' for place in places):
            return 'hooks'
    with contextlib.suppress(errors.Unavailable):
        if crontab.when(crontab.read() or b'', where.folder):
            return 'cron lines'
    return 'timer' if timer.there(where.folder) else ''


def _stays(file: Path, adopted: adopt.Adopted) -> list[str]:
    if not file.exists() or file.read_text('utf-8', 'surrogateescape') == adopted.text:
        return []
    return [f'WARNING: {file} is there already and stays: nothing was adopted into it; to have it '
            'written from the old scripts, move it away']


def _next(
    where: repository.Repository, file: Path, adopted: adopt.Adopted, when: str | None
) -> list[str]:
    folder = shlex.quote(str(where.folder))
    asked = '' if adopted.when == crontab.DEFAULT else adopted.when
    cron = f'--cron {shlex.quote(when or asked)} ' if when or asked else ''
    cron = '--no-cron ' if when == '' else '--timer ' if when == schedule.TIMER else cron
    return [
        'nothing else is changed: no hook, no cron line, nothing is started; what the old scripts '
        'made goes on',
        f'1. read {file}',
        f'2. see what it would do: mirage-hooks -C {folder} check; '
        f'mirage-hooks -C {folder} deploy --dry-run',
        f'3. go live: mirage-hooks install {cron}{folder} && mirage-hooks -C {folder} deploy',
    ]
