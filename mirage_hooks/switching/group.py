"""The releases that listen on the same ports of this host: as the kernel numbers them, and who of
them gets what is new (see host.listeners)."""

from __future__ import annotations

from ..host import listeners
from ..state import model, proc
from ..state.releases import Releases, shared
from . import launcher

Order = dict[str, tuple[int, ...]]
"""At each place the releases that listen there, as the kernel numbers them."""


def order(releases: Releases, old: model.Release) -> Order:
    """Who listens where `old` does."""
    if (overlap := releases.overlap()) is not None:
        return overlap.places
    return dict.fromkeys(places(releases, old), (old.number,))


def places(releases: Releases, release: model.Release) -> tuple[str, ...]:
    """Where `release` listened when it was started."""
    return (shared(releases.folder(release.number)) or model.Shared()).places


def those(order: Order) -> set[int]:
    """Every release that listens somewhere."""
    return {number for at in order.values() for number in at}


def lacking(order: Order, release: model.Release) -> str:
    """A place at which another one listens and `release` does not; '' for none."""
    return next((place for place, at in order.items() if release.number not in at), '')


def joined(order: Order, number: int, places: tuple[str, ...]) -> Order:
    """`order` once `number` listens at `places`, too."""
    return order | {
        place: there if number in (there := order.get(place, ())) else (*there, number)
        for place in places}


def numbers(order: Order, number: int) -> dict[str, int]:
    """The kernel's number of release `number` wherever it listens, or would as the next one."""
    return {place: at.index(number) if number in at else len(at) for place, at in order.items()}


def left(releases: Releases, order: Order) -> Order:
    """Those of `order` that still listen, as the kernel numbers them now; nothing when more than
    one has gone from a place, for then it depends on which went first."""
    there = launcher.all_listening(releases)
    for at in order.values():
        gone = [number for number in at if number not in there]
        if len(gone) > 1 and len(at) - len(gone) > 1:
            return {}
    for number in sorted(those(order) - there):
        order = _without(order, number)
    return order


def tidied(releases: Releases, name: str) -> list[str]:
    """Make what listens equal the state: what is new to the live release, and to nobody whose time
    is over. Says who has drained. Whoever is no longer named in the state is ended by the caller:
    all but the live one, where nothing can be told of who gets what."""
    overlap, current = releases.overlap(), releases.current()
    if overlap is None:
        return []
    order = left(releases, overlap.places)
    alive = current is not None and launcher.alive(releases, current)
    if current is None or not alive or not order or lacking(order, current):
        releases.set_overlap(None)
        return []
    over = [side for side in overlap.sides if _over(releases, side, current)]
    sides = tuple(side for side in overlap.sides if side not in over)
    try:
        own = launcher.listening(releases, current)
        listeners.steer(own, numbers(order, current.number))
        for side in over:
            order = _ended(releases, side.release, order)
            listeners.steer(own, numbers(order, current.number))
    except OSError:  # one of them ends just now
        sides = ()
    kept = model.Overlap(unikernel=name, bridge='', addresses=(), base=current.number,
                         sides=sides, places=order)
    releases.set_overlap(kept if len(sides) > 1 else None)
    return [f'release {side.release} of {name} has drained' for side in over if side.until]


def due(releases: Releases) -> bool:
    """Whether `tidied` has something to do."""
    overlap, current = releases.overlap(), releases.current()
    return overlap is not None and (
        current is None or not launcher.alive(releases, current)
        or any(_over(releases, side, current) for side in overlap.sides)
    )


def _without(order: Order, number: int) -> Order:
    """As the kernel does: the last takes the place of the one that goes."""
    return {place: tuple(at[-1] if one == number else one for one in at[:-1])
            if number in at else at for place, at in order.items()}


def _over(releases: Releases, side: model.Side, current: model.Release) -> bool:
    """Whether nothing is to be kept of `side`."""
    if side.release == current.number:
        return False
    release = releases.release(side.release)
    alive = release is not None and launcher.alive(releases, release)
    return not alive or not proc.pending(side.until)


def _ended(releases: Releases, number: int, order: Order) -> Order:
    """End what `number` listens on, with its process where nothing else does: who gets what is
    known at once. Until then what is new may come to any that is left."""
    release = releases.release(number)
    if release is None or number not in those(order):
        return order
    if not listeners.close(launcher.listening(releases, release)):
        launcher.stop(releases, release)
    return _without(order, number)
