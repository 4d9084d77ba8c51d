"""What a DHCP server is asked, from a port of our own on its bridge: whoever serves there never
notices."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirage_hooks.host import dhcp as messages
from mirage_hooks.host import leases
from tests import dhcp, wired
from tests.deployment import run
from tests.host.test_dhcp import OFFERED, SERVER_MAC, reply
from tests.patience import PATIENCE, until
from tests.wired import act

pytestmark = pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')
SOON = 1.5  # seconds: as long as a test wants to wait for nothing
OWNER, MAC = '0123456789abcdef', '02:00:00:00:00:11'
TWO = """
import sys
from mirage_hooks.host import leases, network
from mirage_hooks.messages import errors
leases.WITHIN = float(sys.argv[3])
client = leases.Client('0123456789abcdef', 'br0', '02:00:00:00:00:11', sys.argv[1])
try:
    print(leases.offered(client, sys.argv[2]).address)
except errors.Unavailable as missing:
    print(missing)
print(network.port_of(client.mac, 'br0'))
"""

LIAR = """
import json, sys
from mirage_hooks.host import dhcp, leases
with leases.opened('eth0', dhcp.SERVER) as link:
    print('here', flush=True)
    while True:
        for asked in leases.heard([link], 600, dhcp.SERVER):
            for source, body in json.loads(sys.argv[1]):
                whole = bytearray.fromhex(body)
                if whole[4:8] == b'abcd':
                    whole[4:8] = asked.transaction
                ends = bytes.fromhex('0a090009'), b'\\xff' * 4
                leases.send(link, dhcp.framed(
                    bytes.fromhex(source), dhcp.BROADCAST, ends, (67, 68), bytes(whole)))
"""
"""Answers each question with all that it is given, from the hardware address next to it."""
RENEW = """
import sys
from mirage_hooks.host import dhcp, leases
from mirage_hooks.messages import errors
leases.WITHIN = float(sys.argv[1])
client = leases.Client('0123456789abcdef', 'br0', '02:00:00:00:00:11')
lease = dhcp.Lease('10.9.0.50/24', '', '10.9.0.9', '02:00:00:00:00:fe', b'')
try:
    leases.renew(client, lease, dhcp.Message(b'', b'', {}))
    print('renewed')
except errors.Unavailable as missing:
    print(missing)
