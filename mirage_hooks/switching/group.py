"""The releases that listen on one port of this host: as the kernel numbers them, and who of them
gets what is new (see host.listeners)."""

from __future__ import annotations

from ..host import listeners
from ..state import model, proc
from ..state.releases import Releases
from . import launcher


def order(releases: Releases, old: model.Release) -> tuple[int, ...]:
    """The releases that listen on the port of `old`, as the kernel numbers them."""
    overlap = releases.overlap()
    return overlap.listening if overlap else (old.number,)


def left(releases: Releases, order: tuple[int, ...]) -> tuple[int, ...]:
    """Those of `order` that still listen, as the kernel numbers them now; nothing when more than
    one has gone, for then it depends on which went first."""
    there = launcher.all_listening(releases)
    gone = [number for number in order if number not in there]
    if len(gone) > 1 and len(order) - len(gone) > 1:
        return ()
    for number in gone:
        order = _without(order, number)
    return order


def tidied(releases: Releases, name: str) -> list[str]:
    """Make what listens equal the state: what is new to the live release, and to nobody whose time
    is over. Says who has drained. Whoever is no longer named in the state is ended by the caller:
    all but the live one, where nothing can be told of who gets what."""
    overlap, current = releases.overlap(), releases.current()
    if overlap is None:
        return []
    order = left(releases, overlap.listening)
    if current is None or not launcher.alive(releases, current) or current.number not in order:
        releases.set_overlap(None)
        return []
    over = [side for side in overlap.sides if _over(releases, side, current)]
    sides = tuple(side for side in overlap.sides if side not in over)
    try:
        own = launcher.listening(releases, current)
        listeners.steer(own, order.index(current.number))
        for side in over:
            order = _ended(releases, side.release, order)
            listeners.steer(own, order.index(current.number))
    except OSError:  # one of them ends just now
        sides = ()
    kept = model.Overlap(unikernel=name, bridge='', addresses=(), base=current.number,
                         sides=sides, listening=order)
    releases.set_overlap(kept if len(sides) > 1 else None)
    return [f'release {side.release} of {name} has drained' for side in over if side.until]


def due(releases: Releases) -> bool:
    """Whether `tidied` has something to do."""
    overlap, current = releases.overlap(), releases.current()
    return overlap is not None and (
        current is None or not launcher.alive(releases, current)
        or any(_over(releases, side, current) for side in overlap.sides)
    )


def _without(order: tuple[int, ...], number: int) -> tuple[int, ...]:
    """As the kernel does: the last takes the place of the one that goes."""
    kept = list(order)
    last = kept.pop()
    return tuple(last if one == number else one for one in kept)


def _over(releases: Releases, side: model.Side, current: model.Release) -> bool:
    """Whether nothing is to be kept of `side`."""
    if side.release == current.number:
        return False
    release = releases.release(side.release)
    alive = release is not None and launcher.alive(releases, release)
    return not alive or not proc.pending(side.until)


def _ended(releases: Releases, number: int, order: tuple[int, ...]) -> tuple[int, ...]:
    """End what `number` listens on, with its process where nothing else does: who gets what is
    known at once. Until then what is new may come to any that is left."""
    release = releases.release(number)
    if release is None or number not in order:
        return order
    if not listeners.close(launcher.listening(releases, release)):
        launcher.stop(releases, release)
    return _without(order, number)
