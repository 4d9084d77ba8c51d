"""Asks who has an address, and tells who has it: ARP for IPv4, neighbour discovery (RFC 4861) for
IPv6; frames on a link of this host."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import time
from collections.abc import Callable, Iterator

from .. import errors

ARP, IPV6 = 0x0806, 0x86DD  # Ethernet's types
REQUEST, REPLY = 1, 2
BROADCAST = b'\xff' * 6
ICMPV6, HOPS = 58, 255  # what came over a router has fewer hops left
SOLICITATION, ADVERTISEMENT = 135, 136
OVERRIDE = 0x20000000  # an advertisement's flag: what you know is out of date
TARGET_ADDRESS = b'\2\1'  # an option: type, and length in 8 bytes
ALL_NODES = ipaddress.IPv6Address('ff02::1').packed
AGAIN = 0.1  # seconds after which it is asked again


def ask(interface: str, address: str, within: float = 1.0) -> str:
    """The hardware address of who has `address` on `interface`, '' when nobody says so in
    `within` seconds. Whoever is asked learns nothing from it."""
    limit = time.monotonic() + within
    wanted = ipaddress.ip_address(address)
    kind, asked, answered = (
        (ARP, _request, _reply) if wanted.version == 4 else (IPV6, _solicitation, _advertisement)
    )
    with _link(interface, kind) as link:
        frame = asked(link.getsockname()[4], wanted.packed)
        while (left := limit - time.monotonic()) > 0:
            link.send(frame)
            if found := _heard(link, lambda got: answered(got, wanted.packed), min(left, AGAIN)):
                return found.hex(':')
    return ''


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


@contextlib.contextmanager
def _link(interface: str, kind: int) -> Iterator[socket.socket]:
    try:
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
        link.bind((interface, kind))
    except OSError as error:
        raise errors.Unavailable(
            f'cannot speak to the neighbours on {interface}: {error.strerror}'
        ) from None
    with link:
        yield link


def _heard(link: socket.socket, found: Callable[[bytes], bytes], within: float) -> bytes:
    """What `found` finds in a frame that comes within so many seconds; nothing else."""
    limit = time.monotonic() + within
    while (left := limit - time.monotonic()) > 0:
        link.settimeout(left)
        try:
            frame = link.recv(2048)
        except TimeoutError:
            break
        if answer := found(frame):
            return answer
    return b''


def _request(own: bytes, wanted: bytes) -> bytes:
    # From 0.0.0.0, a probe (RFC 5227).
    return _arp(own, REQUEST, own, bytes(4), wanted)


def _arp(source: bytes, kind: int, whose: bytes, where: bytes, asked: bytes) -> bytes:
    head = BROADCAST + source + struct.pack('!HHHBBH', ARP, 1, 0x0800, 6, 4, kind)
    return head + whose + where + bytes(6) + asked


def _reply(frame: bytes, wanted: bytes) -> bytes:
    mine = len(frame) >= 42 and frame[20:22] == b'\0\2' and frame[28:32] == wanted
    return frame[22:28] if mine else b''


def _solicitation(own: bytes, wanted: bytes) -> bytes:
    # From the unspecified address: the answer goes to all, and nobody keeps who asked.
    group = b'\xff\2' + bytes(9) + b'\1\xff' + wanted[-3:]
    return _icmpv6(own, bytes(16), group, SOLICITATION, bytes(4) + wanted)


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


def _advertisement(frame: bytes, wanted: bytes) -> bytes:
    ip, message = frame[14:54], frame[54:]
    mine = (
        len(message) >= 24 and ip[6] == ICMPV6 and ip[7] == HOPS
        and message[0] == ADVERTISEMENT and message[8:24] == wanted
    )
    if not mine:
        return b''
    told = message[24:26] == TARGET_ADDRESS and len(message) >= 32
    return message[26:32] if told else frame[6:12]
