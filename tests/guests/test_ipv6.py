"""IPv6: addresses, pages, and whether another has the address."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from tests import guests
from tests.guests import peer
from tests.guests.peer import BROADCAST, GUEST6, IPV6, OVERRIDE, Peer, mac
from tests.guests.scene import CACHE, Namespace, Start, needs, run
from tests.patience import PATIENCE, until

pytestmark = needs('gcc', 'ip', 'curl', 'ping', root=True)


@pytest.fixture
def image() -> str:
    return str(guests.build('direct', CACHE))


def test_a_page_over_ipv6_alone(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    run('ip', '-n', namespace.name, 'address', 'add', 'fd77::1/64', 'dev', 'br0', 'nodad')
    start(*namespace.inside, image, '--interface=tap7', '--mac=02:00:00:00:00:aa',
          '--ipv6=fd77:0:0::2/64', '--ipv6-only=true', f'--message={"x" * 8000}')  # fmt: skip
    assert namespace.fetch('http://[fd77::2]:8080/') == f'1 {"x" * 8000}\n200'
    assert namespace.fetch('http://[fe80::ff:fe00:aa%25br0]:8080/').endswith('200')
    run(*namespace.inside, 'ping', '-c', '1', '-W', '60', 'fd77::2')
    assert console() == (
        'Dual TCP/IP stack assembled: mac=02:00:00:00:00:aa,ip=fd77::2/64, fe80::ff:fe00:aa/64\n'
        'listening on 8080/TCP\n'
    )


def test_both_families_at_once(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    run('ip', '-n', namespace.name, 'address', 'add', 'fd77::1/64', 'dev', 'br0', 'nodad')
    start(*namespace.inside, image, '--interface=tap7', '--mac=02:00:00:00:00:aa',
          '--ipv4=10.99.0.2/24', '--ipv6=fd77::2/64')  # fmt: skip
    for address in ('10.99.0.2', '[fd77::2]'):
        assert namespace.fetch(f'http://{address}:8080/') == '1 \n200'
    assert 'ip=10.99.0.2/24, fd77::2/64, fe80::ff:fe00:aa/64\n' in console()


def test_ipv4_alone_has_no_ipv6(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    start(*namespace.inside, image, '--interface=tap7', '--mac=02:00:00:00:00:aa',
          '--ipv4=10.99.0.2/24', '--ipv6=fd77::2/64', '--ipv4-only=true')  # fmt: skip
    until(lambda: 'listening' in console())
    assert 'ip=10.99.0.2/24\n' in console()


def test_another_network_is_answered_through_the_gateway(
    image: str, namespace: Namespace, start: Start
) -> None:
    for line in ('add fd77::1/64 dev br0 nodad', 'add fd78::1/128 dev lo'):
        run('ip', '-n', namespace.name, 'address', *line.split())
    start(*namespace.inside, image, '--interface=tap7', '--ipv6=fd77::2/64',
          '--ipv6-gateway=fd77::1')  # fmt: skip
    namespace.fetch('http://[fd77::2]:8080/')
    far = ('curl', '-s', '--interface', 'fd78::1', 'http://[fd77::2]:8080/')
    got = subprocess.run((*namespace.inside, *far), capture_output=True, timeout=PATIENCE)
    assert got.stdout == b'1 \n'


@pytest.mark.parametrize('arguments', [
    ('--ipv6=fd77::2',), ('--ipv6=fd77:::2/64',), ('--ipv6=1:2:3:4:5:6:7/64',),
    ('--ipv6=1:2:3:4:5:6:7:8:9/64',), ('--ipv6=::1::/64',), ('--ipv6=fd77::2/129',),
    ('--ipv6=fd77:/64',), ('--ipv6=12345::/64',), ('--ipv6-gateway=fd77::1/64',),
    ('--ipv6-only=yes',),
])  # fmt: skip
def test_what_is_no_such_value_is_refused(image: str, arguments: tuple[str, ...]) -> None:
    got = subprocess.run((image, *arguments), capture_output=True, text=True, timeout=PATIENCE)
    name = arguments[0].split('=')[0]
    assert (got.returncode, got.stderr) == (64, f"option '{name}': invalid value\n")


@pytest.mark.parametrize(('given', 'shown'), [
    ('fd77:0:0:1:0:0:0:2', 'fd77:0:0:1::2'),
    ('1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'),
    ('1:0:3:4:5:6:7:8', '1:0:3:4:5:6:7:8'),
    ('FD00::', 'fd00::'),
    ('::1', '::1'),
])  # fmt: skip
def test_an_address_is_shown_in_short(
    namespace: Namespace, start: Start, console: Callable[[], str], image: str, given: str,
    shown: str,
) -> None:  # fmt: skip
    start(*namespace.inside, image, '--interface=tap7', f'--ipv6={given}/64')
    until(lambda: 'listening' in console())
    assert f'ip={shown}/64, fe80' in console()


def test_while_it_looks_for_a_duplicate_it_does_not_serve(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    begin = time.monotonic()
    start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24',
          '--ipv6=fd77::2/64', '--detect-duplicates=true')  # fmt: skip
    until(lambda: 'listening' in console())
    assert time.monotonic() - begin >= 1
    assert namespace.fetch('http://10.99.0.2:8080/') == '1 \n200'


def test_an_address_that_another_has_is_not_taken(
    namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    other = Peer(namespace)
    image = str(guests.build('direct', CACHE, DETECTION_MS=1000_000))
    guest = start(*namespace.inside, image, '--interface=tap7', f'--ipv6={GUEST6}/64',
                  '--detect-duplicates=true')  # fmt: skip
    taken = peer.advertisement(mac(2), GUEST6, OVERRIDE, 'ff02::1')

    def ended() -> bool:
        other.send(BROADCAST, mac(2), IPV6, taken)
        return guest.poll() is not None

    until(ended, pause=0.05)
    assert (guest.returncode, console()) == (
        2, 'Fatal error: exception Failure("IP6 not started, couldn\'t assign IP addresses")\n'
    )  # fmt: skip


def test_one_family_alone_or_the_other(image: str, namespace: Namespace) -> None:
    command = (image, '--interface=tap7', '--ipv4-only=true', '--ipv6-only=true')
    got = subprocess.run((*namespace.inside, *command), capture_output=True, text=True)
    assert (got.returncode, got.stderr) == (
        2,
        'Fatal error: exception Failure("cannot configure stack with both IPv4 only and IPv6 '
        'only")\n',
    )
