"""Whatever a release answers, or does not, a question has one deadline and one bound of memory."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from mirage_hooks import config
from mirage_hooks.host import forked, namespace
from mirage_hooks.messages import errors
from mirage_hooks.switching import health

SOON = 15.0  # seconds for what must not take longer than 1 s, on a machine that is busy

Send = Callable[[bytes], None]


def drips(text: bytes, send: Send) -> None:
    """`text`, one byte per half second: far below any time-out of a socket."""
    for byte in text:
        send(bytes((byte,)))
        time.sleep(0.5)


def endlessly(line: bytes, send: Send) -> None:
    while True:
        send(line)
        time.sleep(0.02)


ANSWERS: dict[str, Callable[[Send], None]] = {
    'a page of one byte per half second': lambda send: (
        send(b'HTTP/1.0 200 OK\r\n\r\n'), drips(b'x' * 10_000, send))[1],
    'a status line of one byte per half second': lambda send: drips(b'HTTP/1.1 ' * 999, send),
    'endless 100 Continue': lambda send: endlessly(b'HTTP/1.1 100 Continue\r\n\r\n', send),
    'endless lines in the head of 100 Continue': lambda send: (
        send(b'HTTP/1.1 100 Continue\r\n'), endlessly(b'x: y\r\n', send))[1],
    'endless trailers': lambda send: (
        send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n'),
        endlessly(b'x: y\r\n', send))[1],
    'a page that never ends, of empty chunks': lambda send: (
        send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'),
        endlessly(b'1\r\nx\r\n', send))[1],
    'the page, and no end of the connection': lambda send: (
        send(b'HTTP/1.0 200 OK\r\n\r\nhere'), time.sleep(600))[1],
    'nothing': lambda send: time.sleep(600),
}


@contextlib.contextmanager
def answering(answer: Callable[[Send], None]) -> Iterator[int]:
    """The port of a server that answers everybody so."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        def serve() -> None:
            while True:
                with contextlib.suppress(OSError):
                    visitor, _ = server.accept()
                    threading.Thread(target=entertain, args=(visitor,), daemon=True).start()
                if server.fileno() < 0:
                    return

        def entertain(visitor: socket.socket) -> None:
            with visitor, contextlib.suppress(OSError):
                visitor.recv(4096)
                answer(visitor.sendall)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)


def refused(question: config.Health, printed: str = '', dead: health.Dead = lambda: None) -> str:
    """Why a release that is asked `question` is refused, soon and without a trace of the asking."""
    began, before = time.monotonic(), set(psutil.Process().children())  # another test's
    with pytest.raises(errors.Refused) as refusal:
        health.prove((question,), lambda: printed, dead)
    assert time.monotonic() - began < SOON
    assert set(psutil.Process().children()) <= before
    return refusal.value.reason


@pytest.mark.parametrize('answer', ANSWERS.values(), ids=ANSWERS.keys())
def test_no_answer_outlasts_the_time_that_it_has(answer: Callable[[Send], None]) -> None:
    with answering(answer) as port:
        page = f'http://127.0.0.1:{port}/'
        assert refused(config.Health(http=page, contains='welcome', within='1s')) == (
            f'{page} did not answer (timed out) within 1s'
        )


def test_a_handshake_that_drips_does_not_outlast_it() -> None:
    # The head of a TLS record of 16 KB, and of a handshake message in it: never a whole one.
    with answering(lambda send: drips(b'\x16\x03\x03\x40\x00\x02\x00\x3f\xfc' * 999, send)) as port:
        page = f'https://127.0.0.1:{port}/'
        assert refused(config.Health(http=page, insecure=True, within='1s')) == (
            f'{page} did not answer (timed out) within 1s'
        )


def test_a_name_whose_look_up_hangs_does_not_outlast_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *_, **__: time.sleep(600))
    assert refused(config.Health(tcp='www.example.org:80', within='1s')) == (
        'www.example.org:80 did not answer (timed out) within 1s'
    )


def test_an_expression_that_backtracks_does_not_outlast_it() -> None:
    assert refused(config.Health(console='^(a+)+$', within='1s'), 'a' * 40 + '!') == (
        "the console could not be searched for '^(a+)+$' (timed out) within 1s"
    )


