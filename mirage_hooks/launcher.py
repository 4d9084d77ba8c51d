"""Carries out a Plan: starts a release so that it outlives us, tells whether it lives, ends it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from . import errors, model, network, store, system

XEN_CONSOLES = Path('/var/log/xen')

_children: dict[str, subprocess.Popen[bytes]] = {}
"""What this process started, by release folder: only a parent learns the exit code."""


def start(shelf: store.Shelf, release: model.Release, owner: str) -> None:
    """Run `release` on its interfaces; raises Refused or Unavailable when it cannot."""
    folder = shelf.folder(release.number)
    for tap in release.plan.taps:
        if not release.plan.domain:  # Xen makes the vif itself, and puts it on the bridge
            network.attach(tap, owner)
    for name, text in release.plan.files.items():
        with store.writing(folder):
            (folder / name).write_text(text)
    if release.plan.domain:
        system.run(*release.plan.command)
    else:
        spawn(folder, release.plan.command)
        shelf.set_run(release.number, system.identity(_children[str(folder)].pid))


def spawn(folder: Path, command: tuple[str, ...]) -> None:
    """Run `command` as the process of the release in `folder`."""
    with store.writing(folder):
        _children[str(folder)] = system.spawn(command, folder, folder / 'console.log')


def alive(shelf: store.Shelf, release: model.Release) -> bool:
    """Whether `release` runs, asked of the host."""
    if release.plan.domain:
        return _domains().get(release.plan.domain, False)
    folder = shelf.folder(release.number)
    if exited(folder) is not None:
        return False
    run = shelf.run(release.number)
    if run is not None and system.identity(run.pid) == run:
        return True
    # Killed between starting it and writing its number down: its mark is still on it.
    return any(mark == folder for mark, _ in system.marked(folder.parent))


def exited(folder: Path) -> int | None:
    """The exit code of the process that we started in `folder`, None while it runs or when
    another one started it. A signal is given as 128 + its number, as a shell does."""
    child = _children.get(str(folder))
    code = child.poll() if child else None
    return 128 - code if code is not None and code < 0 else code


def stop(shelf: store.Shelf, release: model.Release) -> None:
    """End `release` and take its interfaces away; nothing to do when it is gone."""
    folder = shelf.folder(release.number)
    if release.plan.domain:
        _destroy(release.plan.domain)
    end(folder)
    for tap in release.plan.taps:
        if tap.ours and not release.plan.domain:
            network.remove(tap.name)
    if folder.exists():
        shelf.set_run(release.number, None)


def end(folder: Path) -> None:
    """End every process of the release in `folder`."""
    system.end([process for mark, process in system.marked(folder.parent) if mark == folder])
    child = _children.pop(str(folder), None)
    if child:
        child.wait()


def reap(state: store.Store, owner: str) -> list[str]:
    """End what is ours and no longer needed: everything but the live releases. Says what."""
    live = {
        shelf.folder(release.number): release
        for shelf in map(state.of, state.names())
        if (release := shelf.current()) is not None
    }
    strays = {mark for mark, _ in system.marked(state.root) if mark not in live}
    for folder in strays:
        end(folder)
    said = [f'ended a leftover process of {folder.parent.parent.name}' for folder in sorted(strays)]
    needed = {tap.name for release in live.values() for tap in release.plan.taps}
    for name in network.owned(owner):
        if name not in needed:
            network.remove(name)
            said.append(f'removed the leftover interface {name}')
    return said + _reap_domains(state, live)


def console(shelf: store.Shelf, release: model.Release) -> Path:
    """The file that holds the console of `release`."""
    if release.plan.domain:
        return XEN_CONSOLES / f'guest-{release.plan.domain}.log'
    return shelf.folder(release.number) / 'console.log'


def tail(path: Path, lines: int = 10, most: int = 16384) -> tuple[str, ...]:
    """The last `lines` lines of the console at `path`, from its last `most` bytes."""
    try:
        with path.open('rb') as file:
            file.seek(max(0, path.stat().st_size - most))
            text = file.read(most).decode(errors='replace')
    except OSError:
        return ()
    return tuple(text.splitlines()[-lines:])


def _domains() -> dict[str, bool]:
    """Every domain's name and whether it runs: `xl list` shows s, c or d for one that does not."""
    found = {}
    for line in system.run('xl', 'list').splitlines()[1:]:
        name, _, _, _, state, _ = line.rsplit(None, 5)
        found[name] = not set(state) & set('scd')
    return found


def _destroy(domain: str) -> None:
    if domain not in _domains():
        return
    try:
        system.run('xl', 'destroy', domain)
    except errors.Unavailable:
        if domain in _domains():  # else it ended by itself meanwhile
            raise


def _reap_domains(state: store.Store, live: dict[Path, model.Release]) -> list[str]:
    dead = [
        release.plan.domain
        for shelf in map(state.of, state.names())
        for number in shelf.numbers()  # also of releases that a kill kept from serving
        if (release := shelf.release(number)) is not None
        and release.plan.domain and shelf.folder(number) not in live
    ]
    running = _domains() if dead else {}
    for domain in (gone := [name for name in dead if name in running]):
        _destroy(domain)
    return [f'destroyed the leftover domain {name}' for name in gone]
