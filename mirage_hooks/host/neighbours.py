"""Asks who has an address, and tells who has it: ARP for IPv4, neighbour discovery (RFC 4861) for
IPv6; frames on a link of this host."""

from __future__ import annotations

import contextlib
import ipaddress
import select
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..messages import errors

if TYPE_CHECKING:
    import socket

ARP, IPV6 = 0x0806, 0x86DD  # Ethernet's types
REQUEST, REPLY = 1, 2
BROADCAST = b'\xff' * 6
ICMPV6, HOPS = 58, 255  # what came over a router has fewer hops left
SOLICITATION, ADVERTISEMENT = 135, 136
OVERRIDE = 0x20000000  # an advertisement's flag: what you know is out of date
SOURCE_ADDRESS, TARGET_ADDRESS = b'\1\1', b'\2\1'  # options: type, and length in 8 bytes
ALL_NODES = ipaddress.IPv6Address('ff02::1').packed
MOST = 4  # answers for one address that are kept, however many there are
AGAIN = 0.1  # seconds after which it is asked again


def ask(interface: str, address: str, within: float = 1.0) -> str:
    """The hardware address of who has `address` on `interface`, '' when nobody says so in
    `within` seconds. Whoever is asked learns nothing from it."""
    found = answers(interface, (address,), within, first=True)[address]
    return next(iter(found), '')


def answers(
    interface: str, addresses: tuple[str, ...], within: float, first: bool = False
) -> dict[str, frozenset[str]]:
    """The hardware addresses of all who say, in `within` seconds, that they have one of
    `addresses` on `interface`; with `first` it ends when somebody has."""
    limit = time.monotonic() + within
    wanted = {ipaddress.ip_address(one).packed: one for one in addresses}
    found: dict[str, frozenset[str]] = dict.fromkeys(addresses, frozenset())
    with contextlib.ExitStack() as kept:
        links = [
            kept.enter_context(_link(interface, kind)) for kind, size in ((ARP, 4), (IPV6, 16))
            if any(len(one) == size for one in wanted)
        ]
        while (left := limit - time.monotonic()) > 0:
            _send(links, wanted)
            for address, mac in _heard(links, min(left, AGAIN)):
                if address in wanted and len(found[wanted[address]]) < MOST:
                    found[wanted[address]] |= {mac.hex(':')}
                    if first:
                        return found
    return found


def _send(links: list[socket.socket], wanted: Iterable[bytes]) -> None:
    for link in links:
        own, kind = link.getsockname()[4], link.getsockname()[1]
        for one in wanted:
            if (len(one) == 4) == (kind == ARP):
                link.send(_request(own, one) if kind == ARP else _solicitation(own, one))


def announce(interface: str, address: str, mac: str) -> None:
    """Tell all on `interface` that `mac` has `address`: gratuitous ARP (request and reply), or an
    advertisement that nobody asked for."""
    whose, where = bytes.fromhex(mac.replace(':', '')), ipaddress.ip_address(address)
    if where.version == 4:
        frames = [_arp(whose, kind, whose, where.packed, where.packed) for kind in (REQUEST, REPLY)]
    else:
        told = struct.pack('!I', OVERRIDE) + where.packed + TARGET_ADDRESS + whose
        frames = [_icmpv6(whose, where.packed, ALL_NODES, ADVERTISEMENT, told)]
    with _link(interface, ARP if where.version == 4 else IPV6) as link:
        for frame in frames:
            link.send(frame)


def introduce(interface: str, address: str, mac: str, to: str) -> None:
    """Tell the one who has the address `to` on `interface` that `mac` has `address`. MirageOS takes
    no advertisement that it has not asked for, but learns from who asks it."""
    announce(interface, address, mac)
    whose, where = bytes.fromhex(mac.replace(':', '')), ipaddress.ip_address(address)
    if where.version == 6:
        with _link(interface, IPV6) as link:
            asked = ipaddress.ip_address(to).packed
            link.send(_solicitation(whose, asked, where.packed, SOURCE_ADDRESS + whose))


@contextlib.contextmanager
def _link(interface: str, kind: int) -> Iterator[socket.socket]:
    import socket

    try:
        # Of no protocol until it is bound: it would hear every interface, and take 15 ms to bind.
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        try:
            link.bind((interface, kind))
            yield link  # what is sent while the interface is down fails, too
        finally:
            # The kernel waits 15 ms until none of its own looks at it any more (RCU).
            threading.Thread(target=link.close).start()
    except OSError as error:
        raise errors.Unavailable(
            f'cannot speak to the neighbours on {interface}: {error.strerror}'
        ) from None


def _heard(links: list[socket.socket], within: float) -> Iterator[tuple[bytes, bytes]]:
    """Each address that is answered for within so many seconds, with the hardware address."""
    limit = time.monotonic() + within
    while (left := limit - time.monotonic()) > 0:
        for link in select.select(links, (), (), left)[0]:
            frame = link.recv(2048)
            for address, mac in _reply(frame) or _advertisement(frame):
                if any(mac) and not mac[0] & 1:  # no host has all zeros, or a group's address
                    yield address, mac


def _request(own: bytes, wanted: bytes) -> bytes:
    # From 0.0.0.0, a probe (RFC 5227).
    return _arp(own, REQUEST, own, bytes(4), wanted)


def _arp(source: bytes, kind: int, whose: bytes, where: bytes, asked: bytes) -> bytes:
    head = BROADCAST + source + struct.pack('!HHHBBH', ARP, 1, 0x0800, 6, 4, kind)
    return head + whose + where + bytes(6) + asked


def _reply(frame: bytes) -> list[tuple[bytes, bytes]]:
    """The address and the hardware address that an ARP reply tells."""
    arp = len(frame) >= 42 and frame[12:14] == struct.pack('!H', ARP) and frame[20:22] == b'\0\2'
    return [(frame[28:32], frame[22:28])] if arp else []


def _solicitation(
    own: bytes, wanted: bytes, where: bytes = bytes(16), option: bytes = b''
) -> bytes:
    # From the unspecified address the answer goes to all, and nobody keeps who asked.
    group = b'\xff\2' + bytes(9) + b'\1\xff' + wanted[-3:]
    return _icmpv6(own, where, group, SOLICITATION, bytes(4) + wanted + option)


def _icmpv6(source: bytes, where: bytes, to: bytes, kind: int, body: bytes) -> bytes:
    message = struct.pack('!BBH', kind, 0, 0) + body
    pseudo = where + to + struct.pack('!II', len(message), ICMPV6)
    message = message[:2] + struct.pack('!H', _checksum(pseudo + message)) + message[4:]
    head = b'\x33\x33' + to[-4:] + source + struct.pack('!H', IPV6)
    return head + struct.pack('!IHBB', 6 << 28, len(message), ICMPV6, HOPS) + where + to + message


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f'!{len(data) // 2}H', data))  # always even here
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _advertisement(frame: bytes) -> list[tuple[bytes, bytes]]:
    """The address and the hardware address that a neighbour's advertisement tells."""
    ip, message = frame[14:54], frame[54:]
    told = len(message) >= 24 and (ip[6], ip[7], message[0]) == (ICMPV6, HOPS, ADVERTISEMENT)
    if not told:
        return []
    option = message[24:26] == TARGET_ADDRESS and len(message) >= 32
    return [(message[8:24], message[26:32] if option else frame[6:12])]
