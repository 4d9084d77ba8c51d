"""What a visitor notices who asks every 2 ms, where a port has room for one release at a time.

MIRAGE_HOOKS_SWITCHES=100 and MIRAGE_HOOKS_BAD=100 set how many; see docs/reliability.md. The mode
in which nothing is noticed is in test_overlap."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import guests
from tests.deployment import Deployment
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(shutil.which('gcc') is None, reason='not installed: gcc')
SWITCHES = int(os.environ.get('MIRAGE_HOOKS_SWITCHES', '4'))
BAD = int(os.environ.get('MIRAGE_HOOKS_BAD', '3'))
PAUSE = 0.002  # seconds between two questions

Record = Callable[[str, object], None]


class Visitor(threading.Thread):
    """Asks `port` all the time while its block runs."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.over = port, threading.Event()
        self.requests = self.failed = 0
        self.gap = 0.0  # seconds: the longest time from one answer to the next
        self.pages: set[bytes] = set()

    def __enter__(self) -> Visitor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        answered = time.monotonic()
        while not self.over.wait(PAUSE):
            self.requests += 1
            try:
                self.pages.add(self.ask())
            except OSError:
                self.failed += 1
                continue
            now = time.monotonic()
            self.gap, answered = max(self.gap, now - answered), now

    def ask(self) -> bytes:
        """The first word of the page; raises OSError for anything but a whole answer."""
        with socket.create_connection(('127.0.0.1', self.port), PATIENCE) as connection:
            connection.sendall(b'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
            answer = b''
            while piece := connection.recv(65536):
                answer += piece
        if not answer.startswith(b'HTTP/1.1 200 '):
            raise OSError(f'answered {answer[:20]!r}')
        return answer.partition(b'\r\n\r\n')[2].split()[0]

    def tell(self, record: Record, what: str) -> None:
        record(what, f'{self.requests} requests, {self.failed} failed, longest gap '
               f'{self.gap * 1000:.0f} ms')


@pytest.fixture
def serving(deployment: Deployment, tmp_path: Path) -> Deployment:
    """A host's clone that serves the C guest."""
    deployment.configure(confirm='0s', network={
        'mode': 'socket', 'port': deployment.port, 'ipv4': '127.0.0.1/8'})
    deployment.publish(guest(tmp_path, 0), f'{0:040x}')
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout
    return deployment


def guest(folder: Path, number: int) -> bytes:
    """One of two guests, in turn."""
    return guests.build('socket', folder / 'guests', version=f'version-{number % 2}').read_bytes()


def test_a_control_run_without_a_switch_loses_nothing(
    serving: Deployment, record_property: Record
) -> None:
    with Visitor(serving.port) as visitor:
        time.sleep(1 + SWITCHES / 20)
    visitor.tell(record_property, 'control run, no switch')
    assert (visitor.failed, visitor.pages) == (0, {b'version-0'})


@pytest.mark.proves('unix/socket', "the host's port", 'switched under load by `mirage-hooks pull`; '
                    'pages fetched')
def test_a_switch_in_one_port_costs_as_little_as_one_boot(
    serving: Deployment, tmp_path: Path, record_property: Record
) -> None:
    took = []
    with Visitor(serving.port) as visitor:
        for number in range(1, SWITCHES + 1):
            serving.publish(guest(tmp_path, number), f'{number:040x}')
            began = time.monotonic()
            done = serving.mirage('pull', '--quiet')
            took.append(time.monotonic() - began)
            assert done.returncode == 0, done.stdout
        time.sleep(0.2)
    visitor.tell(record_property, f'{SWITCHES} switches of unix/socket by `replace`')
    assert visitor.pages == {b'version-0', b'version-1'}
    # The boot is a part of the deployment; twice, for a visitor that has to wait for its turn.
    assert visitor.gap < 2 * max(took)


def test_bad_images_in_a_row_cost_no_request(
    serving: Deployment, record_property: Record
) -> None:
    before = serving.processes()
    with Visitor(serving.port) as visitor:
        for number in range(1, BAD + 1):
            serving.publish(b'#!/bin/sh\nexit %d\n' % (number % 250 + 3), f'{number:040x}')
            assert serving.mirage('pull', '--quiet').returncode == 1
    visitor.tell(record_property, f'{BAD} bad images in a row')
    assert (visitor.failed, visitor.pages) == (0, {b'version-0'})
    assert serving.processes() == before
