"""Carries out a Plan: starts a release so that it outlives us, tells whether it lives, ends it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from .. import targets
from ..host import cgroups, devices, filters, network, processes, supervisor, xen
from ..state import fastpath, files, model, secret, store
from ..state.releases import Releases
from . import asking

CONSOLE_KEPT = 1 << 20  # bytes of a console that are left when it has grown too long

_children: dict[str, subprocess.Popen[bytes]] = {}
"""What this process started, by release folder: only a parent learns the exit code."""


def start(releases: Releases, release: model.Release, owner: str) -> asking.Printed:
    """Run `release` on its interfaces; raises Refused or Unavailable when it cannot."""
    folder = releases.folder(release.number)
    plan = secret.filled(release.plan, targets.write)
    with files.writing(folder):
        (folder / files.ENDED).unlink(missing_ok=True)
        trim(folder / files.CONSOLE)
    for tap in plan.taps:
        if not plan.domain:
            network.attach(tap, owner)
        elif tap.bridge:  # Xen makes the vif itself, and puts it there
            network.require(tap.bridge)
    for device, node in plan.nodes.items():
        devices.make(device, node)
    for name, text in plan.files.items():
        with files.writing(folder):
            (folder / name).write_text(text)
    printed = printing(lambda: console(releases, release))
    if plan.filtered:
        with files.writing(folder):
            (folder / files.FILTER).write_bytes(filters.program())
    with files.writing(folder):
        (folder / files.BEGAN).write_text(str(_size(console(releases, release))))
    if plan.domain:
        xen.create(plan)
    elif plan.unit:
        pid = supervisor.start(_scripted(folder, release.plan))
        releases.set_run(release.number, processes.identity(pid))
    else:
        spawn(folder, release.plan)
        releases.set_run(release.number, processes.identity(_children[str(folder)].pid))
    return printed


def _scripted(folder: Path, plan: model.Plan) -> model.Plan:
    """`plan` with what systemd cannot be told in a file of its owner: secrets, for it tells
    everybody what a unit runs, and a filter, which is passed as an open file."""
    if not plan.secrets and not plan.filtered:
        return plan
    ours = plan.command.index('--') + 1
    words = tuple(word.replace('$$', '$') for word in plan.command[ours:])  # `$$` is systemd's
    filled = secret.filled(msgspec.structs.replace(plan, command=words), targets.write)
    line = shlex.join(filled.command)
    if plan.filtered:
        line = shlex.join((filled.command[0], '--seccomp', '9', *filled.command[1:]))
        line += f' 9<{shlex.quote(str(folder / files.FILTER))}'
    script = folder / 'start.sh'
    with files.writing(folder):
        script.touch(0o600)
        script.write_text(f'exec {line}\n')
    return msgspec.structs.replace(
        plan, command=(*plan.command[:ours], '/bin/sh', str(script))
    )


def spawn(folder: Path, plan: model.Plan) -> None:
    """Run `plan` as the process of the release in `folder`."""
    command = secret.filled(plan, targets.write).command
    with files.writing(folder):
        _children[str(folder)] = processes.spawn(
            command, folder, folder / files.CONSOLE, folder / files.ENDED, plan.group,
            folder / files.FILTER if plan.filtered else None,
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


def _attached(release: model.Release) -> bool:
    return all(network.exists(tap.name) for tap in release.plan.taps)


def mend(release: model.Release) -> list[str]:
    """Put the interfaces of the living `release` back on their bridge, where that was removed and
    made anew; says which. Raises Unavailable without a bridge."""
    if release.plan.domain:
        return []  # Xen's own scripts own a vif
    return [tap.name for tap in release.plan.taps if network.rejoin(tap)]


def _kept(releases: Releases, release: model.Release) -> bool:
    """Whether systemd keeps `release`; a process that it started anew is written down."""
    found = supervisor.state(release.plan)
    run = processes.identity(found.pid) if found.pid else None
    if found.active and run is not None and run != releases.run(release.number):
        releases.set_run(release.number, run)
    return found.active


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
    return any(processes.listens(process, port)
               for mark, process in processes.marked(folder.parent) if mark == folder)


def end(folder: Path) -> None:
    """End every process of the release in `folder`."""
    processes.end([process for mark, process in processes.marked(folder.parent) if mark == folder])
    child = _children.pop(str(folder), None)
    if child:
        child.wait()


def reap(state: store.Store, owner: str) -> list[str]:
    """End what is ours and no longer needed: all but the live releases and those that are
    drained. Says what."""
    live = {
        releases.folder(release.number): release
        for releases in map(state.of, state.names())
        for release in releases.wanted()
    }
    for folder, release in live.items():
        if not release.plan.domain:  # xenconsoled's own is rotated by its own means
            trim(folder / files.CONSOLE)
    strays = {mark for mark, _ in processes.marked(state.root) if mark not in live}
    for folder in strays:
        end(folder)
    said = [f'ended a leftover process of {folder.parent.parent.name}' for folder in sorted(strays)]
    needed = {tap.name for release in live.values() for tap in release.plan.taps}
    for name in network.owned(owner):
        if name not in needed:
            network.remove(name)
            said.append(f'removed the leftover interface {name}')
    cgroups.sweep(owner, {one.plan.group.name for one in live.values() if one.plan.group})
    return said + _reap_units(state, live) + _reap_domains(state, live)


def console(releases: Releases, release: model.Release) -> Path:
    """The file that holds the console of `release`."""
    if release.plan.domain:
        return xen.console(release.plan.domain)
    return releases.folder(release.number) / files.CONSOLE


def printing(path: Callable[[], Path]) -> asking.Printed:
    """What is added to the console at `path` from now on: what an earlier run of the same release,
    or of its domain, printed there proves nothing. Where the file was begun anew, all of it."""
    before = _size(path())

    def printed() -> str:
        size = _size(path())
        start = before if size >= before else 0
        try:
            with path().open('rb') as file:
                file.seek(max(start, size - asking.PAGE_LIMIT))
                return file.read(asking.PAGE_LIMIT).decode(errors='replace')
        except FileNotFoundError:
            return ''

    return printed


def last_words(releases: Releases, release: model.Release, lines: int) -> tuple[str, ...]:
    """The last `lines` lines that `release` printed since it was started last."""
    path = console(releases, release)
    try:
        began = int((releases.folder(release.number) / files.BEGAN).read_text())
    except (OSError, ValueError):
        began = 0
    size = _size(path)
    # A console that is shorter now was cut, or begun anew.
    return tail(path, lines, min(16384, size - began if size >= began else size))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def trim(path: Path) -> None:
    """Leave only the end of a console that has grown beyond fastpath.CONSOLE_LIMIT: whoever writes
    to it appends, and goes on behind what is left."""
    try:
        if path.stat().st_size <= fastpath.CONSOLE_LIMIT:
            return
        with path.open('r+b') as file:
            file.seek(-CONSOLE_KEPT, os.SEEK_END)
            kept = file.read(CONSOLE_KEPT).partition(b'\n')[2]  # it may be growing meanwhile
            file.truncate(0)
        with path.open('ab') as file:
            file.write(b'--- earlier lines were dropped ---\n' + kept)
    except FileNotFoundError:
        return


def tail(path: Path, lines: int = 10, most: int = 16384) -> tuple[str, ...]:
    """The last `lines` lines of the console at `path`, from its last `most` bytes."""
    try:
        with path.open('rb') as file:
            file.seek(max(0, path.stat().st_size - most))
            text = file.read(most).decode(errors='replace')
    except OSError:
        return ()
    # A tender that is refused something says what, and then explains itself at length.
    return tuple(text.partition('\nusage: solo5-')[0].splitlines()[-lines:])


def _reap_units(state: store.Store, live: dict[Path, model.Release]) -> list[str]:
    dead = [
        release.plan
        for releases in map(state.of, state.names())
        for release in releases.served()
        if release.plan.unit and releases.folder(release.number) not in live
    ]
    for plan in (gone := supervisor.units(dead)):
        supervisor.stop(plan)
    return [f'stopped the leftover unit {plan.unit}' for plan in gone]


def _reap_domains(state: store.Store, live: dict[Path, model.Release]) -> list[str]:
    kept = {release.plan.domain for release in live.values()}
    dead = [
        release.plan.domain
        for releases in (*map(state.of, state.names()), *state.proofs())
        for number in releases.numbers()  # also of releases that a kill kept from serving
        if (release := releases.release(number)) is not None
        and release.plan.domain and release.plan.domain not in kept
    ]
    running = xen.domains() if dead else {}
    for domain in (gone := [name for name in dead if name in running]):
        xen.destroy(domain)
    return [f'destroyed the leftover domain {name}' for name in gone]