def test_a_page_without_end_is_read_no_further_than_its_limit() -> None:
    with answering(lambda send: [send(b'HTTP/1.0 200 OK\r\n\r\n'),  # type: ignore[arg-type]
                                 *(send(bytes(1 << 20)) for _ in range(1 << 20))]) as port:
        page = f'http://127.0.0.1:{port}/'
        assert refused(config.Health(http=page, contains='welcome', within='1s')) == (
            f"{page} answered without 'welcome' within 1s"
        )


def test_what_a_stranger_sends_fills_no_message() -> None:
    with answering(lambda send: send(b'\xff' * 60_000 + b'\r\n')) as port:
        assert len(refused(config.Health(http=f'http://127.0.0.1:{port}/', within='50ms'))) < 500


@pytest.mark.parametrize('kind, asked', [
    ('tcp', '127.0.0.1:{port}'), ('http', 'http://127.0.0.1:{port}/'),
    ('http', 'https://127.0.0.1:{port}/'), ('console', '^(a+)+$'),
])
def test_the_end_of_the_release_ends_the_question(kind: str, asked: str) -> None:
    began = time.monotonic()
    with full() as port:
        question = config.Health(**{kind: asked.format(port=port)}, within='10m')  # type: ignore[arg-type]
        ended = errors.Refused('it ended')
        said = refused(question, 'a' * 40 + '!',
                       lambda: ended if time.monotonic() - began > 0.5 else None)
    assert said == 'it ended'


@contextlib.contextmanager
def full() -> Iterator[int]:
    """The port of a server that accepts nobody: Linux leaves the next connection in SYN-SENT."""
    with socket.socket() as server, contextlib.ExitStack() as waiting:
        server.bind(('127.0.0.1', 0))
        server.listen(0)
        for _ in range(3):
            visitor = waiting.enter_context(socket.socket())
            visitor.setblocking(False)
            visitor.connect_ex(server.getsockname())
        yield int(server.getsockname()[1])


@pytest.mark.skipif(os.geteuid() != 0, reason='a network namespace needs root')
def test_it_is_asked_in_the_network_namespace_of_who_asks() -> None:
    with namespace.made() as beyond, answering(lambda send: time.sleep(600)) as port:
        question = config.Health(tcp=f'127.0.0.1:{port}', within='50ms')
        health.prove((question,), lambda: '', lambda: None)
        with beyond.entered():  # where `lo` is down
            assert 'Network is unreachable' in refused(question)


def test_a_question_that_takes_much_memory_is_ended() -> None:
    def greedy() -> str:
        return str(len(bytearray(1 << 30)))

    with pytest.raises(forked.Unanswered, match='it takes more than 128 MB'):
        forked.answer(greedy, SOON)


def test_a_fault_of_our_own_in_a_question_is_not_taken_for_an_answer() -> None:
    with pytest.raises(RuntimeError, match='ZeroDivisionError'):
        forked.answer(lambda: str(1 // 0), SOON)


def test_who_asks_and_is_killed_has_no_answer() -> None:
    def killed() -> str:
        os.kill(os.getpid(), 9)
        return ''

    before = set(psutil.Process().children())
    with pytest.raises(forked.Unanswered, match='whoever asked was killed'):
        forked.answer(killed, SOON)
    assert set(psutil.Process().children()) <= before


def test_a_question_ends_with_who_asks() -> None:
    """Also when that one is killed, and cannot end anything."""
    reading, writing = os.pipe()

    def told() -> str:
        os.write(writing, str(os.getpid()).encode())
        time.sleep(600)
        return ''

    hook = os.fork()
    if hook == 0:
        try:
            forked.answer(told, 600)
        finally:
            os._exit(1)
    asking = psutil.Process(int(os.read(reading, 100)))
    os.kill(hook, 9)
    os.waitpid(hook, 0)
    limit = time.monotonic() + SOON
    while asking.is_running() and asking.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit
        time.sleep(0.01)
    os.close(reading)
    os.close(writing)


def test_an_answer_costs_little_more_than_a_fork() -> None:
    took = []
    for _ in range(20):
        began = time.monotonic()
        assert forked.answer(lambda: 'here', SOON) == 'here'
        took.append(time.monotonic() - began)
    assert min(took) < 0.03
