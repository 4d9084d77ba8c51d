"""DHCP's messages (RFC 2131) and the frames that bring them, as far as a lease is learned from them
and replayed. What a server or an image sends is hostile: whatever is not as it must be is None."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

import msgspec

DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6
SERVER, CLIENT = 67, 68  # ports
MASK, ROUTER, HOST_NAME, WANTED, SECONDS, KIND, WHO, PARAMETERS, CLASS, IDENTITY, END = (
    1, 3, 12, 50, 51, 53, 54, 55, 60, 61, 255)
"""Options, by their numbers in RFC 2132."""
COOKIE, OPTIONS = b'\x63\x82\x53\x63', 240  # what stands before the options, and where they begin
LEAST, MOST = 300, 1472  # bytes of a message: as BOOTP had it, and what one Ethernet frame brings
BROADCAST = b'\xff' * 6
ANYWHERE = bytes(4), b'\xff' * 4
"""From whom to whom a client without an address speaks."""


class Message(msgspec.Struct, frozen=True):
    """What was sent from the hardware address `source`: its bytes, and its options by number."""

    source: bytes
    whole: bytes
    options: dict[int, bytes]

    @property
    def kind(self) -> int:
        return int.from_bytes(self.options[KIND], 'big')

    @property
    def transaction(self) -> bytes:
        return self.whole[4:8]

    @property
    def hardware(self) -> bytes:
        """The client's hardware address, whoever sends."""
        return self.whole[28:34]

    @property
    def own(self) -> bytes:
        """The address that the client has already, zeros when it has none."""
        return self.whole[12:16]

    @property
    def broadcast(self) -> bool:
        """Whether the client can be answered by a broadcast only."""
        return bool(self.whole[10] & 0x80)


class Lease(msgspec.Struct, frozen=True):
    """What a server offers: `address` with its prefix length, `router` ('' for none). `told` is the
    message in which it did, `mac` from which hardware address it came."""

    address: str
    router: str
    server: str
    mac: str
    told: bytes

    @property
    def ip(self) -> bytes:
        return ipaddress.ip_interface(self.address).ip.packed


def received(frame: bytes, port: int) -> Message | None:
    """The message to `port` in an Ethernet frame; checksums are left to whoever has hardware."""
    ip = frame[14:]
    if len(ip) < 28 or frame[12:14] != b'\x08\x00' or ip[0] >> 4 != 4:
        return None
    head, whole = (ip[0] & 15) * 4, int.from_bytes(ip[2:4], 'big')
    pieces = int.from_bytes(ip[6:8], 'big') & 0x3FFF
    if not 20 <= head <= whole - 8 or whole > len(ip) or pieces or ip[9] != 17:
        return None
    _, to, length, _ = struct.unpack('!4H', ip[head : head + 8])
    if to != port or not 8 <= length <= whole - head:
        return None
    return message(frame[6:12], ip[head + 8 : head + length], 1 if port == SERVER else 2)


def message(source: bytes, whole: bytes, direction: int) -> Message | None:
    """`whole` as a message of a client (`direction` 1) or a server (2)."""
    if not OPTIONS < len(whole) <= MOST or whole[:3] != bytes((direction, 1, 6)):
        return None
    try:
        options = dict(_options(whole))
    except ValueError:
        return None
    if whole[236:240] != COOKIE or len(options.get(KIND, b'')) != 1:
        return None
    return Message(source, whole, options)


def _options(whole: bytes) -> Iterator[tuple[int, bytes]]:
    """Each once: nothing that we look at may be told in two ways."""
    at, seen = OPTIONS, set()
    while whole[at:] and whole[at] != END:
        if whole[at] == 0:
            at += 1
            continue
        value = whole[at + 2 : at + 2 + whole[at + 1]] if at + 1 < len(whole) else b''
        if at + 1 >= len(whole) or len(value) != whole[at + 1] or whole[at] in seen:
            raise ValueError(f'option {whole[at]}')
        seen.add(whole[at])
        yield whole[at], value
        at += 2 + len(value)
    if not whole[at:]:
        raise ValueError('no end')


def lease(told: Message) -> Lease | None:
    """The lease of an OFFER or an ACK, when it is one that a host can take."""
    mask, routers, who, seconds = (told.options.get(one, b'') for one in (
        MASK, ROUTER, WHO, SECONDS))
    if [len(mask), len(who), len(seconds), len(routers) % 4] != [4, 4, 4, 0]:
        return None
    try:
        own = ipaddress.IPv4Interface(f'{_ip(told.whole[16:20])}/{_ip(mask)}')
    except ValueError:
        return None
    network, server, router = own.network, _ip(who), _ip(routers[:4]) if routers else None
    hosts = [one for one in (own.ip, server, router) if one is not None]
    bits = network.prefixlen
    # A mask that has holes, or is one of those turned round, is read as another one.
    told_so = network.netmask.packed == mask
    if not told_so or not 0 < bits < 32 or any(not _unicast(one) for one in hosts):
        return None
    edge = bits < 31 and own.ip in (network.network_address, network.broadcast_address)
    if edge or own.ip in (server, router) or told.source[0] & 1 or not any(told.source):
        return None
    return Lease(str(own), str(router or ''), str(server), told.source.hex(':'), told.whole)


def _ip(packed: bytes) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(packed)


def _unicast(address: ipaddress.IPv4Address) -> bool:
    return not (address.is_multicast or address.is_loopback or address.is_reserved
                or address.is_unspecified)


def asked(kind: int, mac: bytes, transaction: bytes, options: dict[int, bytes]) -> bytes:
    """A client's message, which wants its answer to be a broadcast."""
    head = struct.pack('!4B4sHH', 1, 1, 6, 0, transaction, 0, 0x8000)
    told = {KIND: bytes((kind,)), **options}
    body = b''.join(bytes((one, len(value))) + value for one, value in told.items())
    whole = head + bytes(16) + mac.ljust(16, b'\0') + bytes(192) + COOKIE + body + bytes((END,))
    return whole.ljust(LEAST, b'\0')


def replayed(told: Lease, to: Message, kind: int) -> bytes:
    """What the server of `told` would answer `to`: the same message of another `kind`."""
    whole, at = bytearray(told.told), OPTIONS
    whole[4:8], whole[8:10], whole[10:12] = to.transaction, b'\0\0', to.whole[10:12]
    whole[12:16] = to.own if kind == ACK else bytes(4)
    while whole[at] != KIND:
        at += 1 if whole[at] == 0 else 2 + whole[at + 1]
    whole[at + 2] = kind
    return bytes(whole)


def framed(
    source: bytes, to: bytes, addresses: tuple[bytes, bytes], ports: tuple[int, int], body: bytes
) -> bytes:
    """An Ethernet frame that brings `body` from one of the two `addresses` and `ports` to the
    other."""
    length = 8 + len(body)
    udp = struct.pack('!4H', *ports, length, 0)
    pseudo = b''.join(addresses) + struct.pack('!BBH', 0, 17, length)
    udp = udp[:6] + struct.pack('!H', _checksum(pseudo + udp + body) or 0xFFFF)
    ip = struct.pack('!BBHHHBBH', 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + b''.join(addresses)
    ip = ip[:10] + struct.pack('!H', _checksum(ip)) + ip[12:]
    return to + source + b'\x08\x00' + ip + udp + body


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
