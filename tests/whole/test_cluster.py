"""Three hosts and a real cluster of them: what dies is served elsewhere, what is pushed reaches
all, and what is bad serves nowhere, while a visitor on the wire asks all the time."""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirage_hooks.host import programs
from tests import cluster
from tests.cluster import NAMES, REPOSITORY, Cluster
from tests.deployment import run
from tests.patience import until
from tests.wired import act

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(cluster.missing()), reason=cluster.missing() or 'nothing'),
]
FAILOVERS = int(os.environ.get('MIRAGE_HOOKS_FAILOVERS', '2'))
"""How many hosts die in turn; the figures in docs/several-hosts.md take 10."""
BAD = b'#!/bin/sh\nexit 1\n'
WITHOUT_SOLO5 = [
    *([] if 'SOLO5_TESTS' in os.environ else ['SOLO5_TESTS']),
    *(name for name in ('solo5-spt', 'bwrap') if not programs.find(name)),
]
SOLO5 = {
    'image': 'spt/solo5', 'confirm': '50ms',
    'network': {'mode': 'static', 'bridge': 'br0', 'ipv4': '10.0.0.2/24', 'compiled_in': True},
    'health': {'ping': '10.0.0.2', 'within': '10s'},
    'placement': {'monitor': '2s', 'together': ['www']},
}
"""Solo5's test_net, which answers pings at the address that is compiled in."""


