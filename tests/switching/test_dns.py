"""A name server is switched, and no question goes unanswered, by UDP or by TCP.

MIRAGE_HOOKS_SWITCHES says how many switches the long tests take."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirage_hooks.host import processes
from tests import guests, wired
from tests.deployment import PYTHON, Deployment
from tests.digging import Visitors
from tests.patience import until
from tests.switching.test_next_to import TROUBLE, listening
from tests.switching.test_overlap import emulated
from tests.wired import CACHE

LONG = int(os.environ.get('MIRAGE_HOOKS_SWITCHES', '20'))
pytestmark = pytest.mark.skipif(shutil.which('kdig') is None or shutil.which('gcc') is None,
                                reason='not installed: kdig or gcc')
shared = pytest.mark.skipif(bool(TROUBLE), reason=TROUBLE or 'nothing')
on_wire = pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')
ZONE = '--dns=example.org'
ASKED = {'name': 'version.example.org', 'type': 'TXT'}

Record = Callable[[str, object], None]


def configure(deployment: Deployment, **keys: Any) -> None:
    deployment.configure(**{
        'network': {'mode': 'socket', 'port': deployment.port, 'ipv4': '127.0.0.1/8'},
        'arguments': [ZONE], 'health': {'dns': ASKED, 'within': '20s'}, 'confirm': '0s',
        'drain': '1s', **keys})


def published(deployment: Deployment, number: int, image: bytes = b'') -> Any:
    """What pulling release `number` came to."""
    deployment.publish(image or wired.guest(number, 'socket'), f'{number:040x}')
    return deployment.mirage('pull')


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    """A host whose name server is on a port of it."""
    configure(deployment)
    deployment.publish(wired.guest(1, 'socket'), f'{1:040x}')
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout
    return deployment


@shared
@pytest.mark.parametrize('switches', [5, pytest.param(LONG, marks=pytest.mark.long)])
def test_on_a_port_of_this_host_no_question_goes_unanswered(
    serving: Deployment, record_property: Record, switches: int
) -> None:
    with Visitors('127.0.0.1', serving.port).asking() as visitors:
        for number in range(2, switches + 2):
            done = published(serving, number)
            assert f'new connections go to release {number}' in done.stdout, done.stdout
        until(lambda: listening(serving) == [switches + 1])
    record_property(f'{switches} switches of unix/socket', visitors.asked)
    assert visitors.unanswered == []
    assert visitors.texts == {f'release-{number:04}' for number in range(1, switches + 2)}


def wrong(number: int, kind: str = 'socket') -> bytes:
    """One whose zone has another name than it is asked for."""
    return wired.guest(number, kind).replace(b'version\0', b'release\0')


@shared
def test_on_a_port_of_this_host_a_bad_one_gets_no_question(serving: Deployment) -> None:
    configure(serving, health={'dns': ASKED, 'within': '1s'})
    with Visitors('127.0.0.1', serving.port).asking() as visitors:
        done = published(serving, 2, wrong(2))
        assert done.returncode == 1
        bad = published(serving, 3, guests.build('socket', CACHE, fail='CRASH').read_bytes())
        assert bad.returncode == 1
    assert (f'version.example.org TXT of 127.0.0.1:{serving.port} answered by UDP NXDOMAIN '
            '(NOERROR wanted) within 1s') in done.stdout
    assert (visitors.unanswered, visitors.texts) == ([], {'release-0001'})
    assert listening(serving) == [1]


@shared
def test_what_is_drained_answers_when_the_live_one_crashes_and_after_a_rollback(
    serving: Deployment
) -> None:
    configure(serving, drain='60s')
    for number in (2, 3):
        assert published(serving, number).returncode == 0
    with Visitors('127.0.0.1', serving.port).asking() as visitors:
        assert serving.mirage('rollback', 'www').returncode == 0
        until(lambda: visitors.dug > 20)
    assert (visitors.unanswered, 'release-0002' in visitors.texts) == ([], True)
    assert listening(serving) == [1, 2, 3]
    serving.dismiss()
    processes.end([one for folder, one in serving.processes() if folder.name == '2'])
    with Visitors('127.0.0.1', serving.port).asking() as visitors:
        until(lambda: visitors.dug > 20)
    assert (visitors.unanswered, visitors.texts <= {'release-0001', 'release-0003'}) == ([], True)


@shared
def test_by_datagrams_alone_the_old_one_stops_first_and_it_is_said(deployment: Deployment) -> None:
    image = (f'#!{PYTHON} -IS\nimport socket, sys\n'
             'one = socket.socket(type=socket.SOCK_DGRAM)\n'
             'port = [word[7:] for word in sys.argv if word.startswith("--port=")][0]\n'
             'one.bind(("127.0.0.1", int(port)))\nprint("ready", flush=True)\n'
             'while True: one.recv(512)\n')
    configure(deployment, arguments=[], health={'console': 'ready'})
    deployment.publish(image.encode(), f'{1:040x}')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    done = published(deployment, 2, f'{image}# 2'.encode())
    assert done.returncode == 0, done.stdout
    assert ('release 2 cannot listen next to release 1: release 1 does not listen on TCP port '
            f'{deployment.port}') in done.stdout


class Served(wired.Wired):
    """A name server on a bridge, beyond which lies a gateway."""

    def __init__(self, folder: Path, kind: str, family: int = 4) -> None:
        self.kind, self.family = kind, family
        super().__init__(folder)
        self.route()
        wired.act('ip', '-n', self.inner, 'addr', 'add', 'fd09::1/64', 'dev', 'br0', 'nodad')

    @property
    def address(self) -> str:
        return wired.ADDRESS if self.family == 4 else wired.ADDRESS6

    def configure(self, text: str = '', **keys: Any) -> None:
        network = {'mode': 'static', 'bridge': 'br0'}
        network |= ({'ipv4': f'{wired.ADDRESS}/24', 'gateway': wired.ROUTER} if self.family == 4
                    else {'ipv6': f'{wired.ADDRESS6}/64', 'ipv6_gateway': wired.ROUTER6})
        tender = {} if self.kind != 'virtio' else {'tender': str(emulated(self.folder))}
        super().configure(text, **tender, **{
            'network': network, 'arguments': ['--port=53', ZONE], 'memory': 64, 'drain': '1s',
            'health': {'dns': ASKED, 'within': '60s'}, **keys})

    def release(self, image: bytes | None = None) -> None:
        super().release(wired.guest(self.version + 1, self.kind) if image is None else image)

    def visitors(self) -> list[Visitors]:
        """On the wire, on the host itself, and beyond the gateway."""
        beyond = wired.BEYOND if self.family == 4 else wired.BEYOND6
        return [Visitors(self.address, 53, self.outside()),
                Visitors(self.address, 53, self.inside()),
                Visitors(self.address, 53, self.outside(), beyond)]


@pytest.fixture(params=['direct'])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path, *(request.param if isinstance(request.param, tuple)
                              else (request.param,)))
    try:
        made.start()
        yield made
    finally:
        made.end()


@on_wire
@pytest.mark.parametrize(('served', 'switches'), [
    ('direct', 5), (('direct', 6), 2), pytest.param('direct', LONG, marks=pytest.mark.long),
    pytest.param('virtio', 5, marks=pytest.mark.long),
], indirect=['served'], ids=['direct', 'IPv6', 'direct, many', 'virtio'])
def test_on_a_bridge_no_question_goes_unanswered(
    served: Served, record_property: Record, switches: int
) -> None:
    with contextlib.ExitStack() as kept:
        visitors = [kept.enter_context(one.asking()) for one in served.visitors()]
        for number in range(2, switches + 2):
            served.release()
            done = served.mirage('pull')
            assert f'new connections go to release {number}' in done.stdout, done.stdout
        served.drained()
    for one in visitors:
        record_property(f'{switches} switches of {served.kind}', one.asked)
    assert [one.unanswered for one in visitors] == [[], [], []]
    for one in visitors:
        assert one.texts == {f'release-{number:04}' for number in range(1, switches + 2)}


@on_wire
def test_on_a_bridge_a_bad_one_gets_no_question(served: Served) -> None:
    served.configure(health={'dns': ASKED, 'within': '1s'})
    with contextlib.ExitStack() as kept:
        visitors = [kept.enter_context(one.asking()) for one in served.visitors()]
        served.release(wrong(2, 'direct'))
        done = served.mirage('pull')
        assert done.returncode == 1
    assert (f'version.example.org TXT of {wired.ADDRESS}:53 answered by UDP NXDOMAIN (NOERROR '
            'wanted) within 1s') in done.stdout
    assert [(one.unanswered, one.texts) for one in visitors] == [([], {'release-0001'})] * 3


@on_wire
def test_what_serves_is_asked_by_check_and_status(served: Served) -> None:
    said = served.mirage('check').stdout
    assert f'version.example.org TXT of {wired.ADDRESS}:53 answers, after ' in said
    assert '"ms":' in served.mirage('status', '--json').stdout
