"""Into a repository, and out of it again: hooks, mirage.yml, the cron lines."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

import msgspec

from ..git import discovery, repository
from ..messages import errors
from ..state import files, pipe, store
from ..switching import launcher
from . import crontab, hookfolder, installation, mirageyml, schedule, shell


class Decision(msgspec.Struct, frozen=True):
    """What an installation will do. `table` is the crontab as it is, None where cron is not; `when`
    is our line's schedule, '' for no line."""

    hooks: dict[str, str]
    places: list[hookfolder.Place]
    settings: Path
    table: bytes | None
    when: str
    command: Path


def install(path: Path, settings: Path | None = None, when: str | None = None) -> list[str]:
    """Install into the repository at `path`; what was done, for a person. `when` is a cron
    schedule, '' for none; None keeps the one that is there. Raises Refused, with nothing
    changed."""
    where = repository.Repository(path)
    decision = _decide(where, settings, when)
    with contextlib.ExitStack() as undo:
        said = [
            *warned(where),
            *_put_hooks(decision, undo),
            *mirageyml.put(where, decision.settings, undo),
            *schedule.put(where, decision.table, decision.when, decision.command, undo),
            *shell.put(undo),
        ]
        schedule.decide(where, decision.when, undo)
        installation.remember(where.folder, True)
        undo.pop_all()
    return said


def uninstall(path: Path) -> list[str]:
    """Put back all that `install` changed; what was done, for a person. What runs goes on."""
    if not path.exists():
        said = schedule.take(path.absolute())
        installation.remember(path.absolute(), False)
        shell.take()
        return said or [f'{path} does not exist, and cron does not know it']
    where = repository.Repository(path)
    files.require_writable(where.git_dir)
    pipe.dismiss(where.state)
    said = [*schedule.take(where.folder), *_take_hooks(where), *_running(where)]
    with contextlib.suppress(errors.Refused):
        said.append(f'kept: {where.config_path()}')
    if where.state.exists():
        said.append(f'kept: {where.state}, with the releases and the history')
    where.configure('mirage.config', '')
    where.configure(schedule.SETTING, '')
    installation.remember(where.folder, False)
    shell.take()
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
    if when:
        when = crontab.spec(when)
    folder = where.hooks()
    files.require_writable(where.git_dir)
    files.require_writable(folder)
    python, command = installation.programs()
    table = schedule.table(when != '')
    if when is None:
        when = crontab.when(table or b'', where.folder) or crontab.DEFAULT
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
        if place.found == 'other':
            said.append(f'the {place.name} hook that was there runs first, as {place.kept}')
        if place.found == 'tracked':
            target = os.path.realpath(place.kept)
            said.append(
                f'WARNING: the {place.name} hook was a link to {target}, which any push can '
                f'change: it does not run any more, and is kept as {place.kept}; '
                f'to run it by hand: {shlex.quote(target)}'
            )
    return said


def _take_hooks(where: repository.Repository) -> list[str]:
    try:
        folder = where.hooks()
    except errors.Refused:  # core.hooksPath came later: ours stay where they were put
        folder = where.git_dir / 'hooks'
    with files.writing(folder):
        places = [hookfolder.place(folder, name, None) for name in hookfolder.NAMES]
        gone = [place.name for place in places if hookfolder.take_back(place)]
    said = f'hooks: {", ".join(gone) or "none of ours"} taken out of {folder}'
    return [said, *(line for name in gone for line in _dangling(where, folder / name))]


def _dangling(where: repository.Repository, hook: Path) -> list[str]:
    """That a hook which was put back leads to a file that `slim` took out of the work tree."""
    target = hook.resolve()
    inside = hook.is_symlink() and target.is_relative_to(where.folder)
    if not inside or target.exists() or where.setting('core.sparseCheckout') != 'true':
        return []
    return [f'WARNING: {hook} is a link to {target} again, which is not checked out, so it does '
            f'not run; to bring the files back: git -C {shlex.quote(str(where.folder))} '
            'sparse-checkout disable']


def _running(where: repository.Repository) -> list[str]:
    """What still runs, and how to end it without us."""
    said = []
    state = store.opened(where.state)
    for name in state.names():
        releases = state.of(name)
        release = releases.current()
        if release is None or not launcher.alive(releases, release):
            continue
        run = releases.run(release.number)
        end = f'xl destroy {release.plan.domain}' if run is None else f'kill {run.pid}'
        said.append(f'{name} goes on running; to end it: {end}')
    return said
