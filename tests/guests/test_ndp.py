"""IPv6 neighbours as MirageOS keeps them: who is asked, who is believed, and for how long."""

from __future__ import annotations

from tests.guests import peer
from tests.guests.peer import (
    BROADCAST,
    GUEST6,
    IPV6,
    OTHER6,
    OVERRIDE,
    OWN,
    SOLICITED,
    Boot,
    Peer,
    mac,
)
from tests.guests.scene import needs
from tests.patience import PATIENCE

pytestmark = needs('gcc', 'ip', root=True)

ALL = bytes.fromhex('3333ff000009')  # those whose address ends in 00:0009
ASKED = peer.solicits(OTHER6, ALL)


def tell(other: Peer, who: int, flags: int = SOLICITED | OVERRIDE) -> None:
    """That OTHER6's hardware address ends in `who`."""
    other.send(OWN, mac(who), IPV6, peer.advertisement(mac(who), OTHER6, flags))


def ask(other: Peer, number: int, who: int = 1) -> None:
    other.send(OWN, mac(who), IPV6, peer.ping6(OTHER6, number))


def known(boot: Boot) -> Peer:
    """A neighbour that the guest has met with 2 at the end of its hardware address."""
    other = boot(f'--ipv6={GUEST6}/64')
    ask(other, 1)
    other.wait(ASKED)
    tell(other, 2)
    assert other.answered(1) == 2
    return other


def test_an_answer_waits_until_its_receiver_was_asked_for(boot: Boot) -> None:
    other = boot(f'--ipv6={GUEST6}/64')
    ask(other, 1)
    first = next(f for f in other.heard(PATIENCE) if ASKED(f) or peer.pong(1)(f))
    assert first[38:54] == bytes.fromhex('ff0200000000000000000001ff000009')
    tell(other, 2)
    assert other.answered(1) == 2


def test_after_four_questions_what_waits_is_dropped(boot: Boot) -> None:
    other = boot(f'--ipv6={GUEST6}/64')
    ask(other, 1)
    for _ in range(4):
        other.wait(ASKED)
    assert not any(map(ASKED, other.heard(4)))
    ask(other, 2)  # nobody was being asked for: it begins anew
    other.wait(ASKED)
    tell(other, 3)
    assert other.answered(2) == 3
    assert not any(map(peer.pong(1), other.heard(1)))


def test_who_asks_is_answered_and_remembered(boot: Boot) -> None:
    other = boot(f'--ipv6={GUEST6}/64')
    other.send(BROADCAST, mac(2), IPV6, peer.solicitation(mac(2), OTHER6, GUEST6))
    answer = other.wait(lambda f: f[54:55] == b'\x88')
    assert (answer[:6], answer[58], answer[78:86]) == (mac(2), 0x60, b'\2\1' + OWN)
    ask(other, 1)
    assert other.answered(1) == 2


def test_a_solicited_advertisement_that_overrides_is_believed(boot: Boot) -> None:
    other = known(boot)
    tell(other, 3)
    ask(other, 2)
    assert other.answered(2) == 3


def test_an_announced_change_is_believed_when_the_old_one_is_silent(boot: Boot) -> None:
    other = known(boot)
    tell(other, 3, OVERRIDE)
    ask(other, 2, 3)
    assert other.answered(2) == 2
    for _ in range(4):
        other.wait(peer.solicits(OTHER6, mac(2)))
    assert not any(map(peer.solicits(OTHER6, mac(2)), other.heard(3)))
    ask(other, 3, 3)
    other.wait(ASKED)
    tell(other, 3)
    assert other.answered(3) == 3


def test_an_old_one_that_answers_is_kept(boot: Boot) -> None:
    other = known(boot)
    tell(other, 3, OVERRIDE)
    ask(other, 2, 3)
    other.wait(peer.solicits(OTHER6, mac(2)))
    tell(other, 2, SOLICITED)
    assert not any(map(peer.solicits(OTHER6), other.heard(4)))
    ask(other, 3, 3)
    assert other.answered(3) == 2
