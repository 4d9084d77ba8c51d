"""A health question to a name server: what is an answer, by UDP and by TCP, and what is none.

The server is one of ours that says what a test wants said; name servers that mean well are asked
in tests/switching/test_dns.py."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import psutil
import pytest

from mirage_hooks import config
from mirage_hooks.messages import errors
from mirage_hooks.switching import health

NAME = 'www.example.org'
Answer = Callable[[bytes], bytes | None]
"""What is sent back for a question; None for nothing."""


def answered(asked: bytes) -> dns.message.Message:
    """The answer of a name server that means well."""
    answer = dns.message.make_response(dns.message.from_wire(asked))
    answer.flags |= dns.flags.AA
    answer.answer.append(dns.rrset.from_text(f'{NAME}.', 60, 'IN', 'A', '192.0.2.1', '192.0.2.80'))
    return answer


def well(asked: bytes) -> bytes:
    return answered(asked).to_wire()


@contextlib.contextmanager
def serving(udp: Answer = well, tcp: Answer = well, whole: bool = False) -> Iterator[str]:
    """A name server, as ADDRESS:PORT. `whole`: what `tcp` says has its length in front already."""
    for _ in range(100):
        stream = socket.create_server(('127.0.0.1', 0))
        port = stream.getsockname()[1]
        datagrams = socket.socket(type=socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            datagrams.bind(('127.0.0.1', port))
            break
    over = threading.Event()

    def by_udp() -> None:
        while not over.is_set():
            asked, who = datagrams.recvfrom(65535)
            if asked and (said := udp(asked)) is not None:
                datagrams.sendto(said, who)

    def by_tcp() -> None:
        while True:
            visitor, _ = stream.accept()
            if over.is_set():
                return
            with visitor, contextlib.suppress(OSError):
                asked = visitor.recv(65535)[2:]
                said = tcp(asked)
                if said is None:
                    over.wait(30)
                else:
                    visitor.sendall(said if whole else len(said).to_bytes(2, 'big') + said)

    threads = [threading.Thread(target=one, daemon=True) for one in (by_udp, by_tcp)]
    for one in threads:
        one.start()
    try:
        yield f'127.0.0.1:{port}'
    finally:
        over.set()
        with socket.socket(type=socket.SOCK_DGRAM) as last:
            last.sendto(b'', ('127.0.0.1', port))
        with contextlib.suppress(OSError):
            socket.create_connection(('127.0.0.1', port), 5).close()
        for one in threads:
            one.join()
        stream.close()
        datagrams.close()


def asks(server: str, within: str = '0ms', **keys: object) -> None:
    question = config.Dns(**{'name': NAME, 'server': server, **keys})  # type: ignore[arg-type]
    health.prove((config.Health(dns=question, within=within),), lambda: '', lambda: None)


def refused(server: str, within: str = '0ms', **keys: object) -> str:
    """Why, without the place and the time."""
    before = set(psutil.Process().children())  # another test's
    with pytest.raises(errors.Refused) as refusal:
        asks(server, within, **keys)
    assert set(psutil.Process().children()) <= before
    what = f'{NAME} {keys.get("type", "A")} of {server} '
    assert refusal.value.reason.startswith(what), refusal.value.reason
    return refusal.value.reason.removeprefix(what).removesuffix(f' within {within}')


@pytest.mark.parametrize('answer', ['', '192.0.2.1', '192.0.2.80'])
def test_one_of_the_records_is_enough(answer: str) -> None:
    with serving() as server:
        asks(server, answer=answer)


@pytest.mark.parametrize(('kind', 'data', 'answer'), [
    ('SOA', 'ns.example.org. admin.example.org. 2026112901 3600 900 604800 60', '2026112901'),
    ('MX', '10 Mail.example.org.', '10 mail.example.org'),
    ('MX', '10 Mail.example.org.', 'mail.example.org'),
    ('TXT', '"v=spf1 -all" "more"', '"v=spf1 -all" "more"'),
    ('TXT', '"release-7"', 'release-7'),
    ('CAA', '0 issue "letsencrypt.org"', 'letsencrypt.org'),
])
def test_the_answer_is_the_data_as_a_zone_has_it_or_a_word_of_it(
    kind: str, data: str, answer: str
) -> None:
    def said(asked: bytes) -> bytes:
        message = answered(asked)
        message.answer[:] = [dns.rrset.from_text(f'{NAME}.', 60, 'IN', kind, data)]
        return message.to_wire()

    with serving(said, said) as server:
        asks(server, type=kind, answer=answer)
        assert refused(server, type=kind, answer='other') == "answered by UDP without 'other'"


def changed(change: Callable[[dns.message.Message], object]) -> Answer:
    def said(asked: bytes) -> bytes:
        message = answered(asked)
        change(message)
        return message.to_wire()

    return said


def other_name(message: dns.message.Message) -> None:
    message.question[:] = dns.message.make_query('www.example.net', 'A').question


WRONG = {
    'another id': (lambda m: setattr(m, 'id', m.id ^ 1), 'something else than it was asked'),
    'another name': (other_name, 'something else than it was asked'),
    'no question': (lambda m: m.question.clear(), 'something else than it was asked'),
    'a question': (lambda m: setattr(m, 'flags', m.flags & ~dns.flags.QR),
                   'something else than it was asked'),
    'REFUSED': (lambda m: m.set_rcode(dns.rcode.REFUSED), 'REFUSED (NOERROR wanted)'),
    'NXDOMAIN': (lambda m: m.set_rcode(dns.rcode.NXDOMAIN), 'NXDOMAIN (NOERROR wanted)'),
    'no authority': (lambda m: setattr(m, 'flags', m.flags & ~dns.flags.AA),
                     'without authority; a resolver is asked with `authoritative: false`'),
    'nothing': (lambda m: m.answer.clear(), 'without a record of type A'),
    'other data': (lambda m: m.answer[0].clear() or m.answer[0].update(dns.rrset.from_text(
        'x.', 60, 'IN', 'A', '192.0.2.10')), "without '192.0.2.1'"),
}


@pytest.mark.parametrize(('change', 'wrong'), WRONG.values(), ids=WRONG.keys())
def test_both_ways_have_to_answer_well(
    change: Callable[[dns.message.Message], object], wrong: str
) -> None:
    with serving(udp=changed(change)) as server:
        assert refused(server, answer='192.0.2.1') == f'answered by UDP {wrong}'
    with serving(tcp=changed(change)) as server:
        assert refused(server, answer='192.0.2.1') == f'answered by TCP {wrong}'


def test_a_resolver_is_asked_to_look_further_and_needs_no_authority() -> None:
    def said(asked: bytes) -> bytes:
        assert dns.message.from_wire(asked).flags & dns.flags.RD
        return changed(lambda m: setattr(m, 'flags', m.flags & ~dns.flags.AA))(asked) or b''

    with serving(said, said) as server:
        asks(server, authoritative=False)


def test_a_datagram_that_was_cut_is_an_answer_and_a_stream_is_not() -> None:
    def cut(message: dns.message.Message) -> None:
        message.answer.clear()
        message.flags |= dns.flags.TC

    with serving(udp=changed(cut)) as server:
        asks(server, answer='192.0.2.1')
    with serving(tcp=changed(cut)) as server:
        assert refused(server) == 'answered by TCP a message that says that it was cut'


def test_a_datagram_that_is_lost_is_sent_again() -> None:
    seen: list[bytes] = []

    def second(asked: bytes) -> bytes | None:
        seen.append(asked)
        return well(asked) if len(seen) > 1 else None

    with serving(udp=second) as server:
        asks(server, within='20s')
    assert len(set(seen)) == 1


def test_each_question_has_a_number_and_a_port_of_its_own() -> None:
    numbers: list[bytes] = []

    def noted(asked: bytes) -> bytes:
        numbers.append(asked[:2])
        return well(asked)

    with serving(noted, noted) as server:
        for _ in range(5):
            asks(server)
    assert len(set(numbers)) > 5  # of ten


def test_it_says_which_way_was_silent() -> None:
    with serving(udp=lambda asked: None) as server:
        assert refused(server) == 'did not answer by UDP (timed out)'
    with serving(tcp=lambda asked: None) as server:
        assert refused(server) == 'did not answer by TCP (timed out)'


def test_nobody_there_is_told_at_once() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as held:
        held.bind(('127.0.0.1', 0))
        port = held.getsockname()[1]
    assert refused(f'127.0.0.1:{port}') == 'did not answer by UDP (Connection refused)'


def test_a_length_that_lies_is_no_answer_and_no_wait() -> None:
    began = time.monotonic()
    with serving(tcp=lambda asked: b'\xff\xff' + well(asked), whole=True) as server:
        assert refused(server) in (
            'did not answer by TCP (the connection ended after 65 of 65535 bytes)',
            'did not answer by TCP (Connection reset by peer)')
    with serving(tcp=lambda asked: b'\x00', whole=True) as server:
        assert refused(server) == (
            'did not answer by TCP (the connection ended after 1 of 2 bytes)')
    assert time.monotonic() - began < 15


def head(asked: bytes, answers: int = 1) -> bytes:
    """The head of a good answer with authority, and the question."""
    return asked[:2] + b'\x84\x00\x00\x01' + answers.to_bytes(2, 'big') + b'\0' * 4 + asked[12:]


A = b'\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01'
HOSTILE: dict[str, Answer] = {
    'a pointer to itself': lambda asked: head(asked) + b'\xc0' + bytes((len(asked),)) + A,
    'two pointers to each other': lambda asked: (
        head(asked) + b'\xc0' + bytes((len(asked) + 2,)) + b'\xc0' + bytes((len(asked),)) + A),
    'a pointer ahead': lambda asked: head(asked) + b'\xff\xff' + A,
    'more answers than there are': lambda asked: head(asked, 65535) + b'\xc0\x0c' + A,
    'data longer than the message': lambda asked: (
        head(asked) + b'\xc0\x0c' + A[:8] + b'\xff\xff' + A[10:]),
    'an address of five bytes': lambda asked: (
        head(asked) + b'\xc0\x0c' + A[:8] + b'\x00\x05' + A[10:] + b'\0'),
    'what is left over': lambda asked: well(asked) + b'more',
    'half a head': lambda asked: asked[:5],
    'nothing at all': lambda asked: b'',
    'a label of a reserved kind': lambda asked: head(asked) + b'\x80\x0c' + A,
}


@pytest.mark.parametrize('hostile', HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_message_is_told(hostile: Answer) -> None:
    for way, server in (('UDP', serving(udp=hostile)), ('TCP', serving(tcp=hostile))):
        with server as place:
            said = refused(place)
        assert said.startswith(f'answered by {way} what is no DNS message (')


def test_whatever_bytes_come_are_an_answer_or_a_reason() -> None:
    """Good answers with some bytes changed; a fault of ours would raise RuntimeError."""
    draw = random.Random(15)

    def bent(asked: bytes) -> bytes:
        said = bytearray(well(asked))
        for _ in range(draw.randint(1, 4)):
            said[draw.randrange(12, len(said))] = draw.randrange(256)
        return bytes(said[: draw.choice((len(said), draw.randrange(len(said))))])

    with serving(udp=bent) as server:
        for _ in range(150):
            with contextlib.suppress(errors.Refused):
                asks(server, answer='192.0.2.1')


def test_a_message_that_takes_long_to_parse_has_an_end() -> None:
    """64 KB of records, each with a name of many pointers."""
    def heavy(asked: bytes) -> bytes:
        chain, at = b'\x01a\xc0\x0c', len(asked)
        names = [chain]
        for _ in range(100):
            names.append(b'\x01a' + (0xC000 | at).to_bytes(2, 'big'))
            at += 4
        records = b''.join(itertools.islice(itertools.repeat(
            (0xC000 | at).to_bytes(2, 'big') + A), 4000))
        return (head(asked, 4001) + b'\x00' + b'\x00\x0a\x00\x01\x00\x00\x00\x00'
                + len(b''.join(names)).to_bytes(2, 'big') + b''.join(names) + records)[:65535]

    began = time.monotonic()
    with serving(tcp=heavy) as server:
        refused(server, '2s', type='A', answer='192.0.2.2')
    assert time.monotonic() - began < 30
