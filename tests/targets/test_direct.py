"""unix/direct for real: the project's own guest, pushed by git into a namespace, on a tap."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirage_hooks.host import programs
from mirage_hooks.targets import unix
from tests import wired
from tests.patience import until
from tests.wired import ADDRESS, Pushed

LACKING = ', '.join(name for name in ('bwrap', 'curl', 'dnsmasq') if not programs.find(name))
MISSING = wired.missing() or (f'missing: {LACKING}' if LACKING else '')
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING or 'nothing')


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Pushed]:
    made = Pushed(tmp_path, 'direct')
    try:
        yield made
    finally:
        made.end()


class Leases:
    """dnsmasq on the bridge. It has several addresses to give: an image of this target takes
    another hardware address at each start, and is leased another IP address with it."""

    def __init__(self, site: Pushed) -> None:
        self.log = site.folder / 'dnsmasq'
        self.process = subprocess.Popen((
            *site.inside(), 'dnsmasq', '--no-daemon', '--conf-file=/dev/null', '--port=0',
            '--interface=br0', '--bind-interfaces', f'--dhcp-leasefile={site.folder}/leases',
            '--dhcp-range=10.9.0.50,10.9.0.99,255.255.255.0,2m', '--no-ping', '--user=root',
            '--pid-file=', f'--log-facility={self.log}',
        ))

    def given(self) -> list[str]:
        """The addresses that were leased, in turn."""
        found = re.findall(r'DHCPACK\(br0\) (\S+) ', self.log.read_text())
        return [str(address) for address in found]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def leases(site: Pushed) -> Iterator[Leases]:
    dhcp(site)
    made = Leases(site)
    try:
        yield made
    finally:
        made.end()


def dhcp(site: Pushed, *arguments: str, within: str = '2m') -> None:
    site.configure(
        network={'mode': 'direct', 'bridge': 'br0'}, arguments=list(arguments),
        health={'console': '^listening on', 'within': within},
    )


def walk(site: Pushed, address: Callable[[], str]) -> None:
    """Push, push again, crash, remove: each time the page at `address` says what serves."""
    assert 'www: release 1 (unix, ' in site.push()
    assert site.page(address()) == 'release-0001'
    assert 'now runs' in site.push()
    assert site.page(address()) == 'release-0002'
    site.alone(2)
    site.crash()
    assert site.page(address()) == ''
    done = site.mirage('pull', '--quiet')
    assert (done.returncode, done.stdout.splitlines()[-1][-10:]) == (0, 'runs again')
    assert site.page(address()) == 'release-0002'
    site.alone(2)
    site.configure('unikernels: {}\n')
    done = site.mirage('deploy')
    assert (done.returncode, done.stdout) == (0, 'www: stopped: it is no longer in mirage.yml\n')
    assert (site.processes(), site.links(), site.tables()) == ([], [], [])


@pytest.mark.long
@pytest.mark.proves('unix/direct', 'static', 'a tap on a bridge in a namespace; page fetched')
def test_static_pushed_served_replaced_crashed_and_removed(site: Pushed) -> None:
    site.configure(drain='0s')
    walk(site, lambda: ADDRESS)


@pytest.mark.proves('unix/direct', 'DHCP', 'a tap on a bridge in a namespace, leased by dnsmasq; '
                    'page fetched')
def test_dhcp_pushed_served_replaced_crashed_and_removed(site: Pushed, leases: Leases) -> None:
    walk(site, lambda: leases.given()[-1])
    assert len(leases.given()) == 3


def test_it_is_said_why_one_release_is_stopped_before_the_other(
    site: Pushed, leases: Leases
) -> None:
    site.push()
    assert (
        'www: release 1 is stopped first: a unix image takes another hardware address at each '
        'start, and another lease with it\n'
    ) in re.sub(r' +\n', '\n', site.push())


def test_an_image_that_ends_gives_the_bridge_back_to_the_old_one(
    site: Pushed, leases: Leases
) -> None:
    site.push()
    dhcp(site, '--fail=exit:3')
    said = site.push()
    assert 'www: REFUSED: it ended with exit code 3' in said
    # It was started again, and asks for a lease anew; the push does not wait for that.
    until(lambda: site.page(leases.given()[-1]) == 'release-0001')
    site.alone(1)


def test_without_a_server_it_is_refused_and_the_bridge_is_empty(site: Pushed) -> None:
    dhcp(site, within='5s')
    said = site.push()
    assert "www: REFUSED: the console did not say '^listening on' within 5s" in said
    assert (site.processes(), site.links()) == ([], [])


STRICT = r"""
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    int tap = open("/dev/net/tun", O_RDWR), fd = socket(AF_INET, SOCK_DGRAM, 0);

    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--interface=", 12) == 0)
            strncpy(request.ifr_name, argv[i] + 12, IFNAMSIZ - 1);
    if (ioctl(tap, TUNSETIFF, &request) < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return 3;
    if ((request.ifr_flags & (IFF_UP | IFF_RUNNING)) != (IFF_UP | IFF_RUNNING)) {
        request.ifr_flags |= IFF_UP | IFF_RUNNING;
        if (ioctl(fd, SIOCSIFFLAGS, &request) < 0) {
            printf("tun[set_up_and_running SIOCSIFFLAGS]: %s\n", strerror(errno));
            return 2;
        }
    }
    printf("listening on a tap\n");
    fflush(stdout);
    for (;;) pause();
}
"""


def strict(folder: Path) -> bytes:
    """An image that sets its tap's flags as mirage-net-unix does, and ends when it may not."""
    source = folder / 'strict.c'
    source.write_text(STRICT)
    subprocess.run(('gcc', '-o', folder / 'strict', source), check=True)
    return (folder / 'strict').read_bytes()


