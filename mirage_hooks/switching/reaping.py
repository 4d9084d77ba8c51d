"""Ends what is ours and that nobody needs any more, whatever left it there."""

from __future__ import annotations

import os
from pathlib import Path

from ..host import cgroups, network, processes, supervisor, xen
from ..state import files, model, store
from . import consoles, launcher


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
            consoles.trim(folder / files.CONSOLE)
    strays = _strays(state, set(live))
    for folder in strays:
        launcher.end(folder)
    said = [f'ended a leftover process of {folder.parent.parent.name}' for folder in sorted(strays)]
    needed = {tap.name for release in live.values() for tap in release.plan.taps}
    for name in network.owned(owner):
        if name not in needed:
            network.remove(name)
            said.append(f'removed the leftover interface {name}')
    cgroups.sweep(owner, {one.plan.group.name for one in live.values() if one.plan.group})
    said += _reap_units(state, live) + _reap_domains(state, live)
    for name in state.names():
        if state.of(name).changing() != os.getpid():  # as when one that drains is ended first
            state.of(name).set_unchanging()
    return said


def _strays(state: store.Store, live: set[Path]) -> set[Path]:
    """The release folders that something still runs from, but for the `live` ones."""
    if processes.claimed(state.root) <= live:
        return set()
    return {mark for mark, _ in processes.marked(state.root)} - live


def _reap_units(state: store.Store, live: dict[Path, model.Release]) -> list[str]:
    dead = [
        release.plan
        for releases in map(state.of, state.names())
        for number in releases.numbers()  # also of releases that a kill kept from serving
        if (release := releases.release(number)) is not None
        and release.plan.unit and releases.folder(number) not in live
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
