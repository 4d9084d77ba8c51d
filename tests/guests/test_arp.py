"""Neighbours as MirageOS keeps them: who is asked, who is believed, and for how long."""

from __future__ import annotations

import pytest

from tests.guests import peer
from tests.guests.peer import (
    ARP,
    BROADCAST,
    GUEST,
    IPV4,
    OTHER,
    OWN,
    REPLY,
    REQUEST,
    Boot,
    Peer,
    mac,
)
from tests.guests.scene import needs
from tests.patience import PATIENCE

pytestmark = needs('gcc', 'ip', root=True)

IPV4_OF_IT = f'--ipv4={GUEST}/24'
asked = peer.asks_for(OTHER)


def tell(other: Peer, who: int, operation: int = REPLY, about: str = GUEST) -> None:
    """That OTHER's hardware address ends in `who`."""
    other.send(BROADCAST, mac(who), ARP, peer.arp(operation, mac(who), OTHER, about))


def ask(other: Peer, number: int, who: int = 1) -> None:
    other.send(OWN, mac(who), IPV4, peer.ping(OTHER, number))


def test_an_answer_waits_until_its_receiver_was_asked_for(boot: Boot) -> None:
    other = boot(IPV4_OF_IT)
    ask(other, 1)
    assert next(f for f in other.heard(PATIENCE) if asked(f) or peer.pong(1)(f))[:6] == BROADCAST
    tell(other, 2)
    assert other.answered(1) == 2


def test_a_question_is_repeated_and_the_packet_waits(boot: Boot) -> None:
    other = boot(IPV4_OF_IT)
    ask(other, 1)
    for _ in range(3):
        other.wait(asked)
    tell(other, 2)
    assert other.answered(1) == 2


def test_after_six_questions_what_waits_is_dropped(boot: Boot) -> None:
    other = boot(IPV4_OF_IT)
    ask(other, 1)
    for _ in range(6):
        other.wait(asked)
    assert not any(map(asked, other.heard(4)))
    tell(other, 2)
    ask(other, 2)  # nobody was being asked for: it begins anew
    other.wait(asked)
    tell(other, 3)
    assert other.answered(2) == 3
    assert not any(map(peer.pong(1), other.heard(1)))


def test_who_asks_is_answered_and_not_remembered(boot: Boot) -> None:
    other = boot(IPV4_OF_IT)
    tell(other, 2, REQUEST)
    reply = other.wait(lambda f: f[12:14] == b'\x08\x06' and f[20:22] == b'\0\2')
    assert (reply[:6], reply[22:32]) == (mac(2), OWN + bytes((10, 99, 0, 2)))
    ask(other, 1, 2)
    other.wait(asked)


@pytest.mark.parametrize('operation', [REQUEST, REPLY])
def test_an_announcement_counts_only_about_whom_it_knows(boot: Boot, operation: int) -> None:
    other = boot(IPV4_OF_IT)
    tell(other, 2, operation, OTHER)
    ask(other, 1, 2)
    other.wait(asked)
    tell(other, 3, operation, OTHER)
    assert other.answered(1) == 3
    tell(other, 4, operation, OTHER)
    ask(other, 2)
    assert other.answered(2) == 4


@pytest.mark.parametrize('operation', [REQUEST, REPLY])
def test_an_image_of_2014_keeps_whom_it_met_first(boot: Boot, operation: int) -> None:
    other = boot(IPV4_OF_IT, '--neighbours=keep')
    ask(other, 1)
    other.wait(asked)
    tell(other, 2)
    assert other.answered(1) == 2
    tell(other, 3, operation, OTHER)
    ask(other, 2, 3)
    assert other.answered(2) == 2


def test_an_image_of_2014_asks_once(boot: Boot) -> None:
    other = boot(IPV4_OF_IT, '--neighbours=keep')
    ask(other, 1)
    other.wait(asked)
    assert not any(map(asked, other.heard(4)))
    tell(other, 2, REPLY)
    assert other.answered(1) == 2


def test_what_it_knows_is_asked_for_anew_at_its_end_and_then_forgotten(boot: Boot) -> None:
    other = boot(IPV4_OF_IT, ARP_LIFE=3)
    ask(other, 1)
    other.wait(asked)
    tell(other, 2)
    other.wait(asked)
    assert not any(map(asked, other.heard(4)))
    ask(other, 2)
    other.wait(asked)


def test_the_gateway_is_asked_for_like_any_other(boot: Boot) -> None:
    other = boot(IPV4_OF_IT, '--ipv4-gateway=10.99.0.8')
    far = '10.98.0.1'
    other.send(OWN, mac(1), IPV4, peer.ping(far, 1))
    other.wait(peer.asks_for('10.99.0.8'))
    other.send(OWN, mac(2), ARP, peer.arp(REPLY, mac(2), '10.99.0.8', GUEST))
    assert other.answered(1) == 2


def test_a_frame_for_another_is_not_taken(boot: Boot) -> None:
    other = boot(IPV4_OF_IT)
    other.send(mac(9), mac(1), IPV4, peer.ping(OTHER, 1))
    assert not any(map(asked, other.heard(1)))
