"""Two releases on one port of this host: the new one is proved there by questions that it alone
gets, then has what is new, while the old one keeps its connections; `drain` ends it.

The pointer moves last: until then a kill leaves the old release live, and the next converge gives
it all that is new before it ends the new one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

from .. import config
from ..host import listeners
from ..messages import errors, progress
from ..state import model, proc
from ..state.releases import Releases, shared
from . import asked, asking, consoles, group, health, launcher, switch

LISTENS = 2.0  # seconds that a release has from its first listener to its last
REACHED = 5.0  # seconds in which it has taken a connection of ours
PAUSE = 0.001  # seconds between two looks
WITHOUT = 'release {} cannot listen next to release {}: {}'


class Apart(errors.Unavailable):
    """They cannot listen next to each other; nothing of the new one runs."""


def obstacle(
    releases: Releases, old: model.Release, new: model.Release, wanted: config.Unikernel
) -> str:
    """Why `new` cannot listen next to `old`, which serves; '' when it can."""
    if wanted.switch == 'replace':
        return 'mirage.yml says `switch: replace`'
    if why := hindrance(wanted, bool(new.plan.unit)):
        return why
    found = shared(releases.folder(old.number))
    if found is None:
        return f'release {old.number} was started without sharing its port'
    if found.hindrance:
        return found.hindrance
    if wanted.port not in _streams(found.places):
        return f'release {old.number} does not listen on TCP port {wanted.port}'
    if _user(old.plan) != _user(new.plan):  # the kernel lets no two users share a port
        return f'release {old.number} runs as another user of this host'
    return ''


def possible(
    releases: Releases, old: model.Release | None, new: model.Release, wanted: config.Unikernel
) -> bool:
    return old is not None and not obstacle(releases, old, new, wanted)


def hindrance(wanted: config.Unikernel, unit: bool) -> str:
    """Why no two of its releases can listen next to each other, '' when they can; `unit` is whether
    systemd runs them."""
    if not wanted.shares:
        return 'both would write to its disk'
    return 'systemd starts it, where it cannot be traced' if unit else ''


def take_over(
    releases: Releases, owner: str, old: model.Release, new: model.Release,
    wanted: config.Unikernel, say: switch.Say,
) -> None:
    """Prove `new` next to `old`, send it what is new, point to it. Raises Refused when it does not
    serve: `old` has everything again then; Apart when both cannot be."""
    order = group.order(releases, old)
    known = new.number in group.those(order)
    live, proved = group.numbers(order, old.number), group.numbers(order, new.number)
    own = _listening(releases, old)
    _share(order, (old, new) if known else (old,))
    try:
        listeners.steer(own, live, proved)
        ports = {number: number for one in own if (number := listeners.port(one.place))}
        questions = asked.on_port(wanted, wanted.port or 0, ports)
        for text in questions.said:
            say(text)
        if known:  # still there for its connections: a quick way back
            printed = consoles.printed(releases, new)
        else:
            say(f'starting release {new.number} next to release {old.number}')
            printed = _start(releases, owner, new, own, wanted)
        _prove(releases, new, own, questions, printed)
        order = group.joined(order, new.number, group.places(releases, new))
        _require(releases, order)
        began = time.monotonic()
        listeners.steer(own, proved)
        took = (time.monotonic() - began) * 1000
        say(f'new connections go to release {new.number}, switched in {took:.1f} ms')
        _confirm(releases, new, questions, wanted)
    except BaseException as fault:  # also when a person interrupts it
        with contextlib.suppress(OSError):  # it has ended, and is started again
            listeners.steer(own, live)
        if not known:
            launcher.stop(releases, new)
        if isinstance(fault, OSError):
            raise Apart(str(fault.strerror)) from None
        raise
    _point(releases, old, new, order, wanted)


def _start(
    releases: Releases, owner: str, new: model.Release, own: list[listeners.Listener],
    wanted: config.Unikernel,
) -> asking.Printed:
    """Return when `new` runs and listens where the old one has its `own` listeners; raises Refused
    when it ends or listens nowhere, Apart when it listens elsewhere."""
    places = {one.place for one in own}
    printed = launcher.start(releases, new, owner, listeners.Ports(
        _streams(places), wanted.port or 0, held=any(one.datagrams for one in own)))
    gone = switch.dead(releases, new)
    within = max(config.seconds(one.within) for one in health.questions(wanted))
    limit, first = time.monotonic() + within, 0.0
    with progress.doing(f'waiting for port {wanted.port}', within) as work:
        while not set((found := launcher.shared(releases, new)).places) >= places:
            now = time.monotonic()
            if found.hindrance or (found.places and now > (first := first or now) + LISTENS):
                raise Apart(found.hindrance or f'it listens at {", ".join(found.places)}')
            if launcher.exited(releases.folder(new.number)) is not None and (refusal := gone()):
                raise refusal
            if now > limit:
                raise errors.Refused(f'it did not listen on port {wanted.port} within {within:g}s')
            work.now()
            time.sleep(PAUSE)
    return printed


def _prove(
    releases: Releases, new: model.Release, own: list[listeners.Listener],
    questions: asked.Asked, printed: asking.Printed,
) -> None:
    """Return when `new` has answered what nobody else was asked; raises Refused otherwise."""
    gone = switch.dead(releases, new)
    health.prove(questions.now, printed, gone, questions.own, apart=True)
    for one in own:
        if not one.datagrams:
            _reach(releases, new, one.place, gone)
    # Who takes a datagram cannot be seen: it is the new one while it has such a socket.
    there = {one.place for one in launcher.listening(releases, new)}
    if left := [one.place for one in own if one.place not in there]:
        raise errors.Refused(f'it does not listen at {", ".join(left)} any more')
    launcher.let_go(releases, new)


def _reach(releases: Releases, new: model.Release, place: str, gone: health.Dead) -> None:
    """Return when `new` has taken a connection to `place` that it alone should get; raises Refused
    when it takes none, Apart when another one has."""
    with listeners.reached(place) as port:
        limit = time.monotonic() + REACHED
        while not launcher.serves(releases, new, port):
            if refusal := gone():
                raise refusal
            if any(launcher.serves(releases, one, port) for one in releases.wanted()
                   if one.number != new.number):
                raise Apart(f'release {new.number} does not get what is sent to it alone')
            if time.monotonic() > limit:
                raise errors.Refused(f'it took no connection at {place} within {REACHED:g}s')
            time.sleep(PAUSE)


def _confirm(
    releases: Releases, new: model.Release, questions: asked.Asked, wanted: config.Unikernel
) -> None:
    gone = switch.dead(releases, new)
    health.prove(questions.left, lambda: '', gone)
    health.watch(config.seconds(wanted.confirm), gone)


def _point(
    releases: Releases, old: model.Release, new: model.Release, order: group.Order,
    wanted: config.Unikernel,
) -> None:
    before = releases.overlap()
    sides = (
        model.Side(release=new.number, device='', mac=''),
        model.Side(release=old.number, device='', mac='',
                   until=proc.clock() + config.seconds(wanted.drain)),
        *(side for side in (before.sides if before else ())
          if side.release not in (old.number, new.number)),
    )
    releases.set_overlap(model.Overlap(
        unikernel=new.unikernel, bridge='', addresses=(), base=old.number, sides=sides,
        places=order))
    releases.point(new.number)


def _listening(releases: Releases, old: model.Release) -> list[listeners.Listener]:
    """Where `old` listens; raises Apart when that is not where it listened first."""
    try:
        found = launcher.listening(releases, old)
    except OSError as error:
        raise Apart(f'its sockets cannot be reached: {error.strerror}') from None
    if sorted(one.place for one in found) != sorted(group.places(releases, old)):
        raise Apart(f'release {old.number} does not listen as it did when it was started')
    return found


def _share(order: group.Order, those: Iterable[model.Release]) -> None:
    """Raise Apart when one of `those` does not listen wherever any does that keeps its
    connections."""
    for one in those:
        if place := group.lacking(order, one):
            raise Apart(f'release {one.number} does not listen at {place}, as release '
                        f'{order[place][0]} does, which keeps its connections')


def _require(releases: Releases, order: group.Order) -> None:
    """Raise Unavailable when not all of `order` listen: the numbers that the kernel has given them
    are others now."""
    if group.left(releases, order) != order:
        raise errors.Unavailable('a release that kept its connections ended meanwhile',
                                 hint='it is tried again by itself')


def _streams(places: Iterable[str]) -> frozenset[int]:
    """The TCP ports among `places`."""
    return frozenset(listeners.port(one) for one in places if not one.endswith(listeners.BY_UDP))


def _user(plan: model.Plan) -> str:
    """Whom `setpriv` has it run as; '' where it runs as who deploys (see targets.sandbox)."""
    return next((word for word in plan.command if word.startswith('--reuid=')), '')
