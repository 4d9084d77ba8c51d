"""DHCP's messages, parsed as from a stranger and made as RFC 2131 has them."""

from __future__ import annotations

import ipaddress
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_hooks.host import dhcp

MAC, SERVER_MAC = bytes.fromhex('020000000011'), bytes.fromhex('0200000000fe')
OFFERED = {
    dhcp.WHO: b'\x0a\x09\x00\x09', dhcp.SECONDS: b'\0\0\0\x14', dhcp.MASK: b'\xff\xff\xff\0',
    dhcp.ROUTER: b'\x0a\x09\x00\xfe', 15: b'example.org',
}


def reply(
    kind: int = dhcp.OFFER, address: str = '10.9.0.50', options: dict[int, bytes] | None = None
) -> bytes:
    """A server's message."""
    whole = bytearray(dhcp.asked(
        kind, MAC, b'abcd', OFFERED if options is None else options))
    whole[0] = 2
    whole[16:20] = ipaddress.IPv4Address(address).packed
    return bytes(whole)


def frame(body: bytes, ports: tuple[int, int] = (67, 68)) -> bytes:
    ends = b'\x0a\x09\x00\x09', b'\xff' * 4
    return dhcp.framed(SERVER_MAC, dhcp.BROADCAST, ends, ports, body)


def offered(**changed: object) -> dhcp.Lease | None:
    found = dhcp.received(frame(reply(**changed)), 68)  # type: ignore[arg-type]
    return dhcp.lease(found) if found else None


def test_an_offer_is_a_lease() -> None:
    told = reply()
    assert offered() == dhcp.Lease(
        '10.9.0.50/24', '10.9.0.254', '10.9.0.9', '02:00:00:00:00:fe', told)


def test_a_lease_may_have_no_router() -> None:
    found = offered(options={k: v for k, v in OFFERED.items() if k != dhcp.ROUTER})
    assert found is not None and found.router == ''


@pytest.mark.parametrize('changed', [
    {'address': '0.0.0.0'}, {'address': '255.255.255.255'}, {'address': '127.0.0.1'},
    {'address': '224.0.0.1'}, {'address': '10.9.0.0'}, {'address': '10.9.0.255'},
    {'address': '10.9.0.9'}, {'address': '10.9.0.254'},
])
def test_an_address_that_no_host_can_have_is_no_lease(changed: dict[str, str]) -> None:
    assert offered(**changed) is None


@pytest.mark.parametrize(('option', 'value'), [
    (dhcp.MASK, b''), (dhcp.MASK, b'\xff\xff\xff'), (dhcp.MASK, b'\xff\0\xff\0'),
    (dhcp.MASK, b'\0\0\0\xff'), (dhcp.MASK, bytes(4)), (dhcp.MASK, b'\xff' * 4),
    (dhcp.WHO, bytes(4)), (dhcp.WHO, b'\xe0\0\0\1'), (dhcp.WHO, b'\x0a'),
    (dhcp.ROUTER, b'\x0a\x09'), (dhcp.ROUTER, bytes(4)), (dhcp.SECONDS, b'\x14'),
])
def test_what_an_offer_must_say_and_does_not_is_no_lease(option: int, value: bytes) -> None:
    assert offered(options={**OFFERED, option: value}) is None
    assert offered(options={k: v for k, v in OFFERED.items() if k != option}) is None or (
        option == dhcp.ROUTER)


def broken() -> list[bytes]:
    whole = frame(reply())
    told = reply()
    twice = told.rstrip(b'\0')[:-1] + b'\x36\x04\x0a\x09\x00\x09\xff'
    return [
        whole[:41], whole[:280], whole[:-301] + bytes(30),
        frame(told, (67, 69)),
        whole[:12] + b'\x86\xdd' + whole[14:],  # IPv6
        whole[:14] + b'\x46' + whole[15:],  # a head that is longer than it says
        whole[:14] + b'\x4f' + whole[15:],
        whole[:20] + b'\x20\0' + whole[22:],  # one piece of several
        whole[:23] + b'\x06' + whole[24:],  # TCP
        whole[:16] + b'\xff\xff' + whole[18:],  # longer than the frame
        whole[:38] + b'\xff\xff' + whole[40:],
        whole[:38] + b'\0\7' + whole[40:],
        frame(b'\1' + told[1:]),  # a client's
        frame(told[:1] + b'\6' + told[2:]), frame(told[:2] + b'\7' + told[3:]),
        frame(told[:236] + bytes(4) + told[240:]),  # BOOTP's
        frame(told[:240]), frame(told[:240] + b'\xff'), frame(told[:240] + b'\x35\x02\2\2\xff'),
        frame(told[:240] + b'\x35\x01\x02' + b'\x36\x04\x0a'), frame(told[:240] + b'\x35\x01\x02'),
        frame(told[:240] + b'\x35\x01\x02\x35\x01\x05\xff'),
        frame(twice), frame(told + bytes(1500)),
    ]


@pytest.mark.parametrize('one', broken())
def test_what_is_no_message_is_none(one: bytes) -> None:
    assert dhcp.received(one, 68) is None


def test_all_of_these_differ_from_a_good_one() -> None:
    assert dhcp.received(frame(reply()), 68) is not None
    assert frame(reply()) not in broken()


@given(st.binary(max_size=700), st.integers(0, 700))
def test_whatever_a_stranger_sends_it_is_a_message_or_none(noise: bytes, at: int) -> None:
    whole = frame(reply())
    for one in (noise, whole[:at] + noise, whole[:at] + noise + whole[at + len(noise):]):
        found = dhcp.received(one, 68)
        if found:
            assert (found.kind, found.transaction) and len(found.hardware) == 6
            assert isinstance(dhcp.lease(found), dhcp.Lease | None)


def test_an_answer_is_replayed_with_every_word_but_whom_it_is_for() -> None:
    told, found = reply(), offered()
    asked = dhcp.received(frame(dhcp.asked(dhcp.REQUEST, MAC, b'wxyz', {}), (68, 67)), 67)
    assert found and asked
    said = dhcp.replayed(found, asked, dhcp.ACK)
    again = dhcp.message(SERVER_MAC, said, 2)
    assert again and again.kind == dhcp.ACK
    assert said == told[:4] + b'wxyz' + told[8:242] + bytes((dhcp.ACK,)) + told[243:]
    assert dhcp.lease(again) == msgspec.structs.replace(found, told=said)


def test_a_frame_has_the_checksums_that_its_reader_computes() -> None:
    whole = frame(reply() + b'x')  # an odd number of bytes
    ip, udp = whole[14:34], whole[34:]
    pseudo = ip[12:20] + struct.pack('!BBH', 0, 17, len(udp))
    for one in (ip, pseudo + udp):
        words = struct.unpack(f'!{(len(one) + 1) // 2}H', one + bytes(len(one) % 2))
        total = sum(words)
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
