"""Others on this host or its bridge that have what is ours: a domain of our name, as an old script
starts it, or one of our hardware address, or whoever answers for our address."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterable, Iterator

import msgspec

from .. import config
from ..git import tree
from ..host import link, neighbours, network, xen
from ..messages import errors
from ..state import model, store

ANSWER = 0.15  # seconds that an answer may take: it is asked twice, and a push waits for it

Answers = dict[tuple[str, str], frozenset[str]]
"""Who answers for an address on a bridge: their hardware addresses."""


class Conflict(msgspec.Struct, frozen=True):
    """Who has what is ours, and what to do. One that is not `sure` is told, and keeps nothing from
    being started: another repository of this host may have a unikernel of the same name."""

    text: str
    hint: str
    sure: bool = True


class Seen(msgspec.Struct, frozen=True):
    """What is there, looked at once for all unikernels: who answers for their addresses, the
    domains that run, and the names of all that are ours."""

    answers: Answers
    running: tuple[xen.Domain, ...] = ()
    domains: frozenset[str] = frozenset()


class _Ours(msgspec.Struct, frozen=True):
    """What belongs to one unikernel of ours."""

    name: str
    macs: frozenset[str]
    taps: frozenset[str]
    place: config.Static | None


def of(
    state: store.Store, name: str, wanted: config.Unikernel | None,
    release: model.Release | None = None, seen: Seen | None = None,
) -> list[Conflict]:
    """Who is in the way of `name`, which runs as `release`, or is to run as `wanted`, of those who
    are `seen`; they are looked at when they are not given."""
    release = release or state.of(name).current()
    ours = _ours(state, name, wanted, release)
    target = release.plan.target if release else wanted.target if wanted else None
    on_xen = target == 'xen'
    seen = seen or look(state, [ours.place], on_xen)
    strangers = [one for one in seen.running if on_xen and one.name not in seen.domains]
    found = {one.name: conflict for one in strangers if (conflict := _named(one, ours))}
    found |= {one.name: _alike(one, ours) for one in strangers if ours.macs & {*one.macs}}
    for address, mac in _answering(ours, seen.answers):
        domain = next((one.name for one in strangers if mac in one.macs), '')
        found[domain or mac] = _answers(address, mac, domain, ours)
    return list(found.values())


def look(
    state: store.Store, places: Iterable[config.Static | None], on_xen: bool
) -> Seen:
    """Who answers for the addresses of `places`, and, with `on_xen`, the domains."""
    running = tuple(_running()) if on_xen else ()
    return Seen(_heard(places), running, frozenset(domains(state)) if running else frozenset())


def seen_by(state: store.Store, releases: Iterable[model.Release]) -> Seen:
    """What concerns `releases`, which run."""
    found = list(releases)
    on_xen = any(one.plan.target == 'xen' for one in found)
    return look(state, [one.fixed for one in found], on_xen)


def require_none(
    state: store.Store, name: str, wanted: config.Unikernel | None, release: model.Release
) -> None:
    """Raise Unavailable when another one has what `release`, which does not run, would take: two
    with one address are worse than one."""
    for one in of(state, name, wanted, release):
        if one.sure:
            raise errors.Unavailable(one.text, one.hint)


def _ours(
    state: store.Store, name: str, wanted: config.Unikernel | None, release: model.Release | None
) -> _Ours:
    running = [*state.of(name).wanted(), *([release] if release else [])]
    taps = [tap for one in running for tap in one.plan.taps]
    macs = [tap.mac for tap in taps]
    if wanted is not None:
        macs += [one.mac or '' for one in wanted.interfaces.values()
                 if isinstance(one, config.Direct)]
    place = release.fixed if release else wanted.alone if wanted else None
    return _Ours(
        name, frozenset(mac.lower() for mac in macs if mac),
        frozenset(tap.name for tap in taps), place,
    )


def domains(state: store.Store) -> Iterator[str]:
    """The names of the domains of every release here, whatever runs."""
    for releases in (*map(state.of, state.names()), *state.proofs()):
        for number in releases.numbers():
            if (release := releases.release(number)) and release.plan.domain:
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


def _heard(places: Iterable[config.Static | None]) -> Answers:
    """Who answers for the addresses of `places`, and of their gateways; all are asked at once. An
    ordinary user cannot ask."""
    asked: dict[str, list[str]] = {}
    for one in places:
        if one is not None and one.bridge and network.exists(one.bridge):
            gateways = [gateway for gateway in (one.gateway, one.ipv6_gateway) if gateway]
            asked.setdefault(one.bridge, []).extend((*link.addresses(one), *gateways))
    found: Answers = {}
    for bridge, addresses in asked.items():
        with contextlib.suppress(errors.Unavailable):
            told = neighbours.answers(bridge, tuple(addresses), ANSWER)
            found |= {(bridge, address): macs for address, macs in told.items()}
    return found


def _answering(ours: _Ours, answers: Answers) -> list[tuple[str, str]]:
    """The others that answer for our addresses, each with the hardware address. A gateway that
    answers for everybody (proxy ARP, as some providers have it) is none of them."""
    place = ours.place
    if place is None or not place.bridge:
        return []
    gateways = [answers.get((place.bridge, one or ''), frozenset())
                for one in (place.gateway, place.ipv6_gateway)]
    return sorted(
        (address, mac) for address in link.addresses(place)
        for mac in answers.get((place.bridge, address), frozenset()) - ours.macs
        if not any(mac in one for one in gateways)
        and network.port_of(mac, place.bridge) not in ours.taps
    )


def _answers(address: str, mac: str, domain: str, ours: _Ours) -> Conflict:
    bridge = (ours.place.bridge if ours.place else None) or ''
    port = network.port_of(mac, bridge)
    who = f'the domain {domain}' if domain else f'{mac} behind {port or bridge}'
    look = f'look whose it is: bridge fdb show br {bridge} | grep {mac}'
    return Conflict(
        f'{who} is not ours, and answers for our address {address}',
        _destroy(domain) if domain else f'{look}; end it, then mirage-hooks deploy',
    )
