"""Pushes and pulls all at once: one deployment for each digest, the newest wins, nobody waits for
ever, and nothing is left.

MIRAGE_HOOKS_AT_ONCE=50 sets how many; the figures in docs/reliability.md take 50."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_hooks.host import processes
from tests.deployment import Deployment, git, web
from tests.patience import until

AT_ONCE = int(os.environ.get('MIRAGE_HOOKS_AT_ONCE', '8'))
PATIENCE = 180 + 20 * AT_ONCE  # seconds, for a busy machine
LOCKED = re.compile(r'cannot lock ref|Unable to create|Another git process|fetch first|unmerged')
WAITING = re.compile(r'waiting for another deployment to end: [0-9]+ (git|pull|cron|deploy)[ \w]*')


Record = Callable[[str, object], None]


class Crowd:
    """Commands that run at once; `end` waits for all of them."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *command: str, cwd: Path) -> None:
        self.running.append(subprocess.Popen(
            command, cwd=cwd, text=True, errors='replace', stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ))

    def end(self) -> list[tuple[int, str]]:
        """(exit code, all that it said) of each; TimeoutExpired when one waits for ever."""
        limit = time.monotonic() + PATIENCE
        try:
            said = [process.communicate(timeout=limit - time.monotonic())[0]
                    for process in self.running]
            return [(process.returncode, text)
                    for process, text in zip(self.running, said, strict=True)]
        finally:
            for process in self.running:
                process.kill()
                process.wait()


def once_and_alone(deployment: Deployment, git_dir: Path, newest: str) -> None:
    """`newest` is served by the only process once the others have drained, no digest was deployed
    twice, the lock is free."""
    state = deployment.state(git_dir)
    until(lambda: state.of('www').overlap() is None and state.holder() == '')
    assert deployment.page() == newest
    deployed = Counter(
        entry.digest for entry in deployment.history(git_dir) if entry.event == 'deployed'
    )
    assert set(deployed.values()) == {1}
    events = {entry.event for entry in deployment.history(git_dir)}
    assert events <= {'deployed', 'drained'}, deployment.history(git_dir)
    releases = state.of('www')
    live = deployment.current(git_dir=git_dir)
    assert {mark for mark, _ in processes.marked(state.root)} == {releases.folder(live.number)}
    assert [release.number for release in releases.served()] == releases.numbers()
    assert not list(state.root.rglob('*.new'))
    assert state.holder() == ''


def rivals(deployment: Deployment, count: int) -> list[str]:
    """`count` commits on top of the same one, each with an image of its own."""
    base = git(deployment.site, 'rev-parse', 'HEAD')
    made = []
    for number in range(1, count + 1):
        git(deployment.site, 'reset', '-q', '--hard', base)
        deployment.publish(web(f'rival {number}'), f'{number:040x}', push=False)
        made.append(git(deployment.site, 'rev-parse', 'HEAD'))
    return made


def test_pushes_and_cron_runs_to_a_bare_repository_at_once(
    deployment: Deployment, record_property: Record
) -> None:
    deployment.configure(confirm='0s', drain='100ms')
    deployment.hooks(deployment.hub)
    deployment.publish(web('first'), 'f' * 40)
    commits = rivals(deployment, AT_ONCE // 2)
    crowd = Crowd()
    for commit in commits:
        crowd.start('git', 'push', '-q', str(deployment.hub), f'+{commit}:refs/heads/master',
                    cwd=deployment.site)
        crowd.start(*deployment.command('pull', repository=deployment.hub), cwd=deployment.folder)
    ended = crowd.end()
    assert [said for code, said in ended if code and not LOCKED.search(said)] == []
    tip = git(deployment.hub, 'rev-parse', 'master')
    once_and_alone(deployment, deployment.hub, f'rival {commits.index(tip) + 1}')
    waited = [line.removeprefix('remote: ').rstrip() for _, said in ended
              for line in said.splitlines() if 'waiting for' in line]
    assert waited
    deployed = sum(one.event == 'deployed' for one in deployment.history(deployment.hub))
    deployed = len(deployment.history(deployment.hub))
    record_property('pushes and cron runs at once', f'{len(commits)} and {len(commits)}: '
                    f'{deployed} deployments, each digest once, the newest serves, none waits')


@pytest.fixture
def host(deployment: Deployment) -> Deployment:
    """A clone that serves `first`."""
    deployment.configure(confirm='0s', drain='100ms')
    deployment.publish(web('first'), 'f' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    return deployment


def pulled(host: Deployment, count: int, *commands: tuple[str, ...]) -> list[tuple[int, str]]:
    """What happens to each of `commands`, `count` times at once, while the site publishes."""
    crowd = Crowd()
    for number in range(1, count + 1):
        if number % 4 == 1:
            host.publish(web(f'page {number}'), f'{number:040x}')
        for command in commands:
            crowd.start(*command, cwd=host.host)
    return crowd.end()


def newest(count: int) -> str:
    return f'page {(count - 1) // 4 * 4 + 1}'


def test_cron_runs_in_one_clone_at_once(
    host: Deployment, record_property: Record
) -> None:
    ended = pulled(host, AT_ONCE, host.command('pull', '--quiet'))
    assert [said for code, said in ended if code] == []
    once_and_alone(host, host.host / '.git', newest(AT_ONCE))
    assert host.state().holder('pulling') == ''
    record_property('cron runs at once', f'{AT_ONCE}: all ended well')


def test_pulls_by_hand_and_by_cron_in_one_clone_at_once(host: Deployment) -> None:
    """Git's own locks turn some of them down, in its words; the next cron run makes it good."""
    ended = pulled(host, AT_ONCE // 2, host.command('pull', '--quiet'), ('git', 'pull', '-q'))
    assert [said for code, said in ended if code not in (0, 1, 128)] == []
    assert [said for _, said in ended if 'Traceback' in said or 'our own fault' in said] == []
    done = host.mirage('pull', '--quiet')
    assert done.returncode == 0, done.stdout
    once_and_alone(host, host.host / '.git', newest(AT_ONCE // 2))


def test_a_configuration_that_is_changed_during_a_deployment_is_news_to_the_next_one(
    deployment: Deployment,
) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    deployment.configure(confirm='1s')
    with subprocess.Popen(deployment.command('deploy'), stdout=subprocess.PIPE, text=True) as busy:
        assert busy.stdout is not None
        assert any('starting release 1' in line for line in busy.stdout)
        deployment.configure(arguments=['--message=changed'])
        busy.communicate()
    assert deployment.mirage('pull', '--quiet').returncode == 0
    assert deployment.current().plan.command[-1] == '--message=changed'
