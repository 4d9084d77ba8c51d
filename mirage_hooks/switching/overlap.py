"""Two releases side by side: the new one is proved on a stage, joins the bridge and gets what is
new, while the old one keeps its connections; `drain` ends it.

The pointer moves last: until then a kill leaves the old release live, and all that was made for the
new one is removed by the next converge."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import msgspec

from .. import config
from ..host import dhcp, flows, interruption, link, neighbours, network, replay, staging
from ..messages import errors
from ..state import model, proc
from ..state.releases import Releases
from . import asked, certified, confirm, consoles, health, launcher, leasing, switch


def possible(old: model.Release | None, new: model.Release, wanted: config.Unikernel) -> bool:
    """Whether `new` can be proved and serve next to `old`: an ordinary user makes no namespace."""
    alone = all(release is None or release.network for release in (old, new))
    return alone and wanted.overlapped is not None and os.geteuid() == 0


def staged(wanted: config.Unikernel) -> bool:
    """Whether it can be tried on a stage; `switch: replace` is for what must reach others first."""
    return wanted.alone is not None and wanted.switch != 'replace' and os.geteuid() == 0


def located(releases: Releases, old: model.Release, new: model.Release) -> model.Release:
    """`old`, which serves, and from now on with the network of `new` where it was started without
    one but answers for its addresses on the same bridge: a compiled-in address that mirage.yml has
    come to name."""
    taps, static = old.plan.taps, new.network
    if old.network is not None or static is None or len(taps) != 1 or os.geteuid() != 0:
        return old
    mac = (network.learned(taps[0].name) if old.plan.target == 'unix' else taps[0].mac).lower()
    if taps[0].bridge != static.bridge or not mac or any(
        neighbours.ask(static.bridge, address) != mac for address in link.addresses(static)
    ):
        return old
    found = msgspec.structs.replace(old, network=static)
    releases.save(found)
    return found


def take_over(
    releases: Releases, owner: str, old: model.Release | None, new: model.Release,
    wanted: config.Unikernel, say: switch.Say, lease: dhcp.Lease | None = None,
) -> None:
    """Prove `new` next to `old`, send it what is new, point to it. Raises Refused when it does not
    serve, and Lost when the server of its `lease` turns out not to agree; what serves was not
    touched then, or has everything again."""
    known = link.side_of(releases, new)
    if known is not None and old is not None:  # still there for its connections: a quick way back
        met = staging.met(link.static(new))
        return _exchange(releases, owner, old, new, known.mac, met, wanted, say)
    network.require(new.plan.taps[0].bridge)
    say(f'starting release {new.number} on a stage')
    with _proved(releases, owner, new, wanted, say, lease) as (stage, mac, server):
        say(f'release {new.number} serves there')
        met = stage.introduced()
        if old is not None and server and server.taken:
            leasing.renew(owner, old, new, server.lease, server.taken)
        if old is None or not _same_place(old, new):
            _join(releases, owner, old, new, mac, met, wanted, say)
        else:
            _exchange(releases, owner, old, new, mac, met, wanted, say)


def rehearse(
    releases: Releases, owner: str, release: model.Release, wanted: config.Unikernel,
    say: switch.Say, lease: dhcp.Lease | None = None, judge: asked.Judge | None = None,
) -> None:
    """Prove `release` on a stage, and end it again; raises Refused when it does not serve there, or
    `judge` does. What serves has the same address, and never hears of it."""
    say(f'trying release {release.number} on a stage')
    with _proved(releases, owner, release, wanted, say, lease, judge):
        launcher.stop(releases, release)
    consoles.set_apart(releases, release)


@contextlib.contextmanager
def _proved(
    releases: Releases, owner: str, new: model.Release, wanted: config.Unikernel,
    say: switch.Say, lease: dhcp.Lease | None, judge: asked.Judge | None = None,
) -> Iterator[tuple[staging.Stage, str, replay.Replay | None]]:
    """`new` on a stage, serving: the stage, its hardware address, and the server there of its
    `lease`. It is ended when it does not serve, or when what is done with it fails."""
    static, own = link.static(new), link.addresses(link.static(new))
    questions = asked.on_stage(wanted, own)
    for text in questions.said:
        say(text)
    with contextlib.ExitStack() as kept:
        others = replay.neighbour(lease) if lease else ()
        stage = kept.enter_context(staging.stage(owner, static, others))
        server = kept.enter_context(
            replay.opened(stage, lease, new.plan.taps[0].mac)) if lease else None
        for one in stage.played:
            if one.gateway and not one.mac:
                say(f'nobody on {stage.real} answers for the gateway {one.address} yet')
        staged = msgspec.structs.replace(new, plan=staging.moved(new.plan, stage.bridge))
        try:
            printed = launcher.start(releases, staged, owner)
            stage.admit()
            gone = switch.dead(releases, new)
            if server:
                gone = _leased(server, questions.now[0].within, gone)
            with stage.entered():
                health.prove(questions.now, printed, gone, own)
                if judge is not None:
                    judge(own[0], asked.named_port(wanted))
            macs = [stage.mac(address) for address in own]  # it answers for each of them
            yield stage, macs[0], server
        except BaseException:
            if not switch.is_live(releases, new):
                launcher.stop(releases, new)
            raise


def _leased(server: replay.Replay, within: str, gone: health.Dead) -> health.Dead:
    """Wait until the release has taken its lease: `gone`, from now on asked with an ear for what it
    asks the `server`."""
    if not server.wait(config.seconds(within), gone) and not gone():
        raise errors.Refused(
            f'it took no address by DHCP within {within}', hint='is the image built for DHCP? '
            'Else say mode: static in mirage.yml, with compiled_in: true where it has its address',
        )

    def hearing() -> errors.Refused | None:
        server.answer()
        return gone()

    return hearing


def _exchange(
    releases: Releases, owner: str, old: model.Release, new: model.Release, mac: str,
    met: tuple[staging.Neighbour, ...], wanted: config.Unikernel, say: switch.Say,
) -> None:
    """Send `new` what is new, ask and watch it, point to it; `old` keeps its connections for a
    while."""
    here, there = link.side(old, link.mac(releases, old)), link.side(new, mac)
    before = releases.overlap() or link.overlap(old, (here,))
    others = [side for side in before.sides if side.release not in (old.number, new.number)]
    devices = (here.device, there.device)
    # `old` has another certificate, where that is what changes.
    before_it = certified.running(wanted, releases, old)
    with confirm.places(owner, new, mac, met, devices, say) as places:
        guard = link.steering(
            before, here, [*others, *([there] if link.side_of(releases, new) else [])])
        # First that all is as it is, by rules: nothing may change when the new one joins.
        if not _pinnable(owner, old, guard, say):
            places = confirm.answered(places, old, before_it, say)
            return _swap(releases, old, here, new, there, places, wanted)
        link.pin(here)
        places = confirm.answered(places, old, before_it, say)
        network.join(there.device, before.bridge)
        try:
            took = _turn(owner, link.steering(before, there, [*others, here]), above=True)
            say(f'new connections go to release {new.number}, switched in {took * 1000:.0f} ms')
            confirm.serves(releases, new, wanted, places)
        except BaseException:  # also when a person interrupts it
            with interruption.held():
                _turn(owner, guard)
            raise
    with interruption.held():
        here = msgspec.structs.replace(here, until=proc.clock() + config.seconds(wanted.drain))
        releases.set_overlap(msgspec.structs.replace(before, sides=(there, here, *others), over=0))
        releases.point(new.number)


def _turn(owner: str, steering: flows.Steering, above: bool = False) -> float:
    """New connections to `steering.live`, in one transaction, and then what the rules do not see;
    the seconds that the transaction took."""
    began = time.monotonic()
    link.transact(flows.switched(owner, steering, above))
    took = time.monotonic() - began
    link.pin(steering.live)
    return took


def _pinnable(
    owner: str, old: model.Release, guard: flows.Steering, say: switch.Say
) -> bool:
    """Whether flows can be pinned here; the rules then stand."""
    try:
        if network.tagged(guard.bridge):
            raise errors.Unavailable(f'{guard.bridge} tells VLANs apart')
        link.transact(flows.steered(owner, guard, link.rules(owner)))
    except errors.Unavailable as missing:
        say(f'connections of release {old.number} will break: {missing.reason}')
        return False
    return True


def _swap(
    releases: Releases, old: model.Release, here: model.Side, new: model.Release,
    there: model.Side, places: tuple[confirm.Place, ...], wanted: config.Unikernel,
) -> None:
    """Without rules: exchange the ports of the bridge, point to `new`, stop `old`."""
    bridge = new.plan.taps[0].bridge
    try:
        network.swap(there.device, here.device, bridge)
        link.announce(new, there.mac)
        confirm.serves(releases, new, wanted, places)
    except BaseException:
        with interruption.held():
            network.swap(here.device, there.device, bridge)
            if here.mac:
                link.announce(old, here.mac)
        raise
    with interruption.held():
        releases.set_overlap(None)
        releases.point(new.number)
        launcher.stop(releases, old)


def _join(
    releases: Releases, owner: str, old: model.Release | None, new: model.Release, mac: str,
    met: tuple[staging.Neighbour, ...], wanted: config.Unikernel, say: switch.Say,
) -> None:
    """Put `new` where nobody has its address, and point to it. Where it does not answer from is
    said: nothing served there before, or it has served so."""
    tap = new.plan.taps[0]
    network.join(tap.name, tap.bridge)
    link.announce(new, mac)
    with confirm.places(owner, new, mac, met, (tap.name,), say) as places:
        confirm.answered(places, new, wanted, say)
    confirm.serves(releases, new, wanted, ())
    with interruption.held():
        releases.set_overlap(None)
        releases.point(new.number)
        if old is not None:
            launcher.stop(releases, old)


def _same_place(one: model.Release, other: model.Release) -> bool:
    places = [(release.plan.taps[0].bridge, link.addresses(link.static(release)))
              for release in (one, other)]
    return places[0] == places[1]
