"""The wire that releases share: who is on it with which addresses, and the rules that steer what
comes over it."""

from __future__ import annotations

import ipaddress

from .. import config
from ..messages import errors
from ..state import model
from ..state.releases import Releases
from . import flows, neighbours, network, nft, programs


def side(release: model.Release, mac: str) -> model.Side:
    return model.Side(release=release.number, device=release.plan.taps[0].name, mac=mac)


def side_of(releases: Releases, release: model.Release) -> model.Side | None:
    overlap = releases.overlap()
    sides = overlap.sides if overlap else ()
    return next((side for side in sides if side.release == release.number), None)


def mac(releases: Releases, release: model.Release) -> str:
    """The hardware address of `release`: planned, or (unix/direct) taken at random; '' when it
    hangs so badly that nobody knows."""
    if release.plan.target != 'unix':
        return release.plan.taps[0].mac
    side = side_of(releases, release)
    tap = release.plan.taps[0]
    found = side.mac if side else network.learned(tap.name)
    return found or neighbours.ask(tap.bridge, addresses(static(release))[0])


def static(release: model.Release) -> config.Static:
    if release.network is None:
        raise errors.Refused(f'release {release.number} has no static network on a bridge')
    return release.network


def addresses(static: config.Static) -> tuple[str, ...]:
    given = (static.ipv4, static.ipv6)
    return tuple(str(ipaddress.ip_interface(address).ip) for address in given if address)


def overlap(base: model.Release, sides: tuple[model.Side, ...]) -> model.Overlap:
    return model.Overlap(
        unikernel=base.unikernel, bridge=base.plan.taps[0].bridge,
        addresses=addresses(static(base)), base=base.number, sides=sides,
    )


def steering(
    overlap: model.Overlap, live: model.Side, others: list[model.Side]
) -> flows.Steering:
    devices = {live.device, *(side.device for side in others)}
    return flows.Steering(
        unikernel=overlap.unikernel, bridge=overlap.bridge, addresses=overlap.addresses,
        base=overlap.base, live=live, others=tuple(others),
        ports=tuple(port for port in network.ports(overlap.bridge) if port not in devices),
    )


def rules(owner: str) -> frozenset[str]:
    """What is in our table; nothing where nft does not work."""
    try:
        said = programs.run('nft', '-j', '-t', 'list', 'table', 'netdev', nft.table(owner))
    except errors.Unavailable:
        return frozenset()
    return nft.known(said)


def transact(transaction: str) -> None:
    if transaction:
        programs.run('nft', '-f', '-', feed=transaction)


def pin(side: model.Side) -> None:
    if side.mac:
        network.pin(side.mac, side.device)


def announce(release: model.Release, mac: str) -> None:
    """Tell the wire, and this host, who has the addresses of `release` now."""
    bridge = release.plan.taps[0].bridge
    for address in addresses(static(release)):
        neighbours.announce(bridge, address, mac)
        programs.run(
            'ip', 'neigh', 'replace', address, 'lladdr', mac, 'dev', bridge, 'nud', 'stale'
        )
