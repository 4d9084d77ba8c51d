"""A bridge of our own on which a new release proves itself at its real address, while the old one
serves there on the real bridge: beyond it only a namespace that has the gateway's address."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator

import msgspec

from .. import errors, model
from . import arp, namespace, network, system

RETRY = 20  # ms; Linux asks once a second for a neighbour who still boots at the first question


class Stage:
    """A staging bridge and the namespace beyond it."""

    def __init__(
        self, bridge: str, wire: str, beyond: namespace.Namespace, static: model.Static
    ) -> None:
        self.bridge, self.wire, self.beyond, self.static = bridge, wire, beyond, static

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """Whatever is asked meanwhile is asked from where the gateway is."""
        return self.beyond.entered()

    def introduce(self) -> None:
        """Tell the release who its neighbour is on the real bridge. MirageOS remembers for minutes
        the one that it met here, and its answers would go nowhere after the switch."""
        if self.static.ipv4 and (mac := played(self.static)):
            with self.entered():
                arp.announce(self.wire, _neighbour(self.static.ipv4, self.static.gateway), mac)

    def mac(self, address: str) -> str:
        """The hardware address at `address` here; raises Refused when nobody has it."""
        with self.entered():
            found = arp.ask(self.wire, address)
        if not found:
            raise errors.Refused(
                f'nobody answers ARP for {address}',
                hint='is this the address that the image takes? `ipv4:` in mirage.yml names it',
            )
        return found


@contextlib.contextmanager
def stage(owner: str, static: model.Static) -> Iterator[Stage]:
    """Set the stage of the repository `owner` for a release on the network `static`; it is gone
    afterwards."""
    bridge, wire, peer = names(owner)
    network.remove(wire)
    network.remove(bridge)
    with namespace.made() as beyond:
        try:
            system.run('ip', '-batch', '-', feed=outside(owner, beyond.path))
            with beyond.entered():
                system.run('ip', '-batch', '-', feed=inside(peer, static))
            yield Stage(bridge, peer, beyond, static)
        finally:
            network.remove(wire)
            network.remove(bridge)


def names(owner: str) -> tuple[str, str, str]:
    """The bridge, its port, and the interface in the namespace: 13 characters, one stage for each
    repository (its lock admits one deployment at a time)."""
    return f'mh-{owner[:8]}-s', f'mh-{owner[:8]}-v', f'mh-{owner[:8]}-p'


def outside(owner: str, namespace: str) -> str:
    """For `ip -batch`: the bridge and the wire to `namespace`. This host has no part in it: it
    takes no address there, and does not answer ARP for those that it has elsewhere."""
    bridge, wire, peer = names(owner)
    alias = f'alias "{network.OWNER} {owner}"'
    return ''.join(f'link {line}\n' for line in (
        f'add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0',
        f'set dev {bridge} {alias} arp off addrgenmode none up',
        f'add {wire} type veth peer name {peer} netns {namespace}',
        f'set dev {wire} {alias} addrgenmode none master {bridge} up',
    ))


def played(static: model.Static) -> str:
    """The hardware address of the IPv4 neighbour that the namespace stands for, as it is on the
    real bridge once the release is there; '' when nobody has it there."""
    if not static.ipv4:
        return ''
    bridge, address = static.bridge or '', _neighbour(static.ipv4, static.gateway)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return arp.ask(bridge, address, within=0.3)
    return network.address_with_port(bridge)  # it is this host's own


def inside(interface: str, static: model.Static) -> str:
    """For `ip -batch` in the namespace: the addresses of the gateways, or of some neighbour where
    there is none."""
    lines = [
        f'addr add {_beside(address, _neighbour(address, gateway))} dev {interface} nodad'
        for address, gateway in (
            (static.ipv4, static.gateway), (static.ipv6, static.ipv6_gateway)
        )
        if address
    ]
    lines += [
        f'ntable change name {cache} dev {interface} retrans {RETRY}'
        for cache in ('arp_cache', 'ndisc_cache')
    ]
    return ''.join(f'{line}\n' for line in (*lines, f'link set dev {interface} up'))


def moved(plan: model.Plan, bridge: str) -> model.Plan:
    """`plan` with its interfaces on `bridge`."""
    files = plan.files
    for tap in plan.taps:
        vif = f'bridge={{}},vifname={tap.name}'  # as the target writes it for Xen
        files = {name: text.replace(vif.format(tap.bridge), vif.format(bridge))
                 for name, text in files.items()}
    taps = tuple(msgspec.structs.replace(tap, bridge=bridge) for tap in plan.taps)
    return msgspec.structs.replace(plan, taps=taps, files=files)


def _neighbour(address: str, gateway: str | None) -> str:
    """Who the namespace stands for: the gateway, else some host of the network."""
    if gateway is not None:
        return gateway
    own = ipaddress.ip_interface(address)
    hosts = (host for _, host in zip(range(3), own.network.hosts(), strict=False))
    return next((str(host) for host in hosts if host != own.ip), '169.254.1.1')


def _beside(address: str, neighbour: str) -> str:
    """`neighbour` as `ip addr add` wants it."""
    own = ipaddress.ip_interface(address)
    if ipaddress.ip_address(neighbour) not in own.network:
        # Beside its own network, as some providers have it: a wire between the two.
        return f'{neighbour} peer {own.ip}'
    return f'{neighbour}/{own.network.prefixlen}'
