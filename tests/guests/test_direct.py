"""unix/direct: a stack of its own, on a tap in a network namespace."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests import guests
from tests.guests.scene import CACHE, Namespace, Start, needs, run
from tests.patience import PATIENCE, until

pytestmark = needs('gcc', 'ip', 'curl', 'setpriv', root=True)

# every fifth IPv4 frame lost, on its way to the guest and from it
LOSSY = """
add table netdev lossy
add chain netdev lossy from { type filter hook ingress device tap7 priority 0; }
add chain netdev lossy to { type filter hook egress device tap7 priority 0; }
add rule netdev lossy from meta protocol ip numgen random mod 5 == 0 drop
add rule netdev lossy to meta protocol ip numgen random mod 5 == 0 drop
"""


@pytest.fixture
def image() -> str:
    return str(guests.build('direct', CACHE))


# no capability at all: the tap is ours and up
bare = ('setpriv', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs')


def test_serves_on_a_ready_tap_without_privilege(
    namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    # A strict one dies when it looks before the kernel says RUNNING.
    image = str(guests.build('direct', CACHE, STRICT_TAP=0))
    start(*namespace.inside, *bare, image, '--interface=tap7', '--ipv4=10.99.0.2/24',
          '--mac=02:00:00:00:00:aa', '--message=direct', '--ipv4-only=true')  # fmt: skip
    assert namespace.fetch('http://10.99.0.2:8080/') == '1 direct\n200'
    assert console() == (
        'Dual TCP/IP stack assembled: mac=02:00:00:00:00:aa,ip=10.99.0.2/24\n'
        'listening on 8080/TCP\n'
    )


def test_raises_a_tap_that_is_down(image: str, namespace: Namespace, start: Start) -> None:
    run('ip', '-n', namespace.name, 'link', 'set', 'tap7', 'down')
    start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24')
    assert namespace.fetch('http://10.99.0.2:8080/') == '1 \n200'


def failure(*command: str) -> tuple[int, str]:
    got = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    return got.returncode, got.stderr


def exception(what: str) -> tuple[int, str]:
    return 2, f'Fatal error: exception Failure("tun[{what}")\n'


def test_a_tap_that_is_down_needs_privilege(image: str, namespace: Namespace) -> None:
    run('ip', '-n', namespace.name, 'link', 'set', 'tap7', 'down')
    assert failure(*namespace.inside, *bare, image, '--interface=tap7') == exception(
        'set_up_and_running SIOCSIFFLAGS]: Operation not permitted'
    )


def test_a_tap_that_is_not_there_needs_privilege(image: str, namespace: Namespace) -> None:
    assert failure(*namespace.inside, *bare, image, '--interface=tap8') == exception(
        'TUNSETIFF]: Operation not permitted'
    )


def not_yet_running(namespace: Namespace) -> None:
    # what lasts for a moment on any tap that was just opened, for good
    run('ip', '-n', namespace.name, 'link', 'set', 'tap7', 'mode', 'dormant')


def test_a_strict_one_dies_of_a_tap_that_does_not_run_yet(namespace: Namespace) -> None:
    strict = str(guests.build('direct', CACHE, STRICT_TAP=1))
    not_yet_running(namespace)
    assert failure(*namespace.inside, *bare, strict, '--interface=tap7') == exception(
        'set_up_and_running SIOCSIFFLAGS]: Operation not permitted'
    )


@pytest.mark.parametrize(('strict', 'rights'), [(0, bare), (1, ())])
def test_another_starts_on_it(
    namespace: Namespace, start: Start, console: Callable[[], str], strict: int,
    rights: tuple[str, ...],
) -> None:  # fmt: skip
    image = str(guests.build('direct', CACHE, STRICT_TAP=strict))
    not_yet_running(namespace)
    start(*namespace.inside, *rights, image, '--interface=tap7', '--ipv4=10.99.0.2/24')
    until(lambda: 'listening' in console())


def test_the_mac_is_random_at_each_start(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    macs = set()
    for _ in range(2):
        guest = start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24')
        until(lambda: 'assembled' in console())
        macs.add(console().split('mac=')[1].split(',')[0])
        guest.terminate()
        guest.wait()
    assert len(macs) == 2


def test_an_eight_kilobyte_answer_arrives_whole(
    image: str, namespace: Namespace, start: Start
) -> None:
    message = 'x' * 8000
    start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24',
          f'--message={message}')  # fmt: skip
    assert namespace.fetch('http://10.99.0.2:8080/') == f'1 {message}\n200'


@needs('nft')
def test_a_lossy_wire_delays_and_loses_nothing(
    image: str, namespace: Namespace, start: Start
) -> None:
    message = 'x' * 8000
    start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24',
          f'--message={message}')  # fmt: skip
    namespace.fetch('http://10.99.0.2:8080/')
    run(*namespace.inside, 'nft', LOSSY)
    for _ in range(5):
        assert namespace.fetch('http://10.99.0.2:8080/') == f'1 {message}\n200'


def test_another_network_is_answered_through_the_gateway(
    image: str, namespace: Namespace, start: Start
) -> None:
    run('ip', '-n', namespace.name, 'address', 'add', '10.98.0.1/24', 'dev', 'lo')
    start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24',
          '--ipv4-gateway=10.99.0.1')  # fmt: skip
    far = ('curl', '-s', '--interface', '10.98.0.1', '--max-time', '5')
    namespace.fetch('http://10.99.0.2:8080/')
    got = subprocess.run((*namespace.inside, *far, 'http://10.99.0.2:8080/'), capture_output=True)
    assert got.stdout == b'1 \n'


def test_held_requests_and_new_ones_side_by_side(
    image: str, namespace: Namespace, start: Start
) -> None:
    start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24')
    namespace.fetch('http://10.99.0.2:8080/')
    held = [
        subprocess.Popen(
            (*namespace.inside, 'curl', '-s', 'http://10.99.0.2:8080/slow?ms=1500'),
            stdout=subprocess.PIPE,
        )
        for _ in range(20)
    ]
    for _ in range(20):
        assert namespace.fetch('http://10.99.0.2:8080/') == '1 \n200'
    assert [one.communicate()[0] for one in held] == [b'1 \n'] * 20


@needs('ping')
def test_answers_ping(image: str, namespace: Namespace, start: Start) -> None:
    start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24')
    namespace.fetch('http://10.99.0.2:8080/')
    run(*namespace.inside, 'ping', '-q', '-c1', '-W20', '10.99.0.2')


def test_without_an_address_it_waits_for_dhcp_in_silence(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    guest = start(*namespace.inside, image, '--interface=tap7')
    time.sleep(1)
    assert (guest.poll(), console()) == (None, '')


@needs('dnsmasq')
def test_dhcp_leases_an_address(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str], tmp_path: Path
) -> None:
    log = tmp_path / 'dnsmasq'
    dnsmasq = subprocess.Popen(
        (*namespace.inside, 'dnsmasq', '--no-daemon', '--conf-file=/dev/null', '--port=0',
         '--interface=br0', '--bind-interfaces', f'--dhcp-leasefile={tmp_path}/leases',
         '--dhcp-range=10.99.0.50,10.99.0.50,255.255.255.0,2m', '--no-ping', '--user=root',
         '--pid-file=', f'--log-facility={log}'),
    )  # fmt: skip
    try:
        start(*namespace.inside, image, '--interface=tap7', '--mac=02:00:00:00:00:ab')
        assert namespace.fetch('http://10.99.0.50:8080/') == '1 \n200'
    finally:
        dnsmasq.terminate()
        dnsmasq.wait()
    assert console() == (
        'Lease obtained! IP: 10.99.0.50\n'
        'Dual TCP/IP stack assembled: mac=02:00:00:00:00:ab,ip=10.99.0.50/24\n'
        'listening on 8080/TCP\n'
    )
    assert re.findall('DHCP[A-Z]+(?=.*00:ab)', log.read_text()) == [
        'DHCPDISCOVER', 'DHCPOFFER', 'DHCPREQUEST', 'DHCPACK',
    ]  # fmt: skip


def test_hang_is_up_and_idle_and_never_answers(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    guest = start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24',
                  '--fail=hang')  # fmt: skip
    until(lambda: 'listening' in console())
    got = subprocess.run(
        (*namespace.inside, 'curl', '-s', '--max-time', '2', 'http://10.99.0.2:8080/')
    )
    assert got.returncode == 28  # curl's time-out
    spent = psutil.Process(guest.pid).cpu_times()
    assert spent.user + spent.system < 0.5  # a busy loop would have taken two seconds


def test_late_serves_after_its_time(image: str, namespace: Namespace, start: Start) -> None:
    begin = time.monotonic()
    start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24', '--fail=late:700')
    assert namespace.fetch('http://10.99.0.2:8080/') == '1 \n200'
    assert time.monotonic() - begin >= 0.7
