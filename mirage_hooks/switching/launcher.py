"""Carries out a Plan: starts a release so that it outlives us, tells whether it lives, ends it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import msgspec

from ..host import (
    devices,
    filters,
    interruption,
    listeners,
    network,
    processes,
    sharing,
    supervisor,
    xen,
)
from ..state import files, model
from ..state.releases import Releases, set_shared
from . import asking, consoles, filling

_children: dict[str, subprocess.Popen[bytes]] = {}
"""What this process started, by release folder: only a parent learns the exit code."""
_tracers: dict[str, sharing.Tracer] = {}
"""What lets them share their ports, while they start."""


@interruption.held()
def start(
    releases: Releases, release: model.Release, owner: str, shared: listeners.Ports | None = None
) -> asking.Printed:
    """Run `release` on its interfaces; raises Refused or Unavailable when it cannot. Where another
    one may come to listen next to it, it is traced until `let_go`: `shared` are the ports that it
    may share."""
    folder = releases.folder(release.number)
    plan = filling.filled(folder, _unescaped(release.plan))
    with files.writing(folder):
        (folder / files.ENDED).unlink(missing_ok=True)
        (folder / files.SHARED).unlink(missing_ok=True)
        consoles.trim(folder / files.CONSOLE)
    for tap in plan.taps:
        if not plan.domain:
            network.attach(tap, owner)
        elif tap.bridge:  # Xen makes the vif itself, and puts it there
            network.require(tap.bridge)
    for device, node in plan.nodes.items():
        devices.make(device, node)
    filling.write(folder, plan)
    printed = consoles.printing(lambda: consoles.of(releases, release))
    if plan.filtered:
        with files.writing(folder):
            (folder / files.FILTER).write_bytes(filters.program())
    with files.writing(folder):
        (folder / files.BEGAN).write_text(str(consoles.size(consoles.of(releases, release))))
    if plan.domain:
        xen.create(plan)
    elif plan.unit:
        pid = supervisor.start(_scripted(folder, release.plan, plan))
        releases.set_run(release.number, processes.identity(pid))
    else:
        _spawned(folder, plan, shared)
        releases.set_run(release.number, processes.identity(_children[str(folder)].pid))
    return printed


@interruption.held()
def spawn(folder: Path, plan: model.Plan) -> None:
    """Run `plan` as the process of the release in `folder`."""
    filled = filling.filled(folder, plan)
    filling.write(folder, filled)
    _spawned(folder, filled)


def _spawned(folder: Path, plan: model.Plan, shared: listeners.Ports | None = None) -> None:
    """Run `plan`, which has its secrets."""
    if shared is not None:
        _tracers[str(folder)] = sharing.Tracer(shared)
    with files.writing(folder):
        _children[str(folder)] = processes.spawn(
            plan.command, folder, folder / files.CONSOLE, folder / files.ENDED, plan.group,
            folder / files.FILTER if plan.filtered else None, _tracers.get(str(folder)),
        )


def alive(releases: Releases, release: model.Release) -> bool:
    """Whether `release` runs, asked of the host."""
    if release.plan.domain:
        return xen.runs(release.plan.domain)
    if release.plan.unit:
        return _kept(releases, release)
    if not _attached(release):
        return False  # its process may live on, but nothing reaches it
    folder = releases.folder(release.number)
    if exited(folder) is not None:
        return False
    run = releases.run(release.number)
    if run is not None and processes.identity(run.pid) == run:
        return True
    # Killed between starting it and writing its number down: its mark is still on it.
    return any(mark == folder for mark, _ in processes.marked(folder.parent))


def rejoin(release: model.Release) -> list[str]:
    """Put the interfaces of the living `release` back on their bridge, where that was removed and
    made anew; says which. Raises Unavailable without a bridge."""
    if release.plan.domain:
        return []  # Xen's own scripts own a vif
    return [tap.name for tap in release.plan.taps if network.rejoin(tap)]


def exited(folder: Path) -> int | None:
    """The exit code of the process that we started in `folder`, None while it runs or when
    another one started it. A signal is given as 128 + its number, as a shell does."""
    child = _children.get(str(folder))
    code = child.poll() if child else None
    return 128 - code if code is not None and code < 0 else code


def ended(releases: Releases, release: model.Release) -> int | None:
    """How the process of `release` ended, as far as anybody saw it: we, systemd or bubblewrap.
    None, too, when its interface was taken away: the code says nothing of the image then."""
    if release.plan.domain or not _attached(release):
        return None
    if release.plan.unit:
        return supervisor.state(release.plan).code
    folder = releases.folder(release.number)
    code = exited(folder)
    return processes.reported(folder / files.ENDED) if code is None else code


@interruption.held()
def stop(releases: Releases, release: model.Release) -> None:
    """End `release` and take its interfaces away; nothing to do when it is gone."""
    folder = releases.folder(release.number)
    if release.plan.domain:
        xen.destroy(release.plan.domain)
    if release.plan.unit:
        supervisor.stop(release.plan)
    end(folder)
    for tap in release.plan.taps:
        if tap.ours and not release.plan.domain:
            network.remove(tap.name)
    if folder.exists():
        releases.set_run(release.number, None)


def listens(folder: Path, port: int) -> bool:
    """Whether the release in `folder` listens on TCP `port`: its answers are not a stranger's."""
    # The walls were there before the image, and it takes milliseconds to look at each.
    return any(processes.listens(process, port) for process in reversed(processes.of(folder)))


