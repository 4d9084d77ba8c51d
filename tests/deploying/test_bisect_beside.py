"""The same where the network is static on a bridge: old images are tried on a stage, at the address
of what serves, which is asked all the while from the wire and from the host."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import wired
from tests.deploying.test_bisect import steps, verdicts
from tests.deployment import git, run
from tests.switching.test_overlap import NOTHING, Load, costs
from tests.whole.test_killed import BAD, KILLED, steps_of
from tests.wired import Wired

pytestmark = pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')


class Published(Wired):
    """Release 1 serves; more images were published after it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.commits: list[str] = ['']

    def release(self, image: bytes | None = None) -> None:
        super().release(image)
        self.commits.append(git(self.site, 'rev-parse', 'HEAD'))

    def publish(self, good: int, bad: int = 0) -> None:
        """So many more of each."""
        for _ in range(good):
            self.release()
        for _ in range(bad):
            self.release(BAD + b'#%d' % self.version)
        git(self.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')

    def bisect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = self.mirage('bisect', 'www', *arguments)
        return done


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Published]:
    made = Published(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.end()


def test_the_first_bad_image_is_found_on_a_stage_and_costs_no_request(
    published: Published
) -> None:
    published.publish(good=3, bad=4)
    links, live = published.links(), published.processes()
    load = Load(published)
    done = published.bisect()
    assert costs(load.end()) == NOTHING
    assert done.returncode == 0, done.stdout + done.stderr
    good, bad = published.commits[4][:12], published.commits[5][:12]
    assert f'www: the first bad image is that of commit {bad}: unix/www ' in done.stdout
    assert f'  the last good one is that of commit {good}: unix/www' in done.stdout.splitlines()
    assert '  it is bad: it ended with exit code 3' in done.stdout.splitlines()
    assert len(verdicts(done.stdout)) <= 4
    assert steps(done.stdout)[2] == 'www: trying release 2 on a stage'
    assert (published.links(), published.processes()) == (links, live)
    assert published.page() == 'release-0001'
    published.alone(1)


def test_a_command_asks_on_the_stage_at_the_address_of_what_serves(published: Published) -> None:
    published.publish(good=4)
    load = Load(published)
    done = published.bisect('--run', 'page=$(curl -s "http://$MIRAGE_HOOKS_ADDRESS:8080/"); '
                            'echo "$page"; case $page in release-000[123]*) ;; *) exit 1; esac')
    assert costs(load.end()) == NOTHING
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'first bad image is that of commit {published.commits[4][:12]}: ' in done.stdout
    assert 'www: | release-0003' in [line.rstrip() for line in steps(done.stdout)]
    assert published.page() == 'release-0001'
    published.alone(1)


@pytest.mark.long
@pytest.mark.parametrize('signalled', ['SIGKILL', 'SIGINT'])
def test_killed_on_the_way_it_leaves_nothing_on_the_host(
    published: Published, signalled: str
) -> None:
    published.publish(good=1)
    # The newest one serves: cron's next run has nothing else to do.
    assert published.mirage('deploy').returncode == 0
    published.drained()
    links, step, ended = published.links(), 1, 0
    while True:
        done = run(
            *published.inside(), sys.executable, '-I', str(KILLED), signalled, str(step), 'after',
            '-C', str(published.host), 'bisect', 'www', '--run', 'exit 1', cwd=published.folder,
        )
        if signalled == 'SIGKILL':
            assert published.mirage('pull', '--quiet').returncode == 0
        assert published.page() == 'release-0002'
        assert published.links() == links
        assert not (published.state().root / 'gate').exists()
        published.alone(2)
        if (through := steps_of(done)) and through < step:
            break
        ended += done.returncode == (-signal.SIGKILL if signalled == 'SIGKILL' else 130)
        step += 3
    assert ended > 5, done.stdout + done.stderr
