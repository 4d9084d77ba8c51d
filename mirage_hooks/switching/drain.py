"""After a switch: what keeps its connections, until they end or its time is over.

What is to be there can be told from the state alone: `current` is live, `overlap.json` names those
that are drained. So `tidy` both ends what has drained and makes good what a kill left. While one
release serves alone there are no rules."""

from __future__ import annotations

import os

import msgspec

from ..host import flows, link, network, nft, programs
from ..messages import errors
from ..state import model, proc, store
from ..state.releases import Releases
from . import group, launcher, reaping

RELEARN = 1.1  # seconds; Linux takes no second change of a neighbour within one (locktime)


def tidy(state: store.Store, owner: str) -> list[str]:
    """Make what is there equal the state: end what has drained or belongs to nobody, keep the
    connections of what has not, take away rules that nobody needs. Says what it ended."""
    names = link.rules(owner) if _steerable(state) else frozenset()
    said = []
    for name in state.names():
        if _shares_ports(state.of(name)):
            said += group.tidied(state.of(name), name)
    steered = [name for name in state.names() if state.of(name).overlap() or nft.of(name, names)]
    steered = [name for name in steered if not _shares_ports(state.of(name))]
    for name in steered:
        said += _drained(state.of(name), name, owner)
        _keep(state.of(name), name, owner, names)
    for releases in map(state.of, state.names()):
        _on_its_bridge(releases)
    said += reaping.reap(state, owner)
    for name in steered:
        _release(state.of(name), name, owner)
    return said


def draining(state: store.Store) -> bool:
    """Whether there is anything to wait for before a release is alone."""
    return any(state.of(name).overlap() for name in state.names())


def due(state: store.Store, owner: str) -> bool:
    """Whether `tidy` has something to do."""
    if any(_shares_ports(releases) and group.due(releases)
           for releases in map(state.of, state.names())):
        return True
    overlaps = {name: overlap for name in state.names()
                if (overlap := state.of(name).overlap()) and overlap.bridge}
    names = link.rules(owner) if overlaps else frozenset()
    return any(
        not nft.of(name, names)  # somebody flushed the rules
        or _is_over(overlap) or _left(state.of(name), name, owner, overlap) != overlap
        for name, overlap in overlaps.items()
    )


def _shares_ports(releases: Releases) -> bool:
    overlap = releases.overlap()
    return overlap is not None and not overlap.bridge


def _steerable(state: store.Store) -> bool:
    """Whether rules of ours can be there at all."""
    releases = [state.of(name).current() for name in state.names()]
    own = any(release is not None and release.network is not None for release in releases)
    return own and os.geteuid() == 0 and bool(programs.find('nft'))


def _drained(releases: Releases, name: str, owner: str) -> list[str]:
    """Write down who need no longer be kept; says who."""
    overlap = releases.overlap()
    if overlap is None:
        return []
    left = _left(releases, name, owner, overlap)
    if left == overlap:
        return []
    releases.set_overlap(left)
    if left is None:
        return []  # what is live is gone, and no connection is worth more than starting it again
    kept = {side.release for side in left.sides}
    return [f'release {side.release} of {name} has drained' for side in overlap.sides
            if side.release not in kept and side.until]


def _left(
    releases: Releases, name: str, owner: str, overlap: model.Overlap
) -> model.Overlap | None:
    """What is left of `overlap` now; None when what is live has ended."""
    current = releases.current()
    if current is None or not launcher.alive(releases, current):
        return None
    sides = tuple(
        side for side in overlap.sides
        if side.release == current.number
        or (proc.pending(side.until) and _busy(releases, name, owner, overlap, side))
    )
    if len(sides) > 1 or overlap.over:
        return msgspec.structs.replace(overlap, sides=sides)
    # Alone, it has all the flows there are, and they are no longer told apart.
    patience = RELEARN if current.plan.target == 'unix' else 0
    return msgspec.structs.replace(
        overlap, sides=sides, base=current.number, over=proc.clock() + patience
    )


def _busy(
    releases: Releases, name: str, owner: str, overlap: model.Overlap, side: model.Side
) -> bool:
    """Whether a drained release lives and may have connections. All of the base's are not known:
    it has its whole time."""
    release = releases.release(side.release)
    if release is None or not launcher.alive(releases, release):
        return False
    if side.release == overlap.base:
        return True
    try:
        return any(
            nft.count(programs.run('nft', '-j', 'list', 'set', 'netdev', nft.table(owner), one))
            for one in flows.sets(name, side.release, overlap.addresses)
        )
    except errors.Unavailable:
        return False  # the rules are gone, and with them the way to it


def _keep(releases: Releases, name: str, owner: str, names: frozenset[str]) -> None:
    """Make the rules say what the state says, as far as anything is to be said."""
    current, overlap = releases.current(), releases.overlap()
    if current is None or current.network is None or not launcher.alive(releases, current):
        return link.transact(flows.removed(owner, name, names))
    live = link.side(current, link.mac(releases, current))
    overlap = overlap or link.overlap(current, (live,))
    others = [side for side in overlap.sides if side.release != current.number]
    link.pin(live)
    try:
        link.transact(flows.steered(owner, link.steering(overlap, live, others), names))
    except errors.Unavailable:  # nft went away: what is live matters more than connections
        releases.set_overlap(None)


def _release(releases: Releases, name: str, owner: str) -> None:
    """When one release is alone: tell the neighbours, then take the rules away."""
    current, overlap = releases.current(), releases.overlap()
    if overlap is not None and not overlap.over:
        return
    if current is not None and current.network is not None and launcher.alive(releases, current):
        mac = link.mac(releases, current)
        if mac and current.plan.target == 'unix':  # the other one had another hardware address
            link.announce(current, mac)
        if overlap is not None and not _is_over(overlap):
            return  # once more, later: some may have learned the other one just now
        if mac:
            network.unpin(mac, current.plan.taps[0].name)
    link.transact(flows.removed(owner, name, link.rules(owner)))
    releases.set_overlap(None)


def _is_over(overlap: model.Overlap) -> bool:
    return overlap.over > 0 and not proc.pending(overlap.over)


def _on_its_bridge(releases: Releases) -> None:
    """Put the live domain's vif where it belongs: killed while ports were exchanged, it may be on
    no bridge. (A tap is put back by whoever finds its process alive.)"""
    current = releases.current()
    if current is None or not current.plan.domain or current.network is None:
        return
    for tap in current.plan.taps:
        if network.exists(tap.name) and network.exists(tap.bridge):
            network.join(tap.name, tap.bridge)
