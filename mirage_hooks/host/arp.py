"""Asks who has an IPv4 address, and tells who has it: frames on a wire of this host."""

from __future__ import annotations

import ipaddress
import socket
import struct
import time

from .. import errors

ETHERTYPE = 0x0806
REQUEST, REPLY = 1, 2
BROADCAST = b'\xff' * 6


def ask(interface: str, address: str, within: float = 1.0) -> str:
    """The hardware address of who has `address` on `interface`, '' when nobody says so in
    `within` seconds."""
    wanted = ipaddress.IPv4Address(address).packed
    limit = time.monotonic() + within
    with _wire(interface) as wire:
        own = wire.getsockname()[4]
        while (left := limit - time.monotonic()) > 0:
            # From 0.0.0.0, a probe (RFC 5227): nobody learns anything from it.
            wire.send(_frame(own, REQUEST, own, bytes(4), bytes(6), wanted))
            if found := _answer(wire, wanted, min(left, 0.1)):
                return found
    return ''


def announce(interface: str, address: str, mac: str) -> None:
    """Tell all on `interface` that `mac` has `address` (gratuitous ARP, request and reply)."""
    whose, where = bytes.fromhex(mac.replace(':', '')), ipaddress.IPv4Address(address).packed
    with _wire(interface) as wire:
        for kind in (REQUEST, REPLY):
            wire.send(_frame(whose, kind, whose, where, bytes(6), where))


def _wire(interface: str) -> socket.socket:
    try:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        wire.bind((interface, ETHERTYPE))
    except OSError as error:
        raise errors.Unavailable(f'cannot speak ARP on {interface}: {error.strerror}') from None
    return wire


def _frame(source: bytes, kind: int, whose: bytes, where: bytes, to: bytes, asked: bytes) -> bytes:
    head = BROADCAST + source + struct.pack('!H', ETHERTYPE)
    return head + struct.pack('!HHBBH', 1, 0x0800, 6, 4, kind) + whose + where + to + asked


def _answer(wire: socket.socket, wanted: bytes, within: float) -> str:
    limit = time.monotonic() + within
    while (left := limit - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            frame = wire.recv(2048)
        except TimeoutError:
            return ''
        if len(frame) >= 42 and frame[20:22] == b'\0\2' and frame[28:32] == wanted:
            return frame[22:28].hex(':')
    return ''


def answers(interface: str, address: str, within: float) -> frozenset[str]:
    """The hardware addresses of all who say, in `within` seconds, that they have `address` on
    `interface`."""
    wanted = ipaddress.IPv4Address(address).packed
    limit = time.monotonic() + within
    found = set()
    with _wire(interface) as wire:
        own = wire.getsockname()[4]
        wire.send(_frame(own, REQUEST, own, bytes(4), bytes(6), wanted))
        while (left := limit - time.monotonic()) > 0:
            found.add(_answer(wire, wanted, left))
    return frozenset(found - {''})
