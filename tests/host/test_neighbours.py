"""Who has an address: asked and told for real, of this kernel in two namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import wired
from tests.deployment import run
from tests.wired import act

pytestmark = pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')
MAC = '02:00:00:00:00:aa'
ADDRESSES = ('10.8.0.1', 'fd08::1', 'fe80::8')


class Link:
    """`here` and `there`, a namespace each, and a link between them; there has ADDRESSES."""

    here, there = f'mhn{os.getpid()}', f'mhm{os.getpid()}'

    def inside(self, name: str, *command: str) -> str:
        return act('ip', 'netns', 'exec', name, *command).strip()

    def asked(self, call: str) -> str:
        """What `call` of neighbours comes to, here."""
        return self.inside(
            self.here, sys.executable, '-Ic',
            f'from mirage_hooks.host import neighbours; print(neighbours.{call})',
        )


@pytest.fixture(scope='module')
def link() -> Iterator[Link]:
    made = Link()
    try:
        for name in (made.here, made.there):
            act('ip', 'netns', 'add', name)
        act('ip', '-n', made.here, 'link', 'add', 'port', 'type', 'veth', 'peer', 'name', 'eth0',
            'address', MAC, 'netns', made.there)
        act('ip', '-n', made.here, 'link', 'set', 'port', 'up')
        act('ip', '-n', made.there, 'link', 'set', 'eth0', 'up')
        for address, length in zip(ADDRESSES, (24, 64, 64), strict=True):
            nodad = ['nodad'] if ':' in address else []
            act('ip', '-n', made.there, 'addr', 'add', f'{address}/{length}', 'dev', 'eth0', *nodad)
        yield made
    finally:
        for name in (made.here, made.there):
            act('ip', 'netns', 'delete', name)


@pytest.mark.parametrize('address', ADDRESSES)
def test_a_neighbour_says_its_hardware_address(link: Link, address: str) -> None:
    assert link.asked(f'ask("port", "{address}", 60)') == MAC


@pytest.mark.parametrize('address', ['10.8.0.2', 'fd08::2'])
def test_an_address_of_nobody_is_asked_for_in_vain(link: Link, address: str) -> None:
    assert link.asked(f'ask("port", "{address}", 0.3)') == ''


@pytest.mark.parametrize('address', ['10.8.0.7', 'fd08::7'])
def test_whoever_knows_another_hardware_address_learns_the_one_that_is_told(
    link: Link, address: str
) -> None:
    # `override` and gratuitous ARP change what is known, and make nothing known.
    link.inside(link.there, 'ip', 'neigh', 'replace', address, 'lladdr', '02:00:00:00:00:01',
                'dev', 'eth0', 'nud', 'stale')
    link.asked(f'announce("port", "{address}", "02:00:00:00:00:02")')
    known = json.loads(link.inside(link.there, 'ip', '-j', 'neigh', 'show', address))
    assert [one['lladdr'] for one in known] == ['02:00:00:00:00:02']


def test_on_an_interface_that_is_down_nobody_can_be_asked(link: Link) -> None:
    link.inside(link.here, 'ip', 'link', 'add', 'br9', 'type', 'bridge')
    said = run(
        'ip', 'netns', 'exec', link.here, sys.executable, '-Ic',
        'from mirage_hooks.host import neighbours; neighbours.ask("br9", "10.8.0.1")',
        cwd=Path('/'),
    ).stderr.splitlines()[-1]
    assert said == ('mirage_hooks.messages.errors.Unavailable: '
                    'cannot speak to the neighbours on br9: '
                    'Network is down')


@pytest.mark.parametrize('mac', ['01:00:5e:00:00:01', '00:00:00:00:00:00'])
def test_an_address_of_a_group_is_nobodys(link: Link, mac: str) -> None:
    link.inside(link.there, 'ip', 'addr', 'add', '10.8.0.6/24', 'dev', 'eth0')
    try:
        answer = ('import socket, sys, time\n'
                  'wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))\n'
                  'wire.bind(("eth0", 0x0806)); mac = bytes.fromhex(sys.argv[1])\n'
                  'while True:\n'
                  '    frame = wire.recv(99)\n'
                  '    if frame[20:22] == b"\\0\\1": wire.send(frame[6:12] + b"\\2" * 6 + '
                  'frame[12:21] + b"\\2" + mac + frame[38:42] + frame[22:32])\n')
        with subprocess.Popen(('ip', 'netns', 'exec', link.there, sys.executable, '-Ic', answer,
                               mac.replace(':', ''))) as stranger:
            try:
                found = link.asked('answers("port", ("10.8.0.6",), 1.0)["10.8.0.6"]')
            finally:
                stranger.kill()
    finally:
        link.inside(link.there, 'ip', 'addr', 'del', '10.8.0.6/24', 'dev', 'eth0')
    assert found == f"frozenset({{'{MAC}'}})"


def test_who_is_asked_by_a_neighbour_learns_its_hardware_address(link: Link) -> None:
    link.asked('introduce("port", "fd08::5", "02:00:00:00:00:05", "fd08::1")')
    known = json.loads(link.inside(link.there, 'ip', '-j', 'neigh', 'show', 'fd08::5'))
    assert [one['lladdr'] for one in known] == ['02:00:00:00:00:05']
