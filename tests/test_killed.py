"""Killed anywhere, the next converge ends with one healthy release and nothing left over."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_hooks.host import system
from tests.deployment import Deployment, git, run, web

KILLED = Path(__file__).with_name('killed.py')
RANDOM = int(os.environ.get('MIRAGE_HOOKS_KILLS', '12'))
"""How many random moments to kill at; the figures in docs/reliability.md take 1000."""


Record = Callable[[str, object], None]


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    deployment.configure(confirm='0s', keep=1)
    deployment.publish(web('page 0'), f'{0:040x}')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    return deployment


def publish(deployment: Deployment, number: int, before: str = '') -> None:
    """Bring image `number` into the host's clone without a hook."""
    deployment.publish(web(f'page {number}', before), f'{number:040x}')
    git(deployment.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')


def assert_one_healthy(deployment: Deployment, page: str) -> None:
    """One release serves `page`, and nothing of another is left."""
    assert deployment.page() == page
    state = deployment.state()
    shelf = state.of('www')
    current = shelf.current()
    assert current is not None
    running = {mark for mark, _ in system.marked(state.root)}
    assert running == {shelf.folder(current.number)}
    assert not list(state.root.rglob('*.new')) and not list(state.root.rglob('*.part'))
    assert state.holder() == ''
    served = [release.number for release in shelf.releases()]
    assert served == shelf.numbers(), 'a folder of a release that never served is left'


@pytest.mark.parametrize('when', ['before', 'after'])
@pytest.mark.parametrize('case', ['a good image', 'a bad image', 'a rollback'])
def test_killed_at_every_step(
    serving: Deployment, case: str, when: str, record_property: Record
) -> None:
    serves = 'page 0'
    for step in range(1, 200):
        number = step  # every try brings an image of its own
        if case == 'a rollback':
            publish(serving, number)
            assert serving.mirage('deploy').returncode == 0
            before, serves = serves, f'page {number}'
            arguments = ['rollback', 'www']
        else:
            publish(serving, number, 'sys.exit(2)' if case == 'a bad image' else '')
            arguments = ['deploy']
        done = run(
            sys.executable, '-I', str(KILLED), str(step), when, '-C', str(serving.host),
            *arguments, cwd=serving.folder,
        )
        serving.mirage('pull', '--quiet')
        if case == 'a good image':
            serves = f'page {number}'
        elif case == 'a rollback' and (serving.state().of('www').pin() is not None):
            serves = before  # the decision was written down in time, and is carried out
        assert_one_healthy(serving, serves)
        if done.returncode != -signal.SIGKILL:
            break
    assert step > 8, done.stdout  # it was killed, and more than once
    assert f'steps: {step - 1}' in done.stdout
    record_property(f'SIGKILL {when} every step of {case}', f'{step - 1} kills, all recovered')


def test_killed_at_random_moments(serving: Deployment, record_property: Record) -> None:
    chance = random.Random(7)
    for number in range(1, RANDOM + 1):
        publish(serving, number)
        process = subprocess.Popen(
            (sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(serving.host), 'deploy'),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.1, 0.7))
        process.kill()
        process.wait()
        serving.mirage('pull', '--quiet')
        assert_one_healthy(serving, f'page {number}')
    record_property('SIGKILL at random moments of a deployment', f'{RANDOM} kills, all recovered')
