"""What a killed deployment leaves is seen in `status`, and taken away by the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from mirage_hooks.host import xen
from mirage_hooks.state import store
from mirage_hooks.switching import leftover
from tests import wired
from tests.deployment import Deployment, git
from tests.patience import until
from tests.switching.test_conflicts import OURS, domains, site, state
from tests.wired import Wired

__all__ = ['site', 'state']

HANGS = b'#!/bin/sh\nexec sleep 600\n'


@pytest.mark.long
@pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')
def test_status_says_what_a_killed_deployment_left_and_the_next_one_takes_it_away(
    site: Wired
) -> None:
    site.start()
    site.release(HANGS)
    git(site.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
    assert json.loads(site.mirage('status', '--json').stdout)['left'] == []
    with subprocess.Popen(
        (*site.inside(), *site.command('deploy')), stdout=subprocess.DEVNULL, cwd=site.folder
    ) as deploying:
        try:
            stage = f'mh-{site.owner()[:8]}-s'
            until(lambda: stage in site.links() and 2 in site.processes())
            # While it goes on, nothing is left over.
            assert json.loads(site.mirage('status', '--json').stdout)['left'] == []
        finally:
            os.kill(deploying.pid, signal.SIGKILL)
    mark = site.owner()[:8]
    until(lambda: f'mh-{mark}-v' not in site.links())  # it goes with the namespace of the stage
    left = ['release 2 of www, which was being deployed', 'a process of www, release 2',
            *(f'the interface {name}' for name in
              sorted([f'mh-{mark}-s', site.tap(2)]))]
    assert json.loads(site.mirage('status', '--json').stdout)['left'] == left
    told = site.mirage('status').stdout
    assert f'left by a deployment that was killed: {", ".join(left)}\n' in told
    assert "  hint: cron's next run takes it away, or now: mirage-hooks deploy\n" in told
    # git runs no hook when nothing came, so all of it stays; cron's run takes it away.
    assert site.pull().returncode == 0
    assert json.loads(site.mirage('status', '--json').stdout)['left'] == left
    site.configure(health={'http': 'http://10.9.0.2:8080/', 'within': '1s'})
    site.mirage('pull', '--quiet')
    assert json.loads(site.mirage('status', '--json').stdout)['left'] == []
    site.alone(1)


def test_a_trial_of_the_gate_that_was_killed_is_left(serving: Deployment) -> None:
    releases = serving.state().proof('www')
    releases.begin()
    assert serving.mirage('status').stdout.splitlines()[-2] == (
        'left by a deployment that was killed: the trial of www for the gate'
    )


def test_a_domain_of_ours_that_nothing_wants_is_left(
    state: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = state.of('www')
    current = releases.current()
    assert current is not None
    for number in (1, 2):
        releases.discard(number)
    domains(state, www_3=OURS, www_2=OURS, blog=OURS)
    releases.unpoint()
    assert xen.domains().keys() == {'www-3', 'www-2', 'blog'}
    assert list(leftover.left(state, '0' * 16)) == ['the domain www-3']
    releases.point(current.number)
    assert list(leftover.left(state, '0' * 16)) == []