@pytest.fixture(scope='module')
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three hosts, and www on one of them, as `install --pacemaker --apply` had it."""
    made = Cluster(tmp_path_factory.mktemp('cluster'))
    try:
        made.start()
        said = made.hosts[0].mirage('install', '--pacemaker', '--apply', str(REPOSITORY))
        assert said.returncode == 0, said.stderr
        yield made
    finally:
        made.end()


@pytest.fixture(autouse=True)
def well(three: Cluster) -> Iterator[None]:
    """Before each test all three live, and the newest image serves on one, ready on the others."""
    (three.shared / 'broken').unlink(missing_ok=True)
    three.mend()
    three.release()
    three.asked().run('crm_resource', '--cleanup')
    three.settled()
    until(lambda: three.active() and three.page(), pause=0.2)
    three.pull()
    assert three.page() == f'release-{three.version:04}'
    three.fenced.clear()
    with Alone(three):
        yield


class Alone:
    """Looks all the time on how many hosts www runs; more than one is wrong at any time."""

    def __init__(self, three: Cluster) -> None:
        self.three, self.over, self.seen = three, threading.Event(), list[list[str]]()
        self.looking = threading.Thread(target=self._look)

    def __enter__(self) -> None:
        self.looking.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.looking.join()
        assert self.seen == []

    def _look(self) -> None:
        while not self.over.wait(0.1):
            on = self.three.on_the_wire()
            if len(on) > 1:
                self.seen.append(on)


def elsewhere(three: Cluster, host: str) -> str:
    """Another host than `host`."""
    return next(name for name in NAMES if name != host)


def answers(three: Cluster) -> None:
    until(three.page)


def test_a_dead_host_is_fenced_and_another_one_serves(
    three: Cluster, record_property: Callable[[str, object], None]
) -> None:
    parts = []
    for _ in range(FAILOVERS):
        three.mend()
        three.fenced.clear()
        before = three.active()
        visitor = three.asking()
        died = time.monotonic()
        three.host(before).die()
        answers(three)
        back = time.monotonic()
        found = visitor.end()
        assert three.active() != before
        assert [name for name, _ in three.fenced] == [before]
        assert found['failed'] <= 1, found  # the one that was being answered; others wait
        parts.append((three.fenced[0][1] - died, back - three.fenced[0][1]))
    for name, times in (('to fenced', [one[0] for one in parts]),
                        ('to served', [one[1] for one in parts])):
        record_property(name, f'{statistics.median(times):.2f} s, {max(times):.2f} at most')
        print(name, sorted(round(one, 2) for one in times))


def test_a_planned_move_loses_nothing(
    three: Cluster, record_property: Callable[[str, object], None]
) -> None:
    before = three.active()
    to = elsewhere(three, before)
    visitor = three.asking()
    three.asked().act('pcs', 'resource', 'move', 'www', to)
    three.settled()
    until(lambda: three.active() == to)
    answers(three)
    found = visitor.end()
    assert found['failed'] == 0, found
    assert three.fenced == []
    record_property('longest answer, ms', found['longest_ms'])
    print(found)


def test_a_good_image_reaches_all_and_costs_no_request(three: Cluster) -> None:
    before, visitor = three.active(), three.asking()
    three.release()
    said = three.pull()
    found = visitor.end()
    assert (found['failed'], found['reasons']) == (0, {})
    assert three.page() == f'release-{three.version:04}'
    assert three.active() == before
    for name, done in said.items():
        assert done.returncode == 0, done.stdout
        what = 'now runs' if name == before else 'is now ready here'
        assert what in done.stdout, (name, done.stdout)


def test_a_bad_image_is_refused_on_all_and_costs_no_request(three: Cluster) -> None:
    before, visitor = three.active(), three.asking()
    good = three.page()
    three.release(BAD)
    for done in three.pull().values():
        assert 'www: REFUSED: it ended with exit code 1' in done.stdout
        assert done.returncode == 1
    found = visitor.end()
    assert (found['failed'], set(found['pages'])) == (0, {good})
    three.host(before).die()
    answers(three)
    assert three.page() == good


def test_what_was_ready_is_what_a_failover_starts(three: Cluster) -> None:
    """Where a clone is behind, that is the image of before, until it pulls."""
    before = three.active()
    three.release()
    three.host(before).mirage('pull')
    assert three.page() == f'release-{three.version:04}'
    three.host(before).die()
    answers(three)
    assert three.page() == f'release-{three.version - 1:04}'
    three.host(three.active()).mirage('pull')
    assert three.page() == f'release-{three.version:04}'


def test_a_unikernel_that_was_killed_serves_again_where_it_was(three: Cluster) -> None:
    before = three.active()
    def started() -> int:
        return [event for event, _ in three.host(before).events()].count('started')

    known = started()
    three.host(before).kill_www()
    until(lambda: started() > known, pause=0.2)
    answers(three)
    assert three.active() == before and three.fenced == []


def test_a_host_whose_corosync_was_killed_is_fenced(three: Cluster) -> None:
    before = three.active()
    three.host(before).run('pkill', '-KILL', '-x', 'corosync')
    until(lambda: three.fenced)
    answers(three)
    assert [name for name, _ in three.fenced] == [before]
    assert three.active() != before


def test_a_host_that_is_cut_off_is_fenced(three: Cluster) -> None:
    """Its unikernel goes on having its address on the wire until then."""
    before = three.active()
    three.host(before).act('ip', 'link', 'set', 'ring', 'down')
    until(lambda: three.fenced)
    answers(three)
    assert [name for name, _ in three.fenced] == [before]


def test_where_fencing_fails_nobody_takes_the_address(three: Cluster) -> None:
    before = three.active()
    (three.shared / 'broken').touch()
    three.host(before).act('ip', 'link', 'set', 'ring', 'down')
    until(lambda: len(three.online_by(three.host(elsewhere(three, before)))) == 2, pause=0.2)
    time.sleep(5)
    assert set(three.serving()) <= {before}  # it ends its own, for it has no quorum
    (three.shared / 'broken').unlink()
    other = three.host(elsewhere(three, before))
    other.run('stonith_admin', '--reboot', before, '--timeout=60')
    until(lambda: three.fenced)
    answers(three)
    assert before not in three.serving()


def test_a_bridge_that_is_gone_sends_it_to_another_host(three: Cluster) -> None:
    before = three.active()
    three.host(before).act('ip', 'link', 'del', 'br0')
    until(lambda: three.active() not in ('', before), pause=0.2)
    answers(three)
    assert three.fenced == []
    three.host(before).die()  # it comes back with a bridge


def test_a_push_during_a_failover_is_served_in_the_end(three: Cluster) -> None:
    before = three.active()
    three.release()
    three.host(before).die()
    pulling = [threading.Thread(target=host.mirage, args=('pull',))
               for host in three.hosts if host.lives]
    for one in pulling:
        one.start()
    for one in pulling:
        one.join()
    answers(three)
    three.host(three.active()).mirage('pull')
    assert three.page() == f'release-{three.version:04}'


def test_a_trial_on_the_host_that_is_to_start_it_gives_way(three: Cluster) -> None:
    """One that would wait for ten seconds for an answer that never comes."""
    before = three.active()
    three.release(b'#!/bin/sh\nexec sleep 1000\n')
    others = [host for host in three.hosts if host.name != before]
    pulling = [threading.Thread(target=host.mirage, args=('pull',)) for host in others]
    for one in pulling:
        one.start()
    until(lambda: all(host.serves() for host in others))
    three.host(before).die()
    answers(three)
    back = time.monotonic() - three.fenced[0][1]
    for one in pulling:
        one.join()
    print('served', round(back, 2), 's after fencing')
    assert three.page() == f'release-{three.version - 1:04}'


def test_an_agent_that_is_killed_leaves_one_that_serves(three: Cluster) -> None:
    """Where a stop was killed Pacemaker cannot know that it runs no longer: it fences that host."""
    for pause in (0.1, 0.4, 0.8):
        to = elsewhere(three, three.active())
        three.asked().run('crm_resource', '--resource', 'www', '--move', '--node', to)
        time.sleep(pause)
        three.kill_agents()
        three.settled()
        answers(three)
        three.mend()
        three.asked().act('crm_resource', '--resource', 'www', '--clear')
    assert len(three.on_the_wire()) == 1


def test_in_standby_a_host_is_left_alone(three: Cluster) -> None:
    before = three.active()
    three.asked().act('pcs', 'node', 'standby', before)
    until(lambda: three.active() not in ('', before), pause=0.2)
    answers(three)
    three.release()
    said = three.host(before).mirage('pull')
    assert 'is now ready here' in said.stdout
    assert before not in three.serving()
    three.asked().act('pcs', 'node', 'unstandby', before)


def test_unmanaged_it_is_left_alone_where_it_runs(three: Cluster) -> None:
    three.asked().act('pcs', 'resource', 'unmanage', 'www')
    before, page = three.host(three.active()), three.page()
    three.release()
    said = before.mirage('pull')
    assert 'Pacemaker leaves www alone on this host (maintenance, or unmanaged)' in said.stdout
    assert three.page() == page
    before.mirage('deploy', 'www')
    assert three.page() == f'release-{three.version:04}'
    three.asked().act('pcs', 'resource', 'manage', 'www')


def test_disabled_by_pcs_it_stays_down_whatever_is_pushed(three: Cluster) -> None:
    three.asked().act('pcs', 'resource', 'disable', 'www')
    until(lambda: not three.serving())
    three.release()
    for done in three.pull().values():
        assert 'is now ready here' in done.stdout
    assert three.serving() == []
    three.asked().act('pcs', 'resource', 'enable', 'www')
    answers(three)
    assert three.page() == f'release-{three.version:04}'


@contextlib.contextmanager
def solo5(three: Cluster) -> Iterator[None]:
    """All hosts have test_net ready next to www, and Pacemaker runs it on the host of www. The
    visitor goes on believing whom it met, unless it is told otherwise."""
    kernel = Path(os.environ['SOLO5_TESTS'], 'test_net', 'test_net.spt').read_bytes()
    three.publish(str(SOLO5['image']), kernel)
    three.others['solo5'] = SOLO5
    three.remember(3600)
    act('ip', '-n', three.outer, 'addr', 'add', '10.0.0.9/24', 'dev', 'eth0')
    try:
        for host in three.hosts:
            host.act('ip', 'addr', 'replace', f'10.0.0.{100 + host.number}/24', 'dev', 'br0')
            host.put('/etc/mirage-hooks/mirage.yml', three.settings(host))
            said = host.mirage('pull')
            assert '(spt (Solo5 ABI 2)' in said.stdout, said.stdout
            assert 'is now ready here' in said.stdout
        said = three.hosts[0].mirage('install', '--pacemaker', '--apply', str(REPOSITORY))
        assert said.returncode == 0, said.stderr
        yield
    finally:
        act('ip', '-n', three.outer, 'addr', 'del', '10.0.0.9/24', 'dev', 'eth0')
        three.remember(30)
        three.asked().run('pcs', 'resource', 'delete', 'solo5')
        three.others.clear()
        for host in three.hosts:
            if host.lives:
                host.put('/etc/mirage-hooks/mirage.yml', three.settings(host))
                host.mirage('deploy')


def pings(three: Cluster) -> bool:
    """Whether the visitor on the wire gets an answer of test_net."""
    command = ('ping', '-n', '-c', '1', '-W', '1', '10.0.0.2')
    return not run(*three.outside(), *command, cwd=Path('/')).returncode


def met(three: Cluster) -> str:
    """By which hardware address the visitor knows it."""
    said = act(*three.outside(), 'ip', 'neigh', 'show', '10.0.0.2')
    return said.partition('lladdr ')[2].split()[0]


def tended(three: Cluster) -> list[str]:
    """The hosts on which Solo5's tender runs."""
    return [host.name for host in three.hosts
            if host.lives and not host.run('pgrep', '-x', 'solo5-spt').returncode]


@pytest.mark.skipif(bool(WITHOUT_SOLO5), reason=f'missing: {", ".join(WITHOUT_SOLO5)}')
@pytest.mark.proves('spt', 'compiled in', "Solo5's tender and test_net, placed by Pacemaker; its "
                    'host dies, and another one answers ping')
def test_a_solo5_kernel_answers_from_another_host_when_its_own_dies(
    three: Cluster, record_property: Callable[[str, object], None]
) -> None:
    """Together with www, of the same repository: one host starts both, one after the other."""
    with solo5(three):
        until(lambda: pings(three))
        three.settled()
        before, known = three.active('solo5'), met(three)
        assert (tended(three), three.active()) == ([before], before)
        three.host(before).die()
        assert not pings(three)
        until(lambda: pings(three), pause=0.02)
        back = time.monotonic() - three.fenced[0][1]
        answers(three)
        after = three.active('solo5')
        assert after not in ('', before)
        assert (tended(three), three.active()) == ([after], after)
        assert met(three) != known
        assert [name for name, _ in three.fenced] == [before]
        record_property('to pinged', f'{back:.2f} s')
        print('answers ping', round(back, 2), 's after fencing')
    assert tended(three) == []
