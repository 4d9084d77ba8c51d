"""What a killed deployment left behind and the next one takes away: seen, not touched. git itself
runs no hook when a pull brings nothing, so it may lie there until cron's next run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..host import network, processes, xen
from ..messages import errors
from ..state import store
from . import conflicts


def left(state: store.Store, owner: str) -> list[str]:
    """What is ours and belongs to nothing that runs; nothing while a deployment is under way."""
    return [] if state.holder() else [*_unfinished(state), *_things(state, owner)]


def _unfinished(state: store.Store) -> Iterator[str]:
    for name in state.names():
        releases = state.of(name)
        for number in releases.unfinished():
            yield f'release {number} of {name}, which was being deployed'
    for proof in state.proofs():
        yield f'the trial of {proof.root.name} for the gate'


def _things(state: store.Store, owner: str) -> Iterator[str]:
    wanted = {
        releases.folder(release.number): release
        for releases in map(state.of, state.names()) for release in releases.wanted()
    }
    for folder in sorted({folder for folder, _ in processes.marked(state.root)} - wanted.keys()):
        yield f'a process of {folder.parent.parent.name}, release {folder.name}'
    needed = {tap.name for release in wanted.values() for tap in release.plan.taps}
    for name in network.owned(owner):
        if name not in needed:
            yield f'the interface {name}'
    dead = {*conflicts.domains(state)} - {release.plan.domain for release in wanted.values()}
    for name in sorted(dead & _existing() if dead else ()):
        yield f'the domain {name}'


def _existing() -> set[str]:
    """Every domain of this host, whatever its state."""
    with contextlib.suppress(errors.Unavailable):
        return set(xen.domains())
    return set()
