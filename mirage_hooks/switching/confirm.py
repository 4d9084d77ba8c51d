"""After the switch: the release is asked again from where visitors are, over its real bridge, and
watched. What it could not be asked on the stage is asked now, too."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator

import msgspec

from .. import config
from ..host import link, namespace, staging, visitor
from ..messages import errors
from ..state import model
from ..state.releases import Releases
from . import asked, health, switch

LOOK = '1s'  # what a release that serves has to answer from a place


class Place(msgspec.Struct, frozen=True):
    """Where a release is asked from: `where`, in words, the namespace (None: this host's own),
    and at which of its addresses. `late`: the gateway came after the release had met another."""

    where: str
    address: str
    inside: namespace.Namespace | None = None
    late: bool = False

    def entered(self) -> contextlib.AbstractContextManager[None]:
        return self.inside.entered() if self.inside else contextlib.nullcontext()


@contextlib.contextmanager
def places(
    owner: str, release: model.Release, mac: str, met: tuple[staging.Neighbour, ...],
    devices: tuple[str, ...], say: switch.Say,
) -> Iterator[tuple[Place, ...]]:
    """Where the visitors of `release` are, whose hardware address is `mac`: beyond the gateways
    among those whom it has `met`, and on this host. The answers may come from each of `devices`."""
    here = tuple(Place('from this host', _own(one)) for one in met if one.ours)
    beyond = [one for one in met if one.gateway and not one.ours]
    for one in (one for one in beyond if not one.mac):
        say(f'nobody answers for the gateway {one.address}: it is not asked from beyond')
    known = [one for one in beyond if one.mac]
    with contextlib.ExitStack() as kept:
        inside = None
        try:
            if known:
                inside = kept.enter_context(visitor.beyond(
                    owner, release.unikernel, release.plan.taps[0].bridge, devices,
                    dict.fromkeys(known, mac),
                ))
        except errors.Unavailable as missing:
            say(f'it cannot be asked from beyond its gateway: {missing.reason}')
            known = []
        yield here + tuple(
            Place(f'by way of the gateway {one.address}', _own(one), inside, one.late)
            for one in known
        )


def answered(
    asked_from: tuple[Place, ...], one: model.Release, wanted: config.Unikernel, say: switch.Say
) -> tuple[Place, ...]:
    """Those places from which release `one`, which serves, answers. The others are said: from
    there nothing can be told of what takes its place."""
    own, found = link.addresses(link.static(one)), []
    for place in asked_from:
        questions = tuple(msgspec.structs.replace(each, within=LOOK)
                          for each in asked.again(wanted, own, place.address))
        try:
            with place.entered():
                health.prove(questions, lambda: '', lambda: None, (place.address,))
            found.append(place)
        except errors.Refused as refused:
            say(f'WARNING: release {one.number} does not answer, asked {place.where}: '
                f'{refused.reason}')
    return tuple(found)


def serves(
    releases: Releases, new: model.Release, wanted: config.Unikernel, asked_from: tuple[Place, ...]
) -> None:
    """Return when `new`, to which all that is new goes by now, has answered from everywhere and
    lived for `confirm`; raises Refused when it does not serve."""
    own, ended = link.addresses(link.static(new)), switch.dead(releases, new)
    for place in asked_from:
        _ask(place, asked.again(wanted, own, place.address), ended)
    health.prove(asked.on_stage(wanted, own).left, lambda: '', ended)
    health.watch(config.seconds(wanted.confirm), ended)


def _ask(place: Place, questions: tuple[config.Health, ...], ended: health.Dead) -> None:
    try:
        with place.entered():
            health.prove(questions, lambda: '', ended, (place.address,))
    except errors.Refused as refused:
        if ended():
            raise
        reason = f'{refused.reason}, asked {place.where}'
        if place.late:
            raise errors.Unavailable(
                f'{reason}, whom nobody knew when it was started', 'it is tried again by itself'
            ) from None
        raise errors.Refused(reason, hint=(
            'does the image know its gateway? If visitors are not to reach it that way, say '
            '`switch: replace` in mirage.yml: then it is not asked from there'
        )) from None


def _own(met: staging.Neighbour) -> str:
    return str(ipaddress.ip_interface(met.own).ip)