def listening(releases: Releases, release: model.Release) -> list[listeners.Listener]:
    """The listeners of `release`; raises OSError when they cannot be reached."""
    found = processes.of(releases.folder(release.number))
    return listeners.of(process.pid for process in found)


def all_listening(releases: Releases) -> frozenset[int]:
    """The numbers of the releases that listen on a port."""
    return frozenset(int(mark.name) for mark, process in processes.marked(releases.folder(0).parent)
                     if processes.listens(process))


def serves(releases: Releases, release: model.Release, port: int) -> bool:
    """Whether `release` has taken our connection from `port`."""
    found = processes.of(releases.folder(release.number))
    return any(processes.connected(process, port) for process in found)


def shared(releases: Releases, release: model.Release) -> model.Shared:
    """What `release` shares by now, while it is traced."""
    tracer = _tracers[str(releases.folder(release.number))]
    return model.Shared(tuple(sorted(tracer.places())), tracer.hindrance())


def let_go(releases: Releases, release: model.Release) -> None:
    """Trace `release` no longer; what it shares is written down."""
    folder = str(releases.folder(release.number))
    if folder in _tracers:
        found = shared(releases, release)
        _tracers.pop(folder).end()
        set_shared(releases.folder(release.number), found)


@interruption.held()
def end(folder: Path) -> None:
    """End every process of the release in `folder`."""
    if tracer := _tracers.pop(str(folder), None):
        tracer.end()
    processes.end_of(folder, _children.pop(str(folder), None))


def _unescaped(plan: model.Plan) -> model.Plan:
    """`plan` as its unit runs it: `$$` is systemd's."""
    if not plan.unit:
        return plan
    ours = plan.command.index('--') + 1
    words = (word.replace('$$', '$') for word in plan.command[ours:])
    return msgspec.structs.replace(plan, command=(*plan.command[:ours], *words))


def _scripted(folder: Path, plan: model.Plan, filled: model.Plan) -> model.Plan:
    """`plan` with what systemd cannot be told in a file of its owner: secrets, for it tells
    everybody what a unit runs, and a filter, which is passed as an open file. `filled` is the same
    unescaped, with its secrets."""
    if not plan.secrets and not plan.filtered:
        return plan
    ours = plan.command.index('--') + 1
    words = filled.command[ours:]
    line = shlex.join(words)
    if plan.filtered:
        line = shlex.join((words[0], '--seccomp', '9', *words[1:]))
        line += f' 9<{shlex.quote(str(folder / files.FILTER))}'
    script = folder / 'start.sh'
    with files.writing(folder):
        script.touch(0o600)
        script.write_text(f'exec {line}\n')
    return msgspec.structs.replace(
        plan, command=(*plan.command[:ours], '/bin/sh', str(script))
    )


def _attached(release: model.Release) -> bool:
    return all(network.exists(tap.name) for tap in release.plan.taps)


def _kept(releases: Releases, release: model.Release) -> bool:
    """Whether systemd keeps `release`; a process that it started anew is written down."""
    found = supervisor.state(release.plan)
    run = processes.identity(found.pid) if found.pid else None
    if found.active and run is not None and run != releases.run(release.number):
        releases.set_run(release.number, run)
    return found.active
