"""Into a repository: hooks, mirage.yml, the cron lines or the timer."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

import msgspec

from ..git import discovery, repository
from ..messages import errors
from ..state import files
from . import hookfolder, installation, mirageyml, schedule, shell, timer, watched


class Decision(msgspec.Struct, frozen=True):
    """What an installation will do. `table` is the crontab as it is, None where cron is not; `when`
    is as schedule.put has it."""

    hooks: dict[str, str]
    places: list[hookfolder.Place]
    settings: Path
    table: bytes | None
    when: str
    command: Path


def install(path: Path, settings: Path | None = None, when: str | None = None) -> list[str]:
    """Install into the repository at `path`; what was done, for a person. `when` is a cron
    schedule, or schedule.TIMER, or '' for none; None keeps what is there. Raises Refused, with
    nothing changed."""
    where = repository.Repository(path)
    decision = _decide(where, settings, when)
    with contextlib.ExitStack() as undo:
        said = [
            *warned(where),
            *_put_hooks(decision, undo),
            *mirageyml.put(where, decision.settings, undo),
            *schedule.put(where, decision.table, decision.when, decision.command, undo),
            *shell.put(undo),
            *watched.put(where.folder, decision.when, decision.command, undo),
        ]
        schedule.decide(where, decision.when, undo)
        installation.remember(where.folder, True)
        undo.pop_all()
    return said


def warned(where: repository.Repository) -> list[str]:
    owner = discovery.owner_of(where.folder)
    if os.geteuid() or owner == 'root':
        return []
    return [f'WARNING: {where.folder} belongs to {owner}, who makes root run commands by its '
            f'configuration and hooks: rather install it as {owner}']


def _decide(
    where: repository.Repository, settings: Path | None, when: str | None
) -> Decision:
    """Everything is looked at here, so that what follows need not stop half way."""
    if any(character in str(where.folder) for character in '\n\r'):
        raise errors.Refused(f'{where.folder} has a line end in its name', hint='rename it')
    when = schedule.spec(when)
    if when == schedule.TIMER:
        timer.require()
    folder = where.hooks()
    files.require_writable(where.git_dir)
    files.require_writable(folder)
    python, command = installation.programs()
    table = schedule.table(when not in ('', schedule.TIMER))
    if when is None:
        when = schedule.kept(where, table)
    return Decision(
        hooks={name: hookfolder.text(name, python) for name in hookfolder.NAMES},
        places=hookfolder.places(folder, None if where.bare else where.folder),
        settings=mirageyml.path_of(where, settings),
        table=table,
        when=when,
        command=command,
    )


def _put_hooks(decision: Decision, undo: contextlib.ExitStack) -> list[str]:
    said = []
    folder = decision.places[0].path.parent
    with files.writing(folder):
        if not folder.exists():
            folder.mkdir(parents=True)
            undo.callback(folder.rmdir)
        changed = [
            place for place in decision.places
            if hookfolder.put(place, decision.hooks[place.name], undo)
        ]
    names = ', '.join(place.name for place in changed) or 'unchanged'
    said.append(f'hooks: {names} in {folder}')
    for place in changed:
        if place.found == 'other' and os.access(place.kept, os.X_OK):
            said.append(f'the {place.name} hook that was there runs first, as {place.kept}')
        elif place.found == 'other':
            said.append(f'the {place.name} hook that was there cannot be executed, so git did not '
                        f'run it: it is kept as {place.kept}, and does not run')
        if place.found == 'tracked':
            target = os.path.realpath(place.kept)
            said.append(
                f'WARNING: the {place.name} hook was a link to {target}, which any push can '
                f'change: it does not run any more, and is kept as {place.kept}; '
                f'to run it by hand: {shlex.quote(target)}'
            )
    return said
