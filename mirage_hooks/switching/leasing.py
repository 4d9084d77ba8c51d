"""Side by side with one address by DHCP: two releases of one hardware address share what the server
leases to it. Where it does not do as it should, the old release is stopped first, as ever."""

from __future__ import annotations

import os

import msgspec

from .. import config
from ..host import dhcp, leases, link, neighbours, network
from ..messages import errors
from ..state import model
from ..state.releases import Releases

CHANGES = 'a unix image takes another hardware address at each start, and another lease with it'

ANSWER = 3.0  # seconds that the old release has to say that it has the address
FIRST = 'release {} is stopped first: {}'
"""Which switch it is, and why."""


class Lost(errors.Unavailable):
    """Two cannot have what is leased: why not."""


class Pair(msgspec.Struct, frozen=True):
    """What serves and what is to serve, both with the network that `lease` gives them; None where
    both have been there with it already."""

    old: model.Release
    new: model.Release
    lease: dhcp.Lease | None


def concerns(wanted: config.Unikernel) -> bool:
    """Whether releases may share an address by DHCP: an ordinary user makes no namespace."""
    return wanted.leased and os.geteuid() == 0


def obstacle(releases: Releases, owner: str, old: model.Release, new: model.Release) -> str:
    """Why `new` would not serve next to `old`, '' when it would."""
    try:
        together(releases, owner, old, new)
    except Lost as lost:
        return lost.reason
    return ''


def together(
    releases: Releases, owner: str, old: model.Release, new: model.Release
) -> Pair:
    """`old`, which serves, and `new`, with what the server leases to their hardware address;
    raises Lost when it is not what `old` has, too."""
    _require_same_each_time(new)
    if old.network and new.network and link.side_of(releases, new):
        return Pair(old, new, None)  # still there for its connections: a quick way back
    tap = new.plan.taps[0]
    if [(one.bridge, one.mac) for one in old.plan.taps] != [(tap.bridge, tap.mac)]:
        raise Lost('it has another bridge or hardware address')
    before = ((old.network.ipv4 if old.network else None) or '').partition('/')[0]
    lease = _offered(_client(owner, new, old), before)
    address = lease.address.partition('/')[0]
    if neighbours.ask(tap.bridge, address, ANSWER) != tap.mac:
        raise Lost(f'it does not answer for {address}, which the DHCP server {lease.server} offers')
    overlap = releases.overlap()
    if overlap is not None and overlap.addresses != (address,):
        raise Lost(f'the DHCP server {lease.server} offers another address than before, {address}')
    return Pair(given(old, lease), given(new, lease), lease)


def _require_same_each_time(release: model.Release) -> None:
    if release.plan.target == 'unix':
        raise Lost(CHANGES)


def _client(
    owner: str, release: model.Release, serving: model.Release | None = None
) -> leases.Client:
    tap, taps = release.plan.taps[0], serving.plan.taps if serving else ()
    there = next((one.name for one in taps if network.exists(one.name)), '')
    return leases.Client(owner, tap.bridge, tap.mac, there)


def _offered(client: leases.Client, wanted: str = '') -> dhcp.Lease:
    try:
        return leases.offered(client, wanted)
    except errors.Unavailable as missing:
        raise Lost(missing.reason, missing.hint) from None


def apart(
    owner: str, release: model.Release, serving: model.Release | None
) -> tuple[model.Release, dhcp.Lease]:
    """`release` with what the server would lease to it, for a trial, while `serving` has the same
    hardware address; raises Lost."""
    _require_same_each_time(release)
    lease = _offered(_client(owner, release, serving))
    return given(release, lease), lease


def renew(
    owner: str, old: model.Release, new: model.Release, lease: dhcp.Lease, said: dhcp.Message
) -> None:
    """Have the lease begin anew with `new`, called as it calls itself in what it `said` on the
    stage: what it was told there holds from now on. Raises Lost when the server does not agree."""
    try:
        leases.renew(_client(owner, new, old), lease, said)
    except errors.Unavailable as missing:
        raise Lost(missing.reason, missing.hint) from None


def given(release: model.Release, lease: dhcp.Lease) -> model.Release:
    """`release` with the network that `lease` gives it."""
    static = config.Static(
        bridge=release.plan.taps[0].bridge, mac=release.plan.taps[0].mac, ipv4=lease.address,
        gateway=lease.router or None,
    )
    return msgspec.structs.replace(release, network=static, leased=True)
