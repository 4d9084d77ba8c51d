"""Asks the DHCP server of a bridge what it leases to a hardware address: from a port of our own on
that bridge, for a server on this host itself hears nothing that is sent on the bridge's own
interface. The bridge does not learn the address there: whoever serves at it goes on, and gets what
a server answers to the hardware address itself (as Kea does, broadcast or not). So it is listened
to there, too."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from ..messages import errors
from . import bpf, dhcp, namespace, network, programs

if TYPE_CHECKING:
    import socket

WITHIN = 5.0  # seconds that a server has: it may ping for three before it offers an address
FIRST, LONGEST = 0.1, 1.0  # seconds until it is asked again: what is sent at first may be lost
PARAMETERS = bytes((1, 3, 6, 12, 15, 26, 28, 42, 51, 54, 58, 59, 119, 121))
"""What an image may want to be told; a server tells no more than it is asked for."""
OWN = (dhcp.IDENTITY, dhcp.HOST_NAME, dhcp.CLASS, dhcp.PARAMETERS)
"""By these a server may tell clients with one hardware address apart."""
IP, ALL = 0x0800, 0x0003  # ETH_P_… of linux/if_ether.h; what is sent is seen by ALL only
ATTACH_FILTER = 26  # SO_ATTACH_FILTER


class Client(msgspec.Struct, frozen=True):
    """Who asks for `owner`: the hardware address `mac` on `bridge`, which the interface `there` has
    now ('': nobody)."""

    owner: str
    bridge: str
    mac: str
    there: str = ''

    @property
    def hardware(self) -> bytes:
        return bytes.fromhex(self.mac.replace(':', ''))


def offered(client: Client, wanted: str = '') -> dhcp.Lease:
    """What the server offers to `client`; the address `wanted`, when one of several servers does.
    It has leased nothing by it. Raises Unavailable when nobody offers anything."""
    options = {dhcp.PARAMETERS: PARAMETERS}
    if wanted:
        options[dhcp.WANTED] = packed(wanted)
    other = None
    told = dhcp.asked(dhcp.DISCOVER, client.hardware, os.urandom(4), options)
    for answer in _answers(client, told):
        found = dhcp.lease(answer) if answer.kind == dhcp.OFFER else None
        if found and (not wanted or found.ip == packed(wanted)):
            return found
        other = other or found
    if other:
        return other
    raise errors.Unavailable(f'no DHCP server on {client.bridge} answers for {client.mac}')


def renew(client: Client, lease: dhcp.Lease, said: dhcp.Message) -> None:
    """Have the server lease the address of `lease` again, from now on, to `client`, which `said`
    how it is called. Raises Unavailable when it does not."""
    own = {one: said.options[one] for one in OWN if one in said.options}
    options = {dhcp.WANTED: lease.ip, **own}
    told = dhcp.asked(dhcp.REQUEST, client.hardware, os.urandom(4), options)
    address = lease.address.partition('/')[0]
    for answer in _answers(client, told):
        if answer.options.get(dhcp.WHO) != packed(lease.server):
            continue  # of several servers each says no for what is another's
        if answer.kind == dhcp.NAK:
            raise errors.Unavailable(f'the DHCP server {lease.server} takes {address} back')
        found = dhcp.lease(answer) if answer.kind == dhcp.ACK else None
        if found and found.ip == lease.ip:
            return
    raise errors.Unavailable(f'the DHCP server {lease.server} does not lease {address} again')


def _answers(client: Client, asking: bytes) -> Iterator[dhcp.Message]:
    """What servers answer to `asking`, for WITHIN seconds."""
    ports = dhcp.CLIENT, dhcp.SERVER
    frame = dhcp.framed(client.hardware, dhcp.BROADCAST, dhcp.ANYWHERE, ports, asking)
    network.require(client.bridge)
    with contextlib.ExitStack() as kept:
        link = kept.enter_context(_port(client.owner, client.bridge))
        links = [link]
        if client.there:
            links.append(kept.enter_context(opened(client.there, dhcp.CLIENT, ALL)))
        limit, pause = time.monotonic() + WITHIN, FIRST
        while time.monotonic() < limit:
            send(link, frame)
            for answer in heard(links, min(pause, limit - time.monotonic()), dhcp.CLIENT):
                ours = (answer.transaction, answer.hardware) == (asking[4:8], client.hardware)
                if ours and answer.source != client.hardware:
                    yield answer
            pause = min(pause * 2, LONGEST)


def heard(links: list[socket.socket], within: float, port: int) -> Iterator[dhcp.Message]:
    """The messages to `port` that come by one of `links` in so many seconds."""
    limit = time.monotonic() + within
    while (left := limit - time.monotonic()) > 0:
        for link in select.select(links, (), (), left)[0]:
            try:
                found = dhcp.received(link.recv(2048), port)
            except OSError as error:
                raise _mute(error) from None
            if found:
                yield found


@contextlib.contextmanager
def opened(interface: str, port: int, kind: int = IP) -> Iterator[socket.socket]:
    """What comes to the UDP `port` at `interface` (with ALL: also what goes out there), and what is
    sent there. The kernel drops the rest: a busy one's would leave no room for it."""
    import socket

    try:
        # Of no protocol until it is bound: it would hear every interface, and take 15 ms to bind.
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    except OSError as error:
        raise _mute(error) from None
    with link:
        try:
            bpf.attach(link, ATTACH_FILTER, _to(port))
            link.bind((interface, kind))
        except OSError as error:
            raise _mute(error) from None
        yield link


