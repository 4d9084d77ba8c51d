"""A bridge of our own on which a new release proves itself at its real address, while the old one
serves there on the real bridge: beyond it only a namespace that plays the neighbours which it will
have on the real one, with their own hardware addresses. MirageOS remembers for minutes whom it
met."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec

from .. import config
from ..messages import errors
from ..state import model
from . import interruption, namespace, neighbours, network, programs

RETRY = 20  # ms; Linux asks once a second for a neighbour who still boots at the first question
UP = 3.0  # seconds; MirageOS answers nothing for one after its start, for IPv6's sake
ASKED, AGAIN = 0.5, 2.0  # seconds that a neighbour on the real bridge has to say who it is


class Neighbour(msgspec.Struct, frozen=True):
    """Who the namespace plays for the unikernel's address `own` (with its prefix length): the
    gateway at `address`, or a host of the network where there is none. `mac` is the hardware
    address that it has on the real bridge, '' when nobody there says so; `ours` when it is this
    host itself, `late` when it came after the release had met another in its place."""

    own: str
    address: str
    gateway: bool
    mac: str = ''
    ours: bool = False
    late: bool = False


class Stage:
    """A staging bridge, its `port`, the `wire` in the namespace beyond it with the neighbours that
    are `played` there, and the `real` bridge that they are on. `faces` are the interfaces in the
    namespace, by the addresses of the neighbours."""

    def __init__(
        self, bridge: str, port: str, wire: str, beyond: namespace.Namespace, real: str,
        played: tuple[Neighbour, ...], faces: dict[str, str],
    ) -> None:
        self.bridge, self.port, self.wire, self.beyond = bridge, port, wire, beyond
        self.real, self.played, self.faces = real, played, faces

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """Whatever is asked meanwhile is asked from where the gateway is."""
        return self.beyond.entered()

    def admit(self) -> None:
        """Once the release's own interface is on the bridge: let it reach whoever has the same
        hardware address as that has here, as a bridge of taps alone does."""
        for one in self.played:
            if one.mac == network.HIGHEST:
                network.pin(one.mac, self.port)

    def introduced(self) -> tuple[Neighbour, ...]:
        """Whom the release has met: who was not on the real bridge before is asked again there, and
        made known to it (MirageOS may go on with the one that it knows)."""
        return tuple(one if one.mac or not one.gateway else self._again(one) for one in self.played)

    def _again(self, one: Neighbour) -> Neighbour:
        mac = neighbours.ask(self.real, one.address, AGAIN)
        if mac:
            with self.entered():
                neighbours.introduce(self.wire, one.address, mac, one.own.partition('/')[0])
        return msgspec.structs.replace(one, mac=mac, late=bool(mac))

    def mac(self, address: str) -> str:
        """The hardware address at `address` here; raises Refused when nobody has it."""
        with self.entered():
            found = neighbours.ask(self.wire, address, UP)
        if not found:
            how = 'neighbour discovery' if ':' in address else 'ARP'
            raise errors.Refused(
                f'nobody answers {how} for {address}',
                hint='is this the address that the image takes? `ipv4:` and `ipv6:` in mirage.yml '
                'name it',
            )
        return found


@contextlib.contextmanager
def stage(
    owner: str, static: config.Static, others: tuple[Neighbour, ...] = ()
) -> Iterator[Stage]:
    """Set the stage of the repository `owner` for a release on the network `static`, with `others`
    that it will meet there; it is gone afterwards."""
    bridge, *wires = names(owner)
    played = met(static)
    played += tuple(one for one in others if one.address not in [two.address for two in played])
    outer = [bridge, *wires[::2]]
    with namespace.made() as beyond:
        try:
            for name in reversed(outer):
                network.remove(name)
            programs.run('ip', '-batch', '-', feed=outside(owner, beyond.path, played))
            with beyond.entered():
                # Each neighbour answers on its own interface alone.
                Path('/proc/sys/net/ipv4/conf/all/arp_ignore').write_text('1')
                programs.run('ip', '-batch', '-', feed=inside(owner, played))
            faces = {one.address: face for (_, face), one in
                     zip(_wires(owner, played), played, strict=True)}
            yield Stage(bridge, wires[0], wires[1], beyond, static.bridge or '', played, faces)
        finally:
            with interruption.held():
                for name in reversed(outer):
                    network.remove(name)


def names(owner: str) -> tuple[str, ...]:
    """The bridge, and two wires: its port, and the interface in the namespace. 13 characters; one
    stage for each repository (its lock admits one deployment at a time)."""
    return tuple(f'mh-{owner[:8]}-{one}' for one in 'svpwq')


def outside(owner: str, namespace: str, played: tuple[Neighbour, ...]) -> str:
    """For `ip -batch`: the bridge and the wires to `namespace`. This host has no part in it: it
    takes no address there, and does not answer ARP for those that it has elsewhere."""
    bridge = names(owner)[0]
    alias = f'alias "{network.OWNER} {owner}"'
    lines = [
        f'add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0',
        f'set dev {bridge} {alias} arp off addrgenmode none up',
    ]
    for wire, peer in dict.fromkeys(_wires(owner, played)):
        lines += [
            f'add {wire} type veth peer name {peer} netns {namespace}',
            f'set dev {wire} {alias} addrgenmode none master {bridge} up',
        ]
    return ''.join(f'link {line}\n' for line in lines)


def inside(owner: str, played: tuple[Neighbour, ...]) -> str:
    """For `ip -batch` in the namespace: each neighbour with its address and hardware address."""
    lines = ['link set dev lo up']  # over which the kernel says that a host cannot be reached
    for (_, peer), one in zip(_wires(owner, played), played, strict=True):
        if one.mac:
            lines.append(f'link set dev {peer} address {one.mac}')
        lines.append(f'addr add {_next_to(one.own, one.address)} dev {peer} nodad')
        cache = 'ndisc_cache' if ':' in one.address else 'arp_cache'
        lines.append(f'ntable change name {cache} dev {peer} retrans {RETRY}')
    lines += [f'link set dev {peer} up' for _, peer in dict.fromkeys(_wires(owner, played))]
    return ''.join(f'{line}\n' for line in lines)


def _wires(owner: str, played: tuple[Neighbour, ...]) -> list[tuple[str, str]]:
    """The wire to each neighbour: one for two that have the same hardware address."""
    _, first, first_peer, second, second_peer = names(owner)
    return [(first, first_peer) if one.mac == played[0].mac else (second, second_peer)
            for one in played]


def met(static: config.Static) -> tuple[Neighbour, ...]:
    """The neighbours that a release on the network `static` will have on its bridge, asked there;
    one for each of its addresses."""
    given = ((static.ipv4, static.gateway), (static.ipv6, static.ipv6_gateway))
    return tuple(
        _met(static.bridge or '', own, gateway) for own, gateway in given if own is not None
    )


def _met(bridge: str, own: str, gateway: str | None) -> Neighbour:
    here = _addresses(bridge)
    address = str(ipaddress.ip_address(gateway)) if gateway else _host(own, here)
    if address in here:
        # As it is once the release is there.
        mac, ours = network.address_with_port(bridge), True
    else:
        mac, ours = neighbours.ask(bridge, address, ASKED), False
    return Neighbour(own, address, gateway is not None, mac, ours)


def _addresses(bridge: str) -> list[str]:
    """The addresses that this host has on `bridge`, none where that is not there."""
    if not network.exists(bridge):
        return []
    said = programs.run('ip', '-j', 'addr', 'show', 'dev', bridge)  # psutil takes 8 ms to load
    # Older ones list an empty object for each other interface.
    return [str(ipaddress.ip_address(found['local']))
            for one in json.loads(said) for found in one.get('addr_info', ())]


def _host(own: str, here: list[str]) -> str:
    """A host of the network of `own`: this one, where it is `here` in it."""
    mine = ipaddress.ip_interface(own)
    inside = [one for one in here if ipaddress.ip_address(one) in mine.network]
    others = (str(host) for _, host in zip(range(3), mine.network.hosts(), strict=False)
              if host != mine.ip)
    alone = '169.254.1.1' if mine.version == 4 else 'fe80::1'
    return next(iter((*inside, *others, alone)))


def moved(plan: model.Plan, bridge: str) -> model.Plan:
    """`plan` with its interfaces on `bridge`."""
    files = plan.files
    for tap in plan.taps:
        vif = f'bridge={{}},vifname={tap.name}'  # as the target writes it for Xen
        files = {name: text.replace(vif.format(tap.bridge), vif.format(bridge))
                 for name, text in files.items()}
    taps = tuple(msgspec.structs.replace(tap, bridge=bridge) for tap in plan.taps)
    return msgspec.structs.replace(plan, taps=taps, files=files)


def _next_to(own: str, neighbour: str) -> str:
    """`neighbour` as `ip addr add` wants it."""
    mine = ipaddress.ip_interface(own)
    if ipaddress.ip_address(neighbour) not in mine.network:
        # Outside its own network, as some providers have it: a link between the two.
        return f'{neighbour} peer {mine.ip}'
    return f'{neighbour}/{mine.network.prefixlen}'
