"""Out of a repository again: what the installer put there and nothing else; what runs, and the
state, when that is asked for."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from ..git import repository
from ..host import facts, processes
from ..messages import errors
from ..state import caller, files, journal, model, pipe, store
from ..switching import drain, launcher
from . import hookfolder, installation, mirageyml, schedule, shell, watched

Running = list[tuple[str, int, str]]
"""What runs: its name, its release, and a command that ends it."""


def uninstall(path: Path, stop: bool = False, purge: bool = False) -> list[str]:
    """Put back all that `install` changed; what was done, for a person. What runs goes on, unless
    it is to `stop`; the state stays, unless it is to be `purge`d. Raises Refused, with nothing
    changed."""
    if not path.exists():
        return _lost(path.absolute(), stop)
    where = repository.Repository(path)
    files.require_writable(where.git_dir)
    state = store.opened(where.state)
    running = _running(state)
    if running and purge and not stop:
        raise errors.Refused(
            f'{_names(running)} still runs, and without its state nothing could end it',
            hint='say --stop --purge, which ends it first, or leave --purge out',
        )
    pipe.dismiss(where.state)
    said = [*schedule.take(where.folder), *watched.take(where.folder), *_take_hooks(where)]
    said += _stop(state) if stop else [
        f'{name} goes on running; to end it: {command}' for name, _, command in running
    ]
    with contextlib.suppress(errors.Refused):
        said.append(f'kept: {where.config_path()}')
    said += [*mirageyml.take(where), *_state(where.state, purge)]
    where.configure(schedule.SETTING, '')
    installation.remember(where.folder, False)
    shell.take()
    return said


def _lost(folder: Path, stop: bool) -> list[str]:
    """The same for a repository that was deleted: the marks of its processes are all that is known
    of them."""
    said = [*schedule.take(folder), *watched.take(folder)]
    running = [process for _, process in processes.marked(folder)]
    if stop and running:
        processes.end(running)
        said.append('what it had started was ended')
    elif running:
        command = _kill(process.pid for process in running)
        said.append(f'what it had started goes on running; to end it: {command}')
    known = installation.remember(folder, False)
    shell.take()
    if not said and not known:
        raise errors.Refused(f'{folder} does not exist, and neither cron nor systemd knows it',
                             hint='is its name right? Nothing is changed')
    return said or [f'{folder} does not exist any more, and nothing of it was left']


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


def _running(state: store.Store) -> Running:
    """Also what only keeps its connections for a while after a switch."""
    return [
        (name, release.number, _command(releases.folder(release.number), release.plan))
        for name in state.names() for releases in [state.of(name)]
        for release in releases.wanted() if launcher.alive(releases, release)
    ]


def _command(folder: Path, plan: model.Plan) -> str:
    """What ends the release in `folder` without us, its walls and its interfaces too."""
    sudo = 'sudo ' if os.geteuid() else ''
    if plan.domain:
        return f'{sudo}xl destroy {plan.domain}'
    if plan.unit:
        own = '--user ' if plan.command[1] == '--user' else ''
        ended = f'systemctl {own}stop {plan.unit}'
    else:
        marked = processes.marked(folder.parent)
        ended = _kill(process.pid for mark, process in marked if mark == folder)
    taps = [f'{sudo}ip link delete {tap.name}' for tap in plan.taps if tap.ours]
    return '; '.join([ended, *taps])


def _kill(numbers: Iterable[int]) -> str:
    """SIGKILL: the first process of a sandbox does not hear anything less."""
    return f'kill -KILL {" ".join(map(str, numbers))}'


def _stop(state: store.Store) -> list[str]:
    """End every release, and take away all that belongs to them on this host."""
    if not state.root.exists():
        return []
    with state.lock('uninstall', store.PATIENCE):
        running = _running(state)
        for name in state.names():
            releases = state.of(name)
            releases.set_overlap(None)
            if (current := releases.current()) is not None:
                launcher.stop(releases, current)
        drain.tidy(state, facts.owner(state.root))
        for name, number, _ in running:
            journal.append(state.history, journal.Entry(
                at=journal.now(), unikernel=name, event='stopped', release=number,
                trigger=f'uninstall by {caller.person()}',
            ))
    return [f'{name}: release {number} was ended' for name, number, _ in running]


def _names(running: Running) -> str:
    return ', '.join(dict.fromkeys(name for name, _, _ in running))


def _state(folder: Path, purge: bool) -> list[str]:
    if not folder.exists():
        return []
    if not purge:
        return [f'kept: {folder}, with the releases and the history']
    with files.writing(folder):
        shutil.rmtree(folder)
    return [f'removed: {folder}, with the releases and the history']
