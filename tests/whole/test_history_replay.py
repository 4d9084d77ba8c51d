"""A history of the shape that the original deployment repository has, replayed commit by commit:
93 commits, of which 71 bring an image; the image renamed twice, old ones removed, one deployed
anew under the same name, and commits to the host's scripts in between."""

from __future__ import annotations

import bz2
import hashlib

import pytest

from tests.deployment import Deployment, git
from tests.patience import until

SCRIPTS, MERGE, REMOVE, ANEW = 's', 'm', 'd', 'r'
NAMES = {'a': 'mir-mortio.xen.bz2', 'b': 'mir-mort.io.xen.bz2', 'c': 'mortio.xen.bz2'}

SHAPE = (
    's' 'a' 's' 'aaaaaaaa' 's' 'aaaaaaaaaaaaaa' 'sss' 'bbbb' 'sss' 'd' 'b' 's' 'm' 'bb' 's' 'bbbb'
    's' 'bbb' 's' 'm' 'bbbbb' 'r' 'bbbbbbbbb' 'c' 'ssssss' 'cccccccccccccccccc'
)


def image(number: int) -> bytes:
    """A stand-in that only lives."""
    return f'#!/bin/sh\necho "I am {number}"\nexec sleep 3600\n'.encode()


class History:
    """The site's side: each step is one commit, which remembers what should run after it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.folder, self.name, self.wanted = '', '', b''

    def step(self, number: int, kind: str) -> None:
        site = self.deployment.site
        if kind in NAMES:
            self.folder, self.name = hashlib.sha1(str(number).encode()).hexdigest(), NAMES[kind]
            self._publish(number)
        elif kind == ANEW:
            self._publish(number)
        elif kind == REMOVE:
            for old in site.glob('xen/*/*.bz2'):
                if old.parent.name != self.folder:
                    old.unlink()
            self.deployment.commit('remove old unikernels from current checkout', push=False)
        elif kind == MERGE:
            self._merge()
        else:
            (site / 'post-merge.hook').write_text(f'# {number}\n')
            self.deployment.commit('scripts: fix deployment', push=False)

    def _publish(self, number: int) -> None:
        self.wanted = image(number)
        self.deployment.publish(
            bz2.compress(self.wanted), self.folder, name=self.name, push=False
        )

    def _merge(self) -> None:
        site = self.deployment.site
        git(site, 'checkout', '-q', '-b', 'side', 'HEAD~1')
        git(site, 'commit', '-q', '--allow-empty', '-m', 'scripts: on the side')
        git(site, 'checkout', '-q', 'master')
        git(site, 'merge', '-q', '--no-edit', '--no-ff', 'side')
        git(site, 'branch', '-q', '-D', 'side')


def runs(deployment: Deployment) -> tuple[bytes, list[int]]:
    """The image that runs, and its processes; asserts that there is only one."""
    # Where nothing is asked of an image, the deployment may end before the sandbox has begun it.
    until(deployment.processes)
    found = deployment.processes()
    [folder] = {folder for folder, _ in found}
    return (folder / 'image').read_bytes(), [process.pid for _, process in found]


@pytest.mark.long
def test_every_commit_of_such_a_history_ends_with_the_right_image(deployment: Deployment) -> None:
    assert len(SHAPE) == 93
    deployment.configure("""unikernels:
  mortio: {image: xen/latest, health: {alive: 10ms}, confirm: 0ms}
""")
    history = History(deployment)
    history.step(1, SHAPE[0])
    git(deployment.site, 'push', '-q', 'origin', 'HEAD:master')
    deployment.clone()
    first = deployment.mirage('deploy')
    commit = git(deployment.site, 'rev-parse', 'HEAD')[:12]
    assert (first.returncode, first.stdout.splitlines()[0]) == (
        1, f'mortio: REFUSED: commit {commit} has no xen/latest'
    )
    before: tuple[bytes, list[int]] = (b'', [])
    for number, kind in enumerate(SHAPE[1:], 2):
        history.step(number, kind)
        git(deployment.site, 'push', '-q', 'origin', 'HEAD:master')
        if number % 3:
            done = deployment.pull()
        else:  # no hook fires: a cron run finds it
            git(deployment.host, 'fetch', '-q')
            git(deployment.host, 'reset', '-q', '--hard', 'origin/master')
            done = deployment.mirage('pull', '--quiet')
        assert done.returncode == 0, (number, done)
        after = runs(deployment)
        assert after[0] == history.wanted, (number, done)
        if kind in (SCRIPTS, MERGE, REMOVE):
            assert after[1] == before[1], (number, done)
            assert done.stdout + done.stderr == '', (number, done)
        before = after
    assert deployment.current('mortio').number == 71
    assert [event for event, _ in deployment.events()] == ['refused', *['deployed'] * 71]


def test_a_folder_that_lost_its_image_is_refused_and_comes_back(deployment: Deployment) -> None:
    """As 26 of the original's 97 folders did; there, nobody was told."""
    deployment.configure("""unikernels:
  mortio: {image: xen/latest, health: {alive: 10ms}, confirm: 0ms}
""")
    history = History(deployment)
    for number, kind in enumerate('sac', 1):
        history.step(number, kind)
    git(deployment.site, 'push', '-q', 'origin', 'HEAD:master')
    deployment.clone()
    deployment.mirage('deploy')
    (deployment.site / 'xen' / history.folder / history.name).unlink()
    deployment.commit('remove too much')
    commit = git(deployment.site, 'rev-parse', 'HEAD~1')[:12]
    assert deployment.pull().stderr.splitlines() == [
        f'mortio: REFUSED: xen/{history.folder} holds no image, only config.ml',
        '  hint: publish again; older releases may have been removed from the repository',
        f'mortio: release 1 (unix, {len(history.wanted)} bytes, commit {commit}) goes on running',
    ]
    assert runs(deployment)[0] == history.wanted
    git(deployment.site, 'revert', '--no-edit', 'HEAD')
    git(deployment.site, 'push', '-q', 'origin', 'HEAD:master')
    before = runs(deployment)
    assert deployment.pull().returncode == 0
    assert runs(deployment) == before
    assert deployment.state().of('mortio').failure() is None
