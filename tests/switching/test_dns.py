"""A name server is switched, and no question goes unanswered, by UDP or by TCP.

MIRAGE_HOOKS_SWITCHES says how many switches the long tests take."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tests import wired
from tests.deployment import Deployment
from tests.digging import Visitors
from tests.patience import until
from tests.switching.test_next_to import TROUBLE, listening

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
