"""Others on this host or its bridge that have what is ours: a domain of our name, as an old script
starts it, or one of our hardware address, or whoever answers for our IPv4 address."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator

import msgspec

from .. import errors, model, store, tree
from ..host import arp, network, xen

ANSWER = 0.3  # seconds that an answer to ARP may take


class Conflict(msgspec.Struct, frozen=True):
    """Who has what is ours, and what to do. One that is not `sure` is told, and keeps nothing from
    being started: another repository of this host may have a unikernel of the same name."""

    text: str
    hint: str
    sure: bool = True


class _Ours(msgspec.Struct, frozen=True):
    """What belongs to one unikernel of ours."""

    name: str
    domains: frozenset[str]
    macs: frozenset[str]
    taps: frozenset[str]
    place: model.Static | None


def of(
    state: store.Store, name: str, wanted: model.Unikernel | None,
    release: model.Release | None = None, within: float = ANSWER,
) -> list[Conflict]:
    """Who is in the way of `name`, which runs as `release`, or is to run as `wanted`. Whoever
    answers ARP on its bridge is waited for `within` seconds; an ordinary user cannot ask."""
    release = release or state.of(name).current()
    ours = _ours(state, name, wanted, release)
    target = release.plan.target if release else wanted.target if wanted else None
    listed = _running() if target == 'xen' else []
    strangers = [one for one in listed if one.name not in ours.domains]
    found = {one.name: conflict for one in strangers if (conflict := _named(one, ours))}
    found |= {one.name: _alike(one, ours) for one in strangers if ours.macs & {*one.macs}}
    for mac in _answering(ours, within):
        domain = next((one.name for one in strangers if mac in one.macs), '')
        found[domain or mac] = _answers(mac, domain, ours)
    return list(found.values())


def require_none(
    state: store.Store, name: str, wanted: model.Unikernel | None, release: model.Release
) -> None:
    """Raise Unavailable when another one has what `release`, which does not run, would take: two
    with one address are worse than one."""
    for one in of(state, name, wanted, release):
        if one.sure:
            raise errors.Unavailable(one.text, one.hint)


def _ours(
    state: store.Store, name: str, wanted: model.Unikernel | None, release: model.Release | None
) -> _Ours:
    running = [*state.of(name).wanted(), *([release] if release else [])]
    taps = [tap for one in running for tap in one.plan.taps]
    macs = [tap.mac for tap in taps]
    if wanted is not None:
        macs += [one.mac or '' for one in wanted.interfaces.values()
                 if isinstance(one, model.Direct)]
    place = release.network if release else wanted.alone if wanted else None
    return _Ours(
        name, frozenset(domains(state)), frozenset(mac.lower() for mac in macs if mac),
        frozenset(tap.name for tap in taps), place,
    )


def domains(state: store.Store) -> Iterator[str]:
    """The names of the domains of every release here, whatever runs."""
    for shelf in (*map(state.of, state.names()), *state.proofs()):
        for number in shelf.numbers():
            if (release := shelf.release(number)) and release.plan.domain:
                yield release.plan.domain


def _running() -> list[xen.Domain]:
    with contextlib.suppress(errors.Unavailable):  # without xl nothing is there to conflict
        return xen.described()
    return []


def _named(one: xen.Domain, ours: _Ours) -> Conflict | None:
    """What a domain's name says. Ours end in the release's number: where the unikernel's name ends
    so too, a domain of just this name may be another repository's release."""
    stem = re.sub(r'-[0-9]+$', '', one.name)
    if tree.spelled(one.name) == tree.spelled(ours.name) and one.name == stem:
        return Conflict(
            f'the domain {one.name} runs and is not ours: it may hold the address',
            _destroy(one.name),
        )
    if stem == ours.name and one.name != stem:
        return Conflict(
            f'the domain {one.name} runs and is not ours, but is called as our releases are',
            f'look whose it is: xl list -l {shlex.quote(one.name)}', sure=False,
        )
    return None


def _alike(one: xen.Domain, ours: _Ours) -> Conflict:
    mac = sorted(ours.macs & {*one.macs})[0]
    return Conflict(
        f'the domain {one.name} runs and is not ours, and has our hardware address {mac}',
        _destroy(one.name),
    )


def _destroy(domain: str) -> str:
    return f'xl destroy {shlex.quote(domain)}, then mirage-hooks deploy'


def _answering(ours: _Ours, within: float) -> list[str]:
    """The hardware addresses of others that answer for ours. A gateway that answers for everybody
    (proxy ARP, as some providers have it) is none of them."""
    place = ours.place
    if place is None or not place.ipv4 or not place.bridge or not network.exists(place.bridge):
        return []
    with contextlib.suppress(errors.Unavailable):  # an ordinary user sends no ARP
        found = arp.answers(place.bridge, place.ipv4.partition('/')[0], within)
        others = [mac for mac in found - ours.macs if network.port_of(mac, place.bridge)
                  not in ours.taps]
        if others and place.gateway:
            gateways = arp.answers(place.bridge, place.gateway, within)
            others = [mac for mac in others if mac not in gateways]
        return sorted(others)
    return []


def _answers(mac: str, domain: str, ours: _Ours) -> Conflict:
    place = ours.place
    assert place is not None and place.ipv4 is not None and place.bridge is not None  # noqa: S101
    address, port = place.ipv4.partition('/')[0], network.port_of(mac, place.bridge)
    who = f'the domain {domain}' if domain else f'{mac} behind {port or place.bridge}'
    look = f'look whose it is: bridge fdb show br {place.bridge} | grep {mac}'
    return Conflict(
        f'{who} is not ours, and answers for our address {address}',
        _destroy(domain) if domain else f'{look}; end it, then mirage-hooks deploy',
    )
