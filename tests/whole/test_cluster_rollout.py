"""What runs on three hosts of a cluster at once: one goes first with a new image, the others follow
one by one, and nobody takes what that one refused, while visitors ask each of them all the time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import cluster
from tests.cluster import NAMES, REPOSITORY, Cluster
from tests.patience import until

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(cluster.missing()), reason=cluster.missing() or 'nothing'),
]
BAD = b'#!/bin/sh\nexit 1\n'
FIRST = 'beta'


@pytest.fixture(scope='module')
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """www runs on all three, each with an address of its own; beta goes first."""
    made = Cluster(tmp_path_factory.mktemp('cluster'), placement={'clone': True, 'monitor': '2s'},
                   rollout={'canary': FIRST, 'after': '3s', 'deadline': '1h'})
    try:
        made.start()
        said = made.hosts[0].mirage('install', '--pacemaker', '--apply', str(REPOSITORY))
        assert said.returncode == 0, said.stderr
        yield made
    finally:
        made.end()


@pytest.fixture(autouse=True)
def well(three: Cluster) -> None:
    """Before each test all three serve the newest image that is good."""
    three.mend()
    three.release()
    until(lambda: all(three.page(host.address) for host in three.hosts), pause=0.2)
    for host in three.hosts:
        host.mirage('pull')
        host.mirage('deploy')  # at once
    assert pages(three) == [three.version] * 3


def pages(three: Cluster) -> list[int]:
    """The version that each host serves; 0 for none."""
    return [int(three.page(host.address).rpartition('-')[2] or 0) for host in three.hosts]


class Visitors:
    """One of each host."""

    def __init__(self, three: Cluster) -> None:
        self.asking = [three.asking(host.address) for host in three.hosts]

    def end(self) -> list[dict[str, Any]]:
        return [one.end() for one in self.asking]


def test_one_goes_first_and_the_others_follow_by_themselves(three: Cluster) -> None:
    visitors = Visitors(three)
    three.release()
    said = three.pull()
    for name in set(NAMES) - {FIRST}:
        assert 'waits for its turn: beta, which goes first, ' in said[name].stdout
        assert said[name].returncode == 0
    assert 'now runs' in said[FIRST].stdout
    assert pages(three)[NAMES.index(FIRST)] == three.version
    waits = three.host('alpha').mirage('status').stdout
    assert 'waits for its turn for' in waits or pages(three)[0] == three.version
    until(lambda: pages(three) == [three.version] * 3, pause=0.2)  # nobody pulls again
    assert [one['failed'] for one in visitors.end()] == [0, 0, 0]


def test_what_the_first_refused_nobody_else_tries(three: Cluster) -> None:
    visitors, good = Visitors(three), three.version
    three.release(BAD)
    three.host(FIRST).mirage('pull')
    for name in set(NAMES) - {FIRST}:
        said = three.host(name).mirage('pull')
        assert (f'www: REFUSED: {FIRST}, which goes first, refused it: it ended with exit code 1'
                ) in said.stdout
        assert 'unpacking' not in said.stdout
        assert said.returncode == 1
    assert [one['failed'] for one in visitors.end()] == [0, 0, 0]
    assert pages(three) == [good] * 3
    told = three.host('alpha').mirage('status', '--cluster').stdout
    assert f'refused on {FIRST}' in told


def test_while_the_first_is_dead_nobody_takes_what_it_took(three: Cluster) -> None:
    good = three.version
    three.release()
    three.host(FIRST).mirage('pull')
    assert pages(three)[NAMES.index(FIRST)] == three.version
    three.host(FIRST).die()
    until(lambda: three.fenced)
    others = [host for host in three.hosts if host.name != FIRST]
    for host in others:
        said = host.mirage('pull')
        assert f'waits for its turn: {FIRST} took it and is away' in said.stdout
    assert [three.page(host.address) for host in others] == [f'release-{good:04}'] * 2


def test_who_goes_first_and_is_rolled_back_takes_the_others_with_it(three: Cluster) -> None:
    good = three.version
    three.release()
    three.pull()
    until(lambda: pages(three) == [three.version] * 3, pause=0.2)
    until(lambda: not any('drained' in host.mirage('status').stdout for host in three.hosts))
    for _ in range(2):  # as cron does long after
        assert [said.returncode for said in three.pull().values()] == [0, 0, 0]
    first = three.host(FIRST)
    serving = first.mirage('status', '--json').stdout
    number = int(serving.partition('"release": ')[2].partition(',')[0])
    first.silence()
    said = first.mirage('heal', 'www', 'rollback', '--release', str(number), '--reason', 'silent')
    assert three.page(first.address) == f'release-{good:04}', said.stdout
    for host in three.hosts:
        if host is not first:
            said = host.mirage('pull')
            assert f'{FIRST}, which goes first, was rolled back' in said.stdout
    assert pages(three) == [good] * 3


def test_a_host_that_is_banned_holds_nobody_up(three: Cluster) -> None:
    alpha, others = three.host('alpha'), [three.host(name) for name in ('beta', 'gamma')]
    alpha.act('pcs', 'resource', 'ban', 'www-clone', 'alpha')
    until(lambda: not alpha.serves())
    three.release()
    three.pull()
    until(lambda: [three.page(host.address) for host in others] == [
        f'release-{three.version:04}'] * 2, pause=0.2)
    until(lambda: alpha.events()[-1][0] == 'ready', pause=0.2)
    alpha.act('pcs', 'resource', 'clear', 'www-clone')
    until(lambda: pages(three) == [three.version] * 3, pause=0.2)


def test_a_person_may_have_one_take_it_now(three: Cluster) -> None:
    three.release()
    said = three.host('gamma').mirage('pull')
    assert 'waits for its turn' in said.stdout
    assert three.host('gamma').mirage('deploy', 'www').returncode == 0
    assert three.page(three.host('gamma').address) == f'release-{three.version:04}'