"""


def test_its_port_is_made_so_that_the_bridge_keeps_its_address_and_learns_nothing() -> None:
    assert leases.outside(OWNER, 'br0', '/proc/1/fd/9') == (
        'link add mh-01234567-d type veth peer name mh-01234567-e netns /proc/1/fd/9\n'
        'link set dev mh-01234567-d alias "mirage-hooks 0123456789abcdef" address '
        'fe:ff:ff:ff:ff:ff addrgenmode none master br0\n'
        'link set dev mh-01234567-d type bridge_slave learning off\n'
        'link set dev mh-01234567-d up\n'
    )


class Host:
    """A bridge in a namespace, with a wire to another one that has MAC."""

    here, there = f'mhl{os.getpid()}', f'mhs{os.getpid()}'

    def asked(self, there: str = '', wanted: str = '', within: float = SOON) -> list[str]:
        """What is offered, and behind which port the bridge knows MAC afterwards."""
        return act(*self.inside(self.here), sys.executable, '-Ic', TWO, there, wanted,
                   str(within)).splitlines()

    def inside(self, name: str) -> tuple[str, ...]:
        return ('ip', 'netns', 'exec', name)


@contextlib.contextmanager
def liar(host: Host, *answers: tuple[bytes, bytes]) -> Iterator[None]:
    told = json.dumps([(source.hex(), body.hex()) for source, body in answers])
    with subprocess.Popen(
        (*host.inside(host.there), sys.executable, '-Ic', LIAR, told), stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout and process.stdout.readline() == b'here\n'
        try:
            yield
        finally:
            process.kill()


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    try:
        for name in (made.here, made.there):
            act('ip', 'netns', 'add', name)
        for line in (
            'link set lo up', 'link add br0 type bridge forward_delay 0',
            'addr add 10.9.0.9/24 dev br0', 'link set br0 up',
            f'link add port type veth peer name eth0 address {MAC} netns {made.there}',
            'link set port master br0 up',
        ):
            act('ip', '-n', made.here, *line.split())
        for line in ('addr add 10.9.0.50/24 dev eth0', 'link set eth0 up'):
            act('ip', '-n', made.there, *line.split())
        act(*made.inside(made.there), 'ping', '-q', '-c1', '-W20', '10.9.0.9')
        yield made
    finally:
        for name in (made.here, made.there):
            run('ip', 'netns', 'delete', name, cwd=Path('/'))


def test_without_a_server_that_is_said_and_the_bridge_knows_the_same_as_before(host: Host) -> None:
    assert host.asked('port') == [f'no DHCP server on br0 answers for {MAC}', 'port']
    assert 'mh-' not in act('ip', '-n', host.here, 'link')


@pytest.mark.parametrize('name', dhcp.SERVERS)
def test_what_a_server_offers_is_heard_whomever_it_sends_it_to(
    host: Host, tmp_path: Path, name: str
) -> None:
    if lacking := dhcp.missing(name):
        pytest.skip(lacking)
    server = dhcp.SERVERS[name](host.inside(host.here), 'br0', tmp_path)
    try:
        # It takes a while to start.
        until(lambda: not host.asked('port')[0].startswith('no DHCP server'))
        assert host.asked('port', dhcp.ADDRESS, PATIENCE) == [f'{dhcp.ADDRESS}/24', 'port']
        assert host.asked('port', dhcp.OTHER)[0] == f'{dhcp.ADDRESS}/24'
    finally:
        server.end()
    assert server.until() == 0  # nothing was leased


CLIENT = bytes.fromhex(MAC.replace(':', ''))
STRAY = bytes(reply(address='10.9.0.77')).replace(b'abcd', b'zzzz', 1)
FOREIGN = bytes(reply(address='10.9.0.78')).replace(CLIENT, b'\2' * 6, 1)


BUSY = """
import select, socket
from mirage_hooks.host import leases
with leases.opened('lo', 68, leases.ALL) as link, socket.socket(type=socket.SOCK_DGRAM) as sending:
    for port in (67, 68):
        sending.sendto(b'x', ('127.0.0.1', port))
        print(port, bool(select.select([link], (), (), 0)[0]))
"""


def test_what_else_goes_over_a_busy_interface_takes_no_room(host: Host) -> None:
    said = act(*host.inside(host.here), sys.executable, '-Ic', BUSY)
    assert said.split('\n') == ['67 False', '68 True', '']


def test_what_is_not_an_answer_to_us_is_left_alone(host: Host) -> None:
    with liar(
        host, (SERVER_MAC, b'noise'), (SERVER_MAC, STRAY), (SERVER_MAC, FOREIGN),
        (CLIENT, reply(address='10.9.0.79')), (SERVER_MAC, reply(address='10.9.0.9')),
        (SERVER_MAC, reply(messages.ACK, '10.9.0.80')), (SERVER_MAC, reply()),
    ):
        assert host.asked(within=PATIENCE) == ['10.9.0.50/24', 'port']


NO = {messages.WHO: b'\x0a\x09\x00\x08'}


@pytest.mark.parametrize(('answers', 'said', 'within'), [
    ([reply(messages.NAK, options=NO), reply(messages.ACK)], 'renewed', PATIENCE),
    ([reply(messages.NAK)], 'the DHCP server 10.9.0.9 takes 10.9.0.50 back', PATIENCE),
    ([reply(messages.ACK, '10.9.0.51'), reply(messages.ACK, options={**OFFERED, **NO})],
     'the DHCP server 10.9.0.9 does not lease 10.9.0.50 again', SOON),
])
def test_a_lease_is_renewed_by_its_own_server_alone(
    host: Host, answers: list[bytes], said: str, within: float
) -> None:
    with liar(host, *((SERVER_MAC, one) for one in answers)):
        told = act(*host.inside(host.here), sys.executable, '-Ic', RENEW, str(within))
        assert told.strip() == said
