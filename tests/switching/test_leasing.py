"""An address by DHCP, from Debian's own servers: a release with a hardware address of its own takes
over as one with a static address does; where the server does not play along, as ever."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirage_hooks.host import processes
from tests import dhcp, guests, wired
from tests.deploying.test_gate_beside import Gated
from tests.deploying.test_gate_beside import steps as gate_steps
from tests.dhcp import ADDRESS, OTHER
from tests.patience import PATIENCE, until
from tests.switching.test_overlap import costs, emulated
from tests.wired import ROUTER, Wired, act

LACKING = wired.missing() or (
    '' if shutil.which('qemu-system-x86_64') else 'qemu-system-x86_64 is missing')
pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING or 'nothing')
SWITCHES = int(os.environ.get('MIRAGE_HOOKS_SWITCHES', '10'))
EACH = [
    pytest.param(name, marks=pytest.mark.skipif(
        bool(dhcp.missing(name)), reason=dhcp.missing(name) or 'nothing'))
    for name in dhcp.SERVERS
]
BOTH = pytest.mark.parametrize('which', EACH)
KEA = pytest.mark.parametrize('which', EACH[1:])
NETWORK = {'mode': 'direct', 'bridge': 'br0'}
HEALTH = {'http': f'http://{ADDRESS}:8080/', 'within': '2m'}


class Leased(Wired):
    """A host with virtio images under QEMU, and a DHCP server that is another machine."""

    def __init__(self, folder: Path, which: str) -> None:
        self.servers: list[dhcp.Server] = []
        self.which, self.tender = which, emulated(folder)
        super().__init__(folder)
        self.route()

    def serve(self, **told: Any) -> dhcp.Server:
        """The server, with other settings than before; what it has leased it still knows."""
        for one in self.servers:
            one.end()
        made = dhcp.SERVERS[self.which](
            self.outside(), 'eth0', self.folder, **{'router': ROUTER, **told})
        self.servers = [made]
        return made

    def configure(self, text: str = '', **keys: Any) -> None:
        super().configure(text, **{
            'network': NETWORK, 'tender': str(self.tender), 'memory': 64, 'health': HEALTH, **keys})

    def release(self, image: bytes | None = None) -> None:
        super().release(wired.guest(self.version + 1, 'virtio') if image is None else image)

    def start(self) -> None:
        self.serve()
        self.release()
        self.clone()
        done = self.mirage('deploy')
        assert done.returncode == 0, done.stdout + done.stderr

    def pull(self) -> str:
        """Publish the next version and switch to it; what was said."""
        self.release()
        done = self.mirage('pull')
        assert done.returncode == 0, done.stdout
        return str(done.stdout)

    def page(self, address: str = ADDRESS) -> str:
        return super().page(address)

    def mac(self) -> str:
        release = self.current()
        return release.plan.taps[0].mac

    def clients(self, held: int = 700) -> Clients:
        return Clients(self, held)

    def end(self) -> None:
        for one in self.servers:
            one.end()
        super().end()


class Clients:
    """From the wire, from beyond the gateway."""

    def __init__(self, site: Leased, held: int) -> None:
        self.each = [site.asking(site.outside(), held, source, ADDRESS)
                     for source in ('', wired.BEYOND)]

    def end(self) -> list[dict[str, Any]]:
        return [one.end() for one in self.each]


NOTHING: list[tuple[int, int, dict[str, int]]] = [(0, 0, {}), (0, 0, {})]


@pytest.fixture
def which() -> str:
    return 'dnsmasq'


@pytest.fixture
def site(tmp_path: Path, which: str) -> Iterator[Leased]:
    """Release 1 serves at the address that it was leased."""
    if lacking := dhcp.missing(which):
        pytest.skip(lacking)
    made = Leased(tmp_path, which)
    try:
        made.start()
        yield made
    finally:
        made.end()


def steps(said: str) -> list[str]:
    return [line.partition(' s  ')[2] for line in said.splitlines() if ' s  ' in line]


@pytest.mark.proves('virtio', 'DHCP', 'switched under load on a bridge in a namespace, leased by '
                    '{which}; no request fails')
@BOTH
def test_no_request_fails_through_switches_and_a_rollback(site: Leased) -> None:
    clients = site.clients()
    for number in (2, 3):
        said = steps(site.pull())
        assert f'www: release {number} serves there' in said, said
        assert any(f'new connections go to release {number}, switched' in one for one in said)
    done = site.mirage('rollback', 'www')
    assert done.returncode == 0, done.stdout
    time.sleep(0.5)
    found = clients.end()
    assert costs(found) == NOTHING
    assert all(len(one['pages']) == 3 and one['held'] > 2 for one in found)
    assert site.page() == 'release-0002'
    site.alone(2)


@pytest.mark.parametrize('which', EACH[:1])
def test_a_server_on_this_host_itself_is_asked_as_any_other(tmp_path: Path, which: str) -> None:
    site = Leased(tmp_path, which)
    try:
        site.servers = [dhcp.Dnsmasq(site.inside(), 'br0', tmp_path, router=wired.GATEWAY)]
        site.configure(confirm='0s')
        site.release()
        site.clone()
        assert site.mirage('deploy').returncode == 0
        clients = [site.asking(site.outside(), 700, '', ADDRESS)]
        assert 'new connections go to release 2' in site.pull()
        time.sleep(0.3)
        assert costs([one.end() for one in clients]) == NOTHING[:1]
        site.alone(2)
    finally:
        site.end()


@pytest.mark.long
@BOTH
def test_no_request_fails_through_many_switches_and_bad_images(
    site: Leased, which: str, record_property: Callable[[str, object], None]
) -> None:
    control = site.clients()
    time.sleep(10)
    calm = control.end()
    site.configure(drain='1s')
    clients, took = site.clients(), []
    for _ in range(SWITCHES):
        said = site.pull()
        took += [int(ms) for ms in re.findall(r'switched in (\d+) ms', said)]
        site.release(bad(site.version + 1))
        said = site.mirage('pull').stdout
        assert 'www: REFUSED: it ended with exit code 83' in said, said
    time.sleep(1)
    found = clients.end()
    record_property(f'{len(took)} switches of virtio by DHCP from {which}',
                    f'{min(took)} to {max(took)} ms, median {sorted(took)[len(took) // 2]} ms')
    for what, each in (('control run, no switch', calm), ('through the switches', found)):
        for where, one in zip(('from the wire', 'from beyond the gateway'), each, strict=True):
            record_property(
                f'{what}, asked {where}', f'{one["requests"]} requests, {one["failed"]} failed, '
                f'longest {one["longest_ms"]} ms; {one["held"]} held open, '
                f'{one["held_failed"]} broken')
    assert (costs(calm), costs(found)) == (NOTHING, NOTHING)
    assert len(took) == SWITCHES
    assert dhcp.lasts(site.servers[0]) > 0


@pytest.mark.parametrize(('arguments', 'health', 'reason'), [
    (['--fail=exit:3'], {}, 'it ended with exit code 83'),
    (['--fail=hang'], {}, f'http://{ADDRESS}:8080/ did not answer ('),
    (['--status=500'], {}, f'http://{ADDRESS}:8080/ answered 500 (200 wanted) within 8s'),
    (['--ipv4=10.9.0.3/24'], {}, 'it took no address by DHCP within 8s\n'),
])
def test_a_bad_image_costs_no_request_and_no_lease(
    site: Leased, arguments: list[str], health: dict[str, str], reason: str
) -> None:
    site.configure(arguments=arguments, health={**HEALTH, 'within': '8s', **health})
    ends, clients = site.servers[0].until(), site.clients()
    site.release()
    done = site.mirage('pull')
    time.sleep(0.3)
    assert costs(clients.end()) == NOTHING
    assert done.returncode == 1
    assert f'www: REFUSED: {reason}' in done.stdout, done.stdout
    assert site.servers[0].until() == ends
    assert site.page() == 'release-0001'
    site.alone(1)


def bad(version: int) -> bytes:
    """A guest that crashes, of this version."""
    image = guests.build('virtio', wired.CACHE, wired.MARK, 'CRASH').read_bytes()
    return image.replace(wired.MARK.encode(), f'release-{version:04}'.encode())


def replaced(said: str, why: str) -> None:
    """The old release was stopped first, and it was said why."""
    assert steps(said)[1:4] == [
        f'www: release 1 is stopped first: {why}', 'www: stopping release 1',
        'www: starting release 2',
    ]


LISTENS = {'console': '^listening on', 'within': '2m'}


@BOTH
def test_without_an_answer_the_old_release_is_stopped_first_and_nothing_is_lost(
    site: Leased
) -> None:
    site.configure(health={'alive': '100ms'})
    site.servers[0].end()
    replaced(site.pull(), f'no DHCP server on br0 answers for {site.mac()}')
    site.serve()
    until(lambda: site.page() == 'release-0002', pause=0.5)
    site.alone(2)


@BOTH
def test_an_address_that_another_has_by_now_is_not_taken(site: Leased) -> None:
    site.configure(health={'alive': '100ms'})
    for one in site.servers:
        one.end()
    for name in ('leases', 'kea.csv'):
        (site.folder / name).unlink(missing_ok=True)
    site.serve(reserved='02:00:00:00:00:99')
    replaced(site.pull(), f'no DHCP server on br0 answers for {site.mac()}')
    site.alone(2)


@BOTH
def test_where_the_pool_has_changed_the_new_release_gets_what_is_there_now(site: Leased) -> None:
    site.configure(health=LISTENS)
    site.serve(address=OTHER)
    replaced(site.pull(), f'it does not answer for {OTHER}, which the DHCP server 10.9.0.9 offers')
    assert site.page(OTHER) == 'release-0002'
    assert 'new connections go to release 3' in site.pull()
    assert site.page(OTHER) == 'release-0003'
    site.alone(3)


def test_a_lease_that_is_taken_back_meanwhile_is_lost_and_the_next_one_serves(
    site: Leased
) -> None:
    site.configure(health=LISTENS, arguments=['--fail=late:3000'])
    site.release()
    with subprocess.Popen(
        (*site.inside(), *site.command('pull')), stdout=subprocess.PIPE, text=True
    ) as pulling:
        until(lambda: any(one.endswith('-s') for one in site.links()))
        site.serve(address=OTHER)
        said, _ = pulling.communicate(timeout=PATIENCE)
    assert pulling.returncode == 0, said
    assert 'www: starting release 2 on a stage' in said
    assert ('www: release 1 is stopped first: the DHCP server 10.9.0.9 takes '
            f'{ADDRESS} back\n') in said
    assert site.page(OTHER) == 'release-0002'
    site.alone(2)


@KEA
def test_the_lease_is_renewed_with_the_server_itself_and_by_broadcast(site: Leased) -> None:
    site.serve(seconds=8)
    assert 'new connections go to release 2' in site.pull()
    site.alone(2)
    act(*site.outside(), 'nft', '-f', str(counters(site.folder)))
    until(lambda: counted(site, 'unicast') >= 2 and counted(site, 'broadcast') >= 2)
    assert dhcp.lasts(site.servers[0]) > 0
    assert site.page() == 'release-0002'
    assert 'new connections go to release 3' in site.pull()
    assert site.page() == 'release-0003'


def counters(folder: Path) -> Path:
    """Rules that count what is sent to a DHCP server."""
    file = folder / 'counters'
    file.write_text('''
table netdev asked {
  counter broadcast { }
  counter unicast { }
  chain in { type filter hook ingress device "eth0" priority 0;
    udp dport 67 ether daddr ff:ff:ff:ff:ff:ff counter name broadcast
    udp dport 67 ether daddr != ff:ff:ff:ff:ff:ff counter name unicast
  }
}
''')
    return file


def counted(site: Leased, name: str) -> int:
    said = act(*site.outside(), 'nft', 'list', 'counter', 'netdev', 'asked', name)
    found = re.search(r'packets (\d+)', said)
    assert found is not None
    return int(found[1])


def test_after_a_crash_it_is_started_as_ever_and_the_next_switch_is_side_by_side(
    site: Leased
) -> None:
    site.pull()
    site.alone(2)
    site.dismiss()
    processes.end([process for _, process in processes.marked(site.state().root)])
    done = site.mirage('pull')
    assert done.returncode == 0, done.stdout
    assert site.page() == 'release-0002'
    assert 'new connections go to release 3' in site.pull()


def test_a_rollback_to_a_release_that_is_still_drained_asks_no_server(site: Leased) -> None:
    site.configure(drain='5m')
    site.pull()
    site.servers[0].end()
    clients = site.clients()
    done = site.mirage('rollback', 'www')
    time.sleep(0.3)
    assert costs(clients.end()) == NOTHING
    assert done.returncode == 0, done.stdout
    assert [one.partition(',')[0] for one in steps(done.stdout)] == [
        'www: new connections go to release 1']
    assert site.page() == 'release-0001'


def test_a_dry_run_and_check_say_which_switch_it_is(site: Leased) -> None:
    site.release()
    act('git', '-C', str(site.host), '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
    said = site.mirage('deploy', '--dry-run').stdout
    assert '  + switch: next to release 1, which keeps its connections\n' in said
    assert 'www: it switches by `overlap` when the DHCP server leases it the same address again, ' \
        'else by `replace`; `deploy --dry-run` asks it\n' in site.mirage('check').stdout
    site.servers[0].end()
    said = site.mirage('deploy', '--dry-run').stdout
    assert ('  + switch: release 1 stops first: no DHCP server on br0 answers for '
            f'{site.mac()}\n') in said
    assert (site.links(), site.processes()) == ([site.tap(1)], [1])


class GatedLease(Gated, Leased):
    """A bare repository that is pushed to through a gate."""

    def start(self) -> None:
        self.serve()
        super().start()


@pytest.mark.parametrize('which', EACH[:1])
def test_the_gate_proves_with_the_lease_and_leaves_it_alone(tmp_path: Path, which: str) -> None:
    site = GatedLease(tmp_path, which)
    try:
        site.start()
        site.configure(arguments=['--status=500'], health={**HEALTH, 'within': '8s'})
        ends, clients = site.servers[0].until(), site.clients()
        site.release()
        done = site.push()
        assert done.returncode == 1
        assert f'www: REFUSED: http://{ADDRESS}:8080/ answered 500' in done.stderr
        assert site.servers[0].until() == ends
        site.configure()
        site.release()
        done = site.push()
        assert done.returncode == 0, done.stderr
        assert gate_steps(done)[1:5] == [
            'www: trying release 2 on a stage', 'www: it serves',
            'www: starting release 2 on a stage', 'www: release 2 serves there',
        ]
        assert gate_steps(done)[5].startswith('www: new connections go to release 2, switched in')
        time.sleep(0.3)
        assert costs(clients.end()) == NOTHING
        site.alone(2)
    finally:
        site.end()