def _to(port: int) -> bytes:
    """What comes by IPv4 and UDP to `port`."""
    return bpf.program((
        (bpf.HALF, 0, 0, 12), (bpf.EQUAL, 0, 6, IP), (bpf.BYTE, 0, 0, 23), (bpf.EQUAL, 0, 4, 17),
        (bpf.HEAD, 0, 0, 14), (bpf.BEHIND, 0, 0, 14 + 2), (bpf.EQUAL, 0, 1, port),
        (bpf.RETURN, 0, 0, 0xFFFF), (bpf.RETURN, 0, 0, 0),
    ))


def send(link: socket.socket, frame: bytes) -> None:
    try:
        link.send(frame)
    except OSError as error:
        raise _mute(error) from None


def _mute(error: OSError) -> errors.Unavailable:
    return errors.Unavailable(f'cannot speak DHCP: {error.strerror}')


@contextlib.contextmanager
def _port(owner: str, bridge: str) -> Iterator[socket.socket]:
    """A port of ours on `bridge`, gone afterwards."""
    port, inner = names(owner)
    with namespace.made() as beyond:
        try:
            network.remove(port)
            programs.run('ip', '-batch', '-', feed=outside(owner, bridge, beyond.path))
            with contextlib.ExitStack() as kept:
                with beyond.entered():
                    programs.run('ip', 'link', 'set', 'dev', inner, 'addrgenmode', 'none', 'up')
                    link = kept.enter_context(opened(inner, dhcp.CLIENT))
                network.join(port, bridge)
                yield link
        finally:
            network.remove(port)


def names(owner: str) -> tuple[str, str]:
    """The port on the bridge, and its other end."""
    return f'mh-{owner[:8]}-d', f'mh-{owner[:8]}-e'


def outside(owner: str, bridge: str, namespace: str) -> str:
    """For `ip -batch`: a port of `bridge` with its other end in `namespace`. As a tap of ours it
    never changes the address of the bridge."""
    port, inner = names(owner)
    return (
        f'link add {port} type veth peer name {inner} netns {namespace}\n'
        f'link set dev {port} alias "{network.OWNER} {owner}" address {network.HIGHEST} '
        f'addrgenmode none master {bridge}\n'
        f'link set dev {port} type bridge_slave learning off\n'
        f'link set dev {port} up\n'
    )


def packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split('.'))
