"""A neighbour that answers nothing by itself: frames by hand, on a port of a guest's bridge."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

from mirage_hooks.host import namespace
from tests.guests.scene import Namespace, run
from tests.patience import PATIENCE

ARP, IPV4 = 0x0806, 0x0800
REQUEST, REPLY = 1, 2
BROADCAST = b'\xff' * 6
GUEST = '10.99.0.2'


def mac(last: int) -> bytes:
    return bytes((2, 0, 0, 0, 1, last))


class Peer:
    """On `namespace`'s bridge; hears what comes to any hardware address there."""

    def __init__(self, where: Namespace) -> None:
        for line in ('link add peer type veth peer name port', 'link set port master br0 up',
                     'link set peer promisc on up'):  # fmt: skip
            run('ip', '-n', where.name, *line.split())
        descriptor = os.open(f'/run/netns/{where.name}', os.O_RDONLY | os.O_CLOEXEC)
        try:
            with namespace.Namespace(descriptor).entered():
                self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                self.wire.bind(('peer', 3))  # 3: every protocol
        finally:
            os.close(descriptor)

    def send(self, to: bytes, source: bytes, protocol: int, payload: bytes) -> None:
        self.wire.send(to + source + struct.pack('!H', protocol) + payload)

    def heard(self, seconds: float) -> Iterator[bytes]:
        """The frames of that time."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            self.wire.settimeout(left)
            try:
                yield self.wire.recv(2048)
            except TimeoutError:
                return

    def wait(self, wanted: Callable[[bytes], bool]) -> bytes:
        """The next such frame."""
        return next(filter(wanted, self.heard(PATIENCE)))


def arp(operation: int, whose: bytes, where: str, asked: str) -> bytes:
    """A packet that says: `whose` has `where`; and that it is about `asked`."""
    head = struct.pack('!HHBBH', 1, IPV4, 6, 4, operation)
    return head + whose + IPv4Address(where).packed + bytes(6) + IPv4Address(asked).packed


def asks_for(address: str) -> Callable[[bytes], bool]:
    """Whether a frame is the guest's question who has `address`."""
    about = IPv4Address(address).packed
    own = IPv4Address(GUEST).packed
    return lambda frame: (
        frame[12:14] == b'\x08\x06' and frame[20:22] == b'\0\1'
        and frame[28:32] == own and frame[38:42] == about
    )  # fmt: skip


def ping(source: str, number: int) -> bytes:
    """An echo request to the guest; its checksums are right, and its identifier is `number`."""
    echo = struct.pack('!BBHHH', 8, 0, checksum(struct.pack('!6H', 0x800, 0, number, 0, 0, 0)[:8]),
                       number, 0)  # fmt: skip
    head = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(echo), 0, 0, 64, 1, 0)
    head += IPv4Address(source).packed + IPv4Address(GUEST).packed
    return head[:10] + struct.pack('!H', checksum(head)) + head[12:] + echo


def pong(number: int) -> Callable[[bytes], bool]:
    """Whether a frame is the answer to that `ping`."""
    return lambda frame: (
        frame[12:14] == b'\x08\0' and frame[23] == 1 and frame[34] == 0
        and frame[38:40] == struct.pack('!H', number)
    )  # fmt: skip


def checksum(packet: bytes) -> int:
    """Of an even number of bytes (RFC 1071)."""
    total = sum(struct.unpack(f'!{len(packet) // 2}H', packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
