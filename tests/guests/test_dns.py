"""The name server that a guest is with --dns, asked by kdig."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import guests
from tests.deployment import free_port
from tests.guests.scene import CACHE, SBIN, Namespace, Start, needs
from tests.guests.test_virtio import on_tap
from tests.patience import until

pytestmark = needs('gcc', 'kdig')

Dig = Callable[..., str]
"""What kdig prints for its arguments."""


@pytest.fixture(params=['socket', 'direct', 'IPv6'])
def dig(
    request: pytest.FixtureRequest, start: Start, console: Callable[[], str]
) -> Dig:
    """Asks a guest that is the name server of example.org."""
    shape, inside = 'direct', tuple[str, ...]()
    if request.param == 'socket':
        shape, place = 'socket', (f'--port={free_port()}', '--ipv4=127.0.0.1/8')
        server = ('@127.0.0.1', '-p', place[0].partition('=')[2])
    else:
        if os.geteuid() != 0:
            pytest.skip('needs root')
        namespace: Namespace = request.getfixturevalue('namespace')
        inside = namespace.inside
        if request.param == 'IPv6':
            subprocess.run(('ip', '-n', namespace.name, 'addr', 'add', 'fd99::1/64', 'dev', 'br0',
                            'nodad'), check=True, env={**os.environ, 'PATH': SBIN})
        place = ('--interface=tap7', '--ipv4=10.99.0.2/24', '--ipv6=fd99::2/64', '--port=53')
        server = ('@fd99::2' if request.param == 'IPv6' else '@10.99.0.2',)
    image = str(guests.build(shape, CACHE, version='7'))
    start(*inside, image, *place, '--dns=example.org', '--message=hello')
    until(lambda: 'listening' in console())

    def asked(*arguments: str) -> str:
        done = subprocess.run((*inside, 'kdig', *server, '+retry=20', *arguments), text=True,
                              capture_output=True)
        assert done.returncode == 0, done
        return done.stdout

    return asked


@pytest.mark.parametrize('way', ['+notcp', '+tcp'])
@pytest.mark.parametrize(('question', 'answer'), [
    ('www.example.org A', '192.0.2.80\n'),
    ('WWW.Example.ORG. AAAA', '2001:db8::80\n'),
    ('version.example.org TXT', '"7 hello"\n'),
    ('example.org NS', 'ns.example.org.\n'),
    ('example.org SOA', 'ns.example.org. admin.example.org. 1 60 60 60 60\n'),
])
def test_it_answers(dig: Dig, way: str, question: str, answer: str) -> None:
    assert dig('+short', way, *question.split()) == answer


@pytest.mark.parametrize(('question', 'status', 'authority'), [
    ('www.example.org MX', 'NOERROR', True),
    ('nobody.example.org A', 'NXDOMAIN', True),
    ('a.www.example.org A', 'NXDOMAIN', True),
    ('www.example.net A', 'REFUSED', False),
    ('example.organ A', 'REFUSED', False),
    ('org A', 'REFUSED', False),
    ('. NS', 'REFUSED', False),
])
def test_what_it_does_not_have_it_says(
    dig: Dig, question: str, status: str, authority: bool
) -> None:
    said = dig(*question.split())
    assert f'status: {status};' in said
    assert (' aa' in re.findall('Flags:(.*?);', said)[0], 'SOA' in said) == (authority, authority)
    assert 'ANSWER: 0;' in said


def test_what_is_too_long_for_a_datagram_is_cut_and_whole_by_a_stream(dig: Dig) -> None:
    cut = dig('+notcp', '+ignore', 'big.example.org', 'TXT')
    assert (' tc' in cut, 'ANSWER: 0;' in cut) == (True, True)
    assert dig('+short', 'big.example.org', 'TXT').count('sixty bytes') == 16


def test_what_is_no_zone_is_no_option(tmp_path: Path) -> None:
    image = str(guests.build('socket', CACHE))
    for zone in ('', 'a..b', '.', f'{"x" * 64}.org'):
        done = subprocess.run((image, f'--dns={zone}'), capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (64, "option '--dns': invalid value\n")


@needs('qemu-system-x86_64', root=True)
def test_it_answers_under_qemu(namespace: Namespace, start: Start) -> None:
    image = str(guests.build('virtio', CACHE))
    start(*namespace.inside, *on_tap(image, '--ipv4=10.99.0.2/24 --port=53 --dns=example.org'))
    for way in ('+notcp', '+tcp'):
        asked = ('kdig', '@10.99.0.2', '+short', '+retry=60', way, 'www.example.org')
        until(lambda asked=asked: subprocess.run(
            (*namespace.inside, *asked), text=True, capture_output=True).stdout == '192.0.2.80\n')
