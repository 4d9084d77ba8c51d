"""A neighbour that answers nothing by itself: frames by hand, on a port of a guest's bridge."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

from mirage_hooks.host import namespace
from tests.guests.scene import Namespace, run
from tests.patience import PATIENCE, until

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
REQUEST, REPLY = 1, 2
SOLICITED, OVERRIDE = 0x40, 0x20
BROADCAST = b'\xff' * 6
GUEST, GUEST6, OTHER, OTHER6 = '10.99.0.2', 'fd77::2', '10.99.0.9', 'fd77::9'
OWN = bytes((2, 0, 0, 0, 0, 0xAA))
Boot = Callable[..., 'Peer']
Wanted = Callable[[bytes], bool]


def mac(last: int) -> bytes:
    return bytes((2, 0, 0, 0, 1, last))


class Peer:
    """On `where`'s bridge; hears what comes to any hardware address there."""

    def __init__(self, where: Namespace) -> None:
        for line in ('link add peer type veth peer name port', 'link set port master br0 up',
                     'link set peer promisc on addrgenmode none up'):  # fmt: skip
            run('ip', '-n', where.name, *line.split())
        descriptor = os.open(f'/run/netns/{where.name}', os.O_RDONLY | os.O_CLOEXEC)
        try:
            with namespace.Namespace(descriptor).entered():
                self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                self.wire.bind(('peer', 3))  # 3: every protocol
        finally:
            os.close(descriptor)
        # Before the kernel has told both that they have a carrier, it drops what is sent.
        until(lambda: all(passes(where, name) for name in ('peer', 'port')))

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

    def wait(self, wanted: Wanted) -> bytes:
        """The next such frame."""
        return next(filter(wanted, self.heard(PATIENCE)))

    def answered(self, number: int) -> int:
        """The last byte of where the guest sends its answer to that ping."""
        return self.wait(pong(number))[5]


def passes(where: Namespace, name: str) -> bool:
    """Whether frames go in and out at that interface."""
    shown = run('ip', '-n', where.name, '-d', 'link', 'show', name)
    return 'state UP' in shown and ('bridge_slave' not in shown or 'state forwarding' in shown)


def arp(operation: int, whose: bytes, where: str, asked: str) -> bytes:
    """A packet that says: `whose` has `where`; and that it is about `asked`."""
    head = struct.pack('!HHBBH', 1, IPV4, 6, 4, operation)
    return head + whose + IPv4Address(where).packed + bytes(6) + IPv4Address(asked).packed


def asks_for(address: str) -> Wanted:
    """Whether a frame is the guest's question who has `address`."""
    about, own = IPv4Address(address).packed, IPv4Address(GUEST).packed
    return lambda frame: (
        frame[12:14] == b'\x08\x06' and frame[20:22] == b'\0\1'
        and frame[28:32] == own and frame[38:42] == about
    )  # fmt: skip


def ping(source: str, number: int) -> bytes:
    """An echo request to the guest, with `number` as its identifier."""
    echo = _summed(struct.pack('!BBHHH', 8, 0, 0, number, 0), 2)
    head = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(echo), 0, 0, 64, 1, 0)
    return _summed(head + IPv4Address(source).packed + IPv4Address(GUEST).packed, 10) + echo


def ping6(source: str, number: int) -> bytes:
    return icmp6(source, GUEST6, struct.pack('!BBHHH', 128, 0, 0, number, 0))


def pong(number: int) -> Wanted:
    """Whether a frame is the answer to that ping, of either family."""
    wanted = struct.pack('!H', number)
    return lambda frame: (
        (frame[12:14] == b'\x08\0' and frame[23] == 1 and frame[34] == 0 and frame[38:40] == wanted)
        or (frame[12:14] == b'\x86\xdd' and frame[20] == 58 and frame[54] == 129
            and frame[58:60] == wanted)
    )  # fmt: skip


def solicitation(whose: bytes, source: str, about: str) -> bytes:
    """`source`, which `whose` has, asks who has `about`."""
    body = struct.pack('!BBHI', 135, 0, 0, 0) + IPv6Address(about).packed + b'\1\1' + whose
    return icmp6(source, about, body)


def advertisement(whose: bytes, about: str, flags: int, to: str = GUEST6) -> bytes:
    """`whose` has `about`."""
    body = struct.pack('!BBHI', 136, 0, 0, flags << 24) + IPv6Address(about).packed
    return icmp6(about, to, body + b'\2\1' + whose)


def solicits(address: str, to: bytes = b'') -> Wanted:
    """Whether a frame is the guest's question who has `address`, to that hardware address."""
    about, nobody = IPv6Address(address).packed, bytes(16)
    return lambda frame: (
        frame[12:14] == b'\x86\xdd' and frame[54:55] == b'\x87' and frame[62:78] == about
        and frame[22:38] != nobody and frame.startswith(to)
    )  # fmt: skip


def icmp6(source: str, to: str, body: bytes) -> bytes:
    """With its header and checksum."""
    ends = IPv6Address(source).packed + IPv6Address(to).packed
    covered = _summed(ends + struct.pack('!II', len(body), 58) + body, 42)
    return struct.pack('!IHBB', 6 << 28, len(body), 58, 255) + ends + covered[40:]


def _summed(packet: bytes, at: int) -> bytes:
    """With its checksum (RFC 1071) where there are two zeros; of an even number of bytes."""
    total = sum(struct.unpack(f'!{len(packet) // 2}H', packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:at] + struct.pack('!H', ~total & 0xFFFF) + packet[at + 2 :]
