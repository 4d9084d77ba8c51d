"""The resource agent, as Pacemaker calls it and as Debian's ocf-tester judges it, and what
Pacemaker is told; all without a cluster. Where there is one: tests/whole/test_cluster.py."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import Deployment, run, web

COMMANDS = (
    'pcs resource create --disabled {www} ocf:mirage-hooks:unikernel repository={host} name=www op '
    'start interval=0s timeout=120s stop interval=0s timeout=120s monitor interval=10s '
    'timeout=120s{deep} meta resource-stickiness=100 migration-threshold=3 failure-timeout=600s'
)


class Agent:
    """The agent below an OCF_ROOT of the test's own, which everybody may enter."""

    def __init__(self, root: Path, host: Deployment) -> None:
        self.root, self.host = root, host
        self.path = root / 'resource.d' / 'mirage-hooks' / 'unikernel'

    def install(self) -> Any:
        return self.host.mirage('install', '--pacemaker', str(self.host.host))

    def __call__(self, action: str, **given: str) -> Any:
        given = {'repository': str(self.host.host), 'name': 'www', **given}
        words = (f'OCF_RESKEY_{key}={value}' for key, value in given.items())
        return run('env', *words, str(self.path), action, cwd=Path('/'))


@pytest.fixture
def agent(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """Installed; release 1 of www is ready."""
    deployment.configure(placement='pacemaker')
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv('OCF_ROOT', folder)
        made = Agent(Path(folder), deployment)
        assert made.install().returncode == 0
        yield made


def test_the_agent_is_put_in_place_and_the_commands_are_said(agent: Agent) -> None:
    host = str(agent.host.host)
    agent.path.unlink()
    said = agent.install()
    assert said.stdout.splitlines() == [
        f'agent: {agent.path}, as ocf:mirage-hooks:unikernel',
        'once the agent and mirage.yml are on every host, on one of them (or with --apply):',
        f'  {COMMANDS.format(www="www", host=host, deep="")}',
        '  pcs resource enable www',
    ]
    assert os.access(agent.path, os.X_OK)
    assert agent.install().stdout.splitlines()[0] == f'agent: unchanged in {agent.path}'


def test_mirage_yml_says_what_pacemaker_is_told(agent: Agent) -> None:
    agent.host.configure(watch=False, placement={
        'resource': 'site', 'after': ['bridge-clone'], 'together': ['disk'],
        'prefer': ['alpha', 'beta']})
    deep = ' monitor interval=30s timeout=120s OCF_CHECK_LEVEL=10'
    assert agent.install().stdout.splitlines()[2:] == [
        f'  {COMMANDS.format(www="site", host=agent.host.host, deep=deep)}',
        '  pcs constraint order bridge-clone then site',
        '  pcs constraint order disk then site',
        '  pcs constraint colocation add site with disk',
        '  pcs constraint location site prefers alpha=2000',
        '  pcs constraint location site prefers beta=1000',
        '  pcs resource enable site',
    ]


def test_pacemaker_waits_for_all_that_a_start_may_take(agent: Agent) -> None:
    """Two releases, of which each is asked one question after the other, and then watched."""
    agent.host.configure(placement='pacemaker', confirm='5m', health=[
        {'tcp': '127.0.0.1:8080', 'within': '20s'}, {'alive': '2m'},
        {'dns': {'name': 'www.example.org', 'server': '127.0.0.1:53'}, 'within': '10s'}])
    assert ' start interval=0s timeout=980s stop ' in agent.install().stdout.replace('\n', ' ')


def test_where_nothing_is_placed_nothing_is_installed(agent: Agent) -> None:
    agent.path.unlink()
    agent.host.configure()
    said = agent.install()
    assert said.stderr == (
        'mirage-hooks: mirage.yml has Pacemaker place nothing\n  hint: write `placement: '
        'pacemaker` for a unikernel; see docs/several-hosts.md\n')
    assert said.returncode == 1
    assert not agent.path.exists()


def test_apply_without_pacemaker_makes_no_sense(deployment: Deployment) -> None:
    said = deployment.mirage('install', '--apply', str(deployment.folder))
    assert said.stderr == 'mirage-hooks: --apply goes with --pacemaker\n'
    assert said.returncode == 2


@pytest.mark.skipif(shutil.which('ocf-tester', path='/usr/sbin:/usr/bin') is None
                    or shutil.which('xmllint') is None,
                    reason='ocf-tester or xmllint is missing')
def test_debian_s_tester_passes_it(agent: Agent) -> None:
    said = run('/usr/sbin/ocf-tester', '-n', 'www', '-o', f'repository={agent.host.host}', '-o',
               'name=www', str(agent.path), cwd=Path('/'))
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.splitlines()[-1] == f'{agent.path} passed all tests'
    assert agent.host.processes() == []


@pytest.mark.parametrize(('given', 'code', 'why'), [
    ({}, 0, ''),
    ({'name': ''}, 6, 'the resource needs both parameters, repository and name'),
    ({'repository': 'www'}, 6, 'the parameter repository is www: it takes an absolute path'),
    ({'repository': '/nowhere'}, 5,
     '/nowhere does not exist'),
    ({'name': 'blog'}, 5, 'mirage.yml of {host} names no unikernel blog'),
])
def test_a_wrong_parameter_is_told_by_the_book(
    agent: Agent, given: dict[str, str], code: int, why: str
) -> None:
    for action in ('validate-all', 'start'):
        said = agent(action, **given)
        assert said.returncode == code, said.stderr
        if why:
            assert said.stderr == f'ocf-exit-reason:{why.format(host=agent.host.host)}\n'


def test_what_this_host_starts_itself_is_not_pacemaker_s(agent: Agent) -> None:
    agent.host.configure()
    said = agent('start')
    assert said.stderr == (
        'ocf-exit-reason:www is not placed by Pacemaker: this host starts it by itself; write '
        '`placement: pacemaker` for www in mirage.yml, then mirage-hooks deploy\n')
    assert said.returncode == 5


def test_where_nothing_is_ready_nothing_can_be_started(agent: Agent) -> None:
    agent.host.state().of('www').set_ready(None)
    said = agent('start')
    assert said.stderr == (
        'ocf-exit-reason:no release of www is ready on this host; mirage-hooks deploy www makes '
        'one ready, and says what is in the way\n')
    assert said.returncode == 5


@pytest.mark.parametrize(('action', 'code'), [
    ('promote', 3), ('', 3), ('monitor', 7), ('status', 7), ('reload-agent', 0), ('stop', 0),
    ('meta-data', 0),
])
def test_each_action_answers_by_the_book(agent: Agent, action: str, code: int) -> None:
    assert agent(action).returncode == code


def test_what_is_not_on_this_host_has_been_stopped(agent: Agent) -> None:
    """Whose stop fails is fenced; and Pacemaker stops what it could not start."""
    assert agent('stop', repository='/nowhere').returncode == 0
    assert agent('stop', name='blog').returncode == 0


def test_without_what_runs_it_the_agent_says_so(agent: Agent) -> None:
    text = agent.path.read_text()
    agent.path.write_text(text.replace('\npython=', '\npython=/nowhere'))
    assert agent('monitor').returncode == 5
    assert agent('meta-data').stdout.startswith('<?xml version="1.0"?>')