def test_an_image_that_looks_before_the_kernel_says_running_starts_every_time(
    site: Pushed, tmp_path: Path
) -> None:
    dhcp(site)
    assert 'now runs' in site.push(strict(tmp_path))
    for _ in range(30):
        assert site.mirage('stop', 'www').returncode == 0
        done = site.mirage('start', 'www')
        assert done.returncode == 0, done.stdout
    site.crash()
    assert site.mirage('pull', '--quiet').returncode == 0


def again(folder: Path, script: str) -> tuple[int, int]:
    """The exit code of what `unix.AGAIN` makes of `script`, and how often it was run."""
    counted = folder / 'runs'
    counted.write_text('')
    words = ('/bin/sh', '-c', unix.AGAIN, 'sh', '/bin/sh', '-c', f'echo run >>{counted}; {script}')
    done = subprocess.run(words, check=False)
    return done.returncode, counted.read_text().count('run')


@pytest.mark.parametrize(('script', 'code', 'runs'), [
    ('[ $(wc -l <{}) = 5 ] || exit 2', 0, 5),
    ('exit 3', 3, 1),
    ('exit 0', 0, 1),
    ('kill -9 $$', 137, 1),
    ('sleep 4.5; exit 2', 2, 1),  # it lived: that is an end of its own
])
def test_only_an_end_with_2_at_once_is_tried_again(
    tmp_path: Path, script: str, code: int, runs: int
) -> None:
    assert again(tmp_path, script.replace('{}', str(tmp_path / 'runs'))) == (code, runs)


def test_what_ends_with_2_always_is_tried_a_bounded_number_of_times(tmp_path: Path) -> None:
    code, runs = again(tmp_path, 'exit 2')
    assert code == 2
    assert 1 < runs <= 20


def test_an_image_that_dies_at_once_ends_the_question_however_long_it_may_take(
    site: Pushed, tmp_path: Path
) -> None:
    site.configure(health={'http': f'http://{ADDRESS}:8080/', 'within': '24h'})
    assert 'www: REFUSED: it ended with exit code 3' in site.push(b'#!/bin/sh\nsleep 1; exit 3\n')
    dhcp(site, within='24h')
    assert 'www: REFUSED: it ended with exit code 3' in site.push(
        b'#!/bin/sh\nsleep 1; exit 3\n# another\n')
    assert (site.processes(), site.links()) == ([], [])
