"""The DHCP server of a stage: whom it answers, and how."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mirage_hooks.host import dhcp, replay
from tests.host.test_dhcp import MAC, SERVER_MAC, frame, reply

OWN, OTHER = b'\x0a\x09\x00\x32', b'\x0a\x09\x00\x33'
SERVER = b'\x0a\x09\x00\x09'


class Wire:
    """A client and the server that is tried, with a wire between them."""

    def __init__(self) -> None:
        told = dhcp.received(frame(reply()), 68)
        lease = dhcp.lease(told) if told else None
        assert lease
        self.end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.server = replay.Replay(other, lease, MAC.hex(':'))
        self.end.setblocking(False)

    def answer(
        self, kind: int, own: bytes = bytes(4), mac: bytes = MAC, broadcast: bool = True,
        **options: bytes,
    ) -> bytes:
        """The frame that comes back, b'' for none."""
        given = {getattr(dhcp, name.upper()): value for name, value in options.items()}
        body = bytearray(dhcp.asked(kind, mac, b'wxyz', given))
        body[12:16] = own
        body[10] = 0x80 if broadcast else 0
        self.end.send(dhcp.framed(mac, dhcp.BROADCAST, dhcp.ANYWHERE, (68, 67), bytes(body)))
        self.server.answer()
        try:
            return self.end.recv(2048)
        except BlockingIOError:
            return b''


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.end.close()
    made.server.link.close()


def kind(answer: bytes) -> int:
    found = dhcp.received(answer, 68)
    assert found and found.transaction == b'wxyz'
    return found.kind


def test_it_offers_and_leases_what_the_real_server_does(wire: Wire) -> None:
    assert kind(wire.answer(dhcp.DISCOVER)) == dhcp.OFFER
    assert wire.server.taken is None
    answer = wire.answer(dhcp.REQUEST, wanted=OWN, who=SERVER, host_name=b'web')
    assert kind(answer) == dhcp.ACK
    assert answer[6:12] == SERVER_MAC
    assert wire.server.taken is not None
    assert wire.server.taken.options[dhcp.HOST_NAME] == b'web'


def test_a_client_that_names_the_server_by_siaddr_is_understood(wire: Wire) -> None:
    assert kind(wire.answer(dhcp.REQUEST, wanted=OWN, who=bytes(4))) == dhcp.ACK


@pytest.mark.parametrize(('broadcast', 'own', 'mac', 'to'), [
    (True, bytes(4), b'\xff' * 6, b'\xff' * 4), (False, bytes(4), MAC, OWN), (True, OWN, MAC, OWN),
])
def test_who_has_no_address_is_answered_as_it_wants_it_and_a_renewal_alone(
    wire: Wire, broadcast: bool, own: bytes, mac: bytes, to: bytes
) -> None:
    options = {} if any(own) else {'wanted': OWN}
    answer = wire.answer(dhcp.REQUEST, own, broadcast=broadcast, **options)
    assert (answer[:6], answer[30:34], kind(answer)) == (mac, to, dhcp.ACK)


def test_nobody_else_is_answered_and_nothing_else(wire: Wire) -> None:
    assert wire.answer(dhcp.DISCOVER, mac=b'\2' * 6) == b''
    assert wire.answer(dhcp.REQUEST, wanted=OTHER) == b''
    assert wire.answer(dhcp.REQUEST, wanted=OWN, who=OTHER) == b''
    assert wire.answer(4, wanted=OWN) == b''  # a DECLINE
    assert wire.answer(7, OWN) == b''  # a RELEASE
    assert wire.server.taken is None


def test_it_waits_no_longer_than_for_the_end_of_the_release(wire: Wire) -> None:
    assert not wire.server.wait(600, lambda: True)
    assert not wire.server.wait(0.01, lambda: False)
