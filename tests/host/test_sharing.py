"""What is traced while it starts shares its ports, and is none the worse for it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mirage_hooks.host import listeners, processes, sharing
from tests.deployment import free_port
from tests.patience import until

TROUBLE = sharing.trouble()
pytestmark = pytest.mark.skipif(bool(TROUBLE), reason=TROUBLE or 'nothing')

LISTENS = """
import os, socket, sys, time
{before}
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(('127.0.0.1', {port}))
server.listen()
while True:
    server.accept()[0].send(b'here')
"""

Start = Callable[..., sharing.Tracer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program on `port`, traced."""
    tracers, started = [], []

    def begin(
        port: int, before: str = '', *ports: int, datagrams: int = 0, held: bool = False
    ) -> sharing.Tracer:
        tracer = sharing.Tracer(listeners.Ports(frozenset(ports), datagrams, held))
        tracers.append(tracer)
        program = LISTENS.format(port=port, before=before)
        started.append(processes.spawn(
            (sys.executable, '-c', program), tmp_path, tmp_path / 'console', tmp_path / 'ended',
            tracer=tracer,
        ))
        return tracer

    yield begin
    for tracer in tracers:
        with contextlib.suppress(ProcessLookupError):
            tracer.end()
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port), 5) as found:
        return found.recv(10) == b'here'
    return False


def test_two_that_never_asked_for_it_listen_on_one_port(start: Start) -> None:
    port = free_port()
    first = start(port)
    until(first.places)
    for tracer in (first, start(port, '', port)):
        until(lambda tracer=tracer: tracer.places() == {f'127.0.0.1:{port}'})
        assert tracer.hindrance() == ''
    assert answers(port)


def test_a_port_that_is_not_to_be_shared_must_be_free_as_ever(
    start: Start, tmp_path: Path
) -> None:
    port = free_port()
    until(start(port).places)
    second = start(port, '', port + 1)
    until(lambda: 'Address already in use' in (tmp_path / 'console').read_text())
    assert second.places() == frozenset()


def test_threads_and_children_are_followed(start: Start) -> None:
    port = free_port()
    for before in ('if os.fork(): os.wait(); sys.exit()',
                   'import threading; threading.Thread(target=time.sleep, args=(60,)).start()'):
        tracer = start(port, before, port)
        until(lambda tracer=tracer: tracer.places() == {f'127.0.0.1:{port}'})


@pytest.mark.parametrize('end', [
    lambda tracer: tracer.end(), lambda tracer: os.kill(tracer.pid, signal.SIGKILL),
], ids=['let go', 'killed'])
@pytest.mark.parametrize('before', ['', 'time.sleep(0.5)'], ids=['serving', 'starting'])
def test_let_go_or_killed_it_leaves_the_image_well(
    start: Start, end: Callable[[sharing.Tracer], None], before: str
) -> None:
    port = free_port()
    tracer = start(port, before)
    if not before:
        until(lambda: answers(port))
    end(tracer)
    until(lambda: answers(port))


def test_a_tracer_that_was_killed_is_known(start: Start) -> None:
    tracer = start(free_port())
    assert tracer.hindrance() == ''
    os.kill(tracer.pid, signal.SIGKILL)
    until(lambda: tracer.hindrance() == 'the process that traces it was killed')


def test_an_image_that_ends_is_no_hindrance(start: Start) -> None:
    tracer = start(free_port(), 'sys.exit(3)')
    until(lambda: not Path(f'/proc/{tracer.pid}/exe').exists())
    assert (tracer.places(), tracer.hindrance()) == (frozenset(), '')


def test_an_image_gets_its_signals_and_stops_as_ever(start: Start, tmp_path: Path) -> None:
    port = free_port()
    tracer = start(port, 'import signal; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(9))\n'
                         'print(os.getpid(), flush=True); signal.raise_signal(signal.SIGSTOP)')
    until((tmp_path / 'console').read_text)
    process = int((tmp_path / 'console').read_text())
    until(lambda: psutil.Process(process).status() in ('stopped', 'tracing-stop'))
    until(lambda: os.kill(process, signal.SIGCONT) or tracer.places())
    os.kill(process, signal.SIGUSR1)
    until(lambda: not answers(port))


def test_udp_is_told_of_and_ports_left_to_the_kernel_are_not(start: Start) -> None:
    port, other = free_port(), free_port()
    tracer = start(port, f'for where in (0, {other}): '
                         'socket.socket(type=socket.SOCK_DGRAM).bind(("127.0.0.1", where))')
    until(lambda: tracer.places())
    assert tracer.hindrance() == f'it also uses UDP port {other}, which two cannot share'


UDP = ('kept = socket.socket({family}, socket.SOCK_DGRAM)\n'
       'kept.bind(("{address}", {port}))')
"""MirageOS asks for nothing before it binds such a socket."""


@pytest.mark.parametrize(('family', 'address', 'place'), [
    ('socket.AF_INET', '127.0.0.1', '127.0.0.1:{}'), ('socket.AF_INET', '0.0.0.0', '0.0.0.0:{}'),
    ('socket.AF_INET6', '::1', '[::1]:{}'), ('socket.AF_INET6', '::', '[::]:{} and IPv4'),
])
def test_its_own_udp_port_is_shared_as_well(
    start: Start, family: str, address: str, place: str
) -> None:
    port = free_port()
    udp = UDP.format(family=family, address=address, port=port)
    wanted = {f'127.0.0.1:{port}', f'{place.format(port)} by UDP'}
    for ports in ((), (port,)):
        tracer = start(port, udp, *ports, datagrams=port, held=bool(ports))
        until(lambda tracer=tracer: tracer.places() == wanted or tracer.hindrance())
        assert (tracer.places(), tracer.hindrance()) == (wanted, '')


def test_a_udp_port_that_another_program_has_is_not_shared(start: Start, tmp_path: Path) -> None:
    port = free_port()
    udp = UDP.format(family='socket.AF_INET', address='127.0.0.1', port=port)
    with socket.socket(type=socket.SOCK_DGRAM) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(('127.0.0.1', port))
        tracer = start(port, udp, datagrams=port)
        until(lambda: 'Address already in use' in (tmp_path / 'console').read_text())
    assert tracer.hindrance() == f'UDP port {port} is held by another program'
