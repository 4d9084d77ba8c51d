"""What a visitor notices who asks a port of this host every 2 ms.

MIRAGE_HOOKS_SWITCHES=100 and MIRAGE_HOOKS_BAD=100 set how many; see docs/reliability.md. Images
with an address of their own are in test_overlap."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import guests
from tests.deployment import Deployment
from tests.patience import PATIENCE
from tests.switching.test_next_to import TROUBLE, finish, slow
from tests.visiting import Visiting

pytestmark = pytest.mark.skipif(shutil.which('gcc') is None, reason='not installed: gcc')
SWITCHES = int(os.environ.get('MIRAGE_HOOKS_SWITCHES', '4'))
BAD = int(os.environ.get('MIRAGE_HOOKS_BAD', '3'))
HELD = 3  # connections open at each switch
PAUSE = 0.002  # seconds between two questions

Record = Callable[[str, object], None]


class Visitor(Visiting):
    """Asks `port` all the time while its block runs."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.requests = self.failed = 0
        self.gap = 0.0  # seconds: the longest time from one answer to the next
        self.pages: set[bytes] = set()

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
        if b' 200 ' not in answer[:13]:
            raise OSError(f'answered {answer[:20]!r}')
        return answer.partition(b'\r\n\r\n')[2].split()[0]

    def tell(self, record: Record, what: str) -> None:
        record(what, f'{self.requests} requests, {self.failed} failed, longest gap '
               f'{self.gap * 1000:.0f} ms')


@pytest.fixture
def serving(deployment: Deployment, tmp_path: Path) -> Deployment:
    """A host's clone that serves the C guest."""
    configure(deployment)
    deployment.publish(guest(tmp_path, 0), f'{0:040x}')
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout
    return deployment


def configure(deployment: Deployment, **keys: str) -> None:
    deployment.configure(
        confirm='0s', health={'http': f'http://127.0.0.1:{deployment.port}/'},
        network={'mode': 'socket', 'port': deployment.port, 'ipv4': '127.0.0.1/8'}, **keys)


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
@pytest.mark.parametrize('mode', ['replace', 'overlap'])
def test_a_switch_costs_at_most_one_boot_and_nothing_where_both_can_listen(
    serving: Deployment, tmp_path: Path, record_property: Record, mode: str
) -> None:
    if mode == 'overlap' and TROUBLE:
        pytest.skip(TROUBLE)
    configure(serving, switch=mode, drain='2s')
    took = []
    with Visitor(serving.port) as visitor:
        for number in range(1, SWITCHES + 1):
            serving.publish(guest(tmp_path, number), f'{number:040x}')
            began = time.monotonic()
            done = serving.mirage('pull', '--quiet')
            took.append(time.monotonic() - began)
            assert done.returncode == 0, done.stdout
        time.sleep(0.2)
    visitor.tell(record_property, f'{SWITCHES} switches of unix/socket by `{mode}`')
    assert visitor.pages == {b'version-0', b'version-1'}
    if mode == 'overlap':
        assert visitor.failed == 0
    else:
        # The boot is a part of the deployment; twice, for a visitor that has to wait for its turn.
        assert visitor.gap < 2 * max(took)


@pytest.mark.skipif(bool(TROUBLE), reason=TROUBLE or 'nothing')
def test_connections_that_are_open_at_a_switch_are_answered(
    deployment: Deployment, record_property: Record
) -> None:
    deployment.publish(slow('version-0'), f'{0:040x}')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    answers = []
    with Visitor(deployment.port) as visitor:
        for number in range(1, SWITCHES + 1):
            deployment.publish(slow(f'version-{number}'), f'{number:040x}')
            held = [socket.create_connection(('127.0.0.1', deployment.port)) for _ in range(HELD)]
            done = deployment.mirage('pull', '--quiet')
            assert done.returncode == 0, done.stdout
            answers += [finish(one) == f'version-{number - 1}' for one in held]
            for one in held:
                one.close()
    what = f'{SWITCHES} switches of a threaded image, connections held open'
    visitor.tell(record_property, what)
    record_property('the same, held open', f'{len(answers)}, {answers.count(False)} broken')
    assert (visitor.failed, answers) == (0, [True] * HELD * SWITCHES)


@pytest.mark.parametrize(('kind', 'image'), [
    ('that end', '#!/bin/sh\nexit 3\n'),
    ('that listen and end', slow('bad', after='import os; os._exit(3)').decode()),
    ('that end when they are asked',
     slow('bad', before='import os').replace(b'visitor.sendall', b'os._exit(3) or print').decode()),
])
def test_bad_images_in_a_row_cost_no_request(
    serving: Deployment, record_property: Record, kind: str, image: str
) -> None:
    before = serving.processes()
    with Visitor(serving.port) as visitor:
        for number in range(1, BAD + 1):
            serving.publish(f'{image}# {number}\n'.encode(), f'{number:040x}')
            done = serving.mirage('pull', '--quiet')
            assert done.returncode == 1
            assert 'ended with exit code 3' in done.stdout + done.stderr
    visitor.tell(record_property, f'{BAD} bad images in a row, {kind}')
    assert (visitor.failed, visitor.pages) == (0, {b'version-0'})
    assert serving.processes() == before
