"""Killed anywhere, the next converge ends with one healthy release and nothing left over."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from mirage_hooks.host import processes, sharing
from tests import dhcp, wired
from tests.deployment import ROOT, Deployment, git, run, web
from tests.patience import until
from tests.switching import test_leasing as leasing
from tests.wired import Wired

KILLED = ROOT / 'tests' / 'killed.py'
RANDOM = int(os.environ.get('MIRAGE_HOOKS_KILLS', '24'))
"""How many random moments to kill at; the figures in docs/reliability.md take 1000."""
STRIDE = int(os.environ.get('MIRAGE_HOOKS_STRIDE', '5'))
"""Kill at every so manyth step on a bridge; the figures take 1."""
CASES = ('a good image', 'a bad image', 'a rollback')
BAD = b'#!/bin/sh\nexit 3\n'

Record = Callable[[str, object], None]


class Port(Deployment):
    """The old release makes room for the new one: `replace`."""

    MODE = 'one port'
    STRIDE, STEPS = 1, 7
    KEYS: ClassVar = {'switch': 'replace'}

    def set_out(self) -> None:
        self.version = 1
        self.configure(confirm='0s', keep=1, **self.KEYS)
        self.publish(web('page 1'), f'{1:040x}')
        self.clone()
        assert self.mirage('deploy').returncode == 0

    def publish_next(self, bad: bool = False) -> str:
        """Bring an image into the host's clone without a hook; its page."""
        self.version += 1
        page = f'page {self.version}'
        self.publish(BAD + b'#%d' % self.version if bad else web(page), f'{self.version:040x}')
        git(self.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
        return page

    def inside(self) -> tuple[str, ...]:
        return ()

    def alone(self, release: int) -> None:
        """`release` is the only thing of ours on the host."""
        state = self.state()
        assert {mark for mark, _ in processes.marked(state.root)} == {
            state.of('www').folder(release)
        }


class Shared(Port):
    """Both listen on the port: `overlap`."""

    MODE = 'side by side on one port'
    KEYS: ClassVar = {'drain': '100ms'}

    def alone(self, release: int) -> None:
        state = self.state()
        until(lambda: state.of('www').overlap() is None)
        # The keeper, which has drained it, comes to its end.
        until(lambda: state.holder() == '' and not list(state.root.rglob('*.new')))
        super().alone(release)


class Bridge(Wired):
    """The new release is proved on a stage and joins the bridge: `overlap`."""

    MODE = 'side by side'
    STRIDE, STEPS = STRIDE, 20

    def set_out(self) -> None:
        self.configure(drain='100ms', confirm='0s', keep=1)
        self.start()

    def publish_next(self, bad: bool = False) -> str:
        self.release(BAD + b'#%d' % self.version if bad else None)
        git(self.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
        return f'release-{self.version:04}'


class Lease(leasing.Leased):
    """The same with an address by DHCP."""

    MODE = 'side by side by DHCP'
    STRIDE, STEPS = STRIDE, 20

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 'dnsmasq')

    def set_out(self) -> None:
        self.configure(drain='100ms', confirm='0s', keep=1)
        self.start()

    def publish_next(self, bad: bool = False) -> str:
        self.release(leasing.bad(self.version + 1) if bad else None)
        git(self.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
        return f'release-{self.version:04}'


Victim = Port | Bridge | Lease
TROUBLE, LEASING = sharing.trouble(), leasing.LACKING or dhcp.missing('dnsmasq')
NEEDED = {
    Port: (), Shared: (pytest.mark.skipif(bool(TROUBLE), reason=TROUBLE or 'nothing'),),
    Bridge: (pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing'),),
    Lease: (pytest.mark.skipif(bool(LEASING), reason=LEASING or 'nothing'),),
}
QUICK = ((Port, 'a good image', 'before'), (Shared, 'a good image', 'after'),
         (Bridge, 'a bad image', 'after'))
"""The series of kills that are tried in every run; the others are `long`."""


@pytest.fixture
def victim(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Victim]:
    """A host's clone that serves its first release."""
    made: Victim = request.param(tmp_path)
    try:
        made.set_out()
        yield made
    finally:
        made.end()


class Story:
    """What is done to a victim, and the page that it must serve then."""

    def __init__(self, victim: Victim) -> None:
        self.victim, self.serves, self.before = victim, victim.page(), ''

    def prepare(self, case: str) -> str:
        """Publish what `case` is about; the command that is to be killed."""
        if case == 'a rollback':
            if not self.before:
                self._good()
                assert self.victim.mirage('pull', '--quiet').returncode == 0
            return 'rollback www'
        if case == 'a good image':
            self._good()
        else:
            self.victim.publish_next(bad=True)
        return 'deploy'

    def check(self, case: str) -> None:
        """The next cron run ends with one healthy release, the right one, and no more."""
        self.victim.dismiss()  # which would not wait for cron
        self.victim.mirage('pull', '--quiet')
        state = self.victim.state()
        releases = state.of('www')
        if case == 'a rollback':
            if releases.pin() is not None:  # the decision was written down in time
                self.serves = self.before
            self.before = ''
        current = releases.current()
        assert current is not None
        assert self.victim.page() == self.serves
        self.victim.alone(current.number)
        assert not list(state.root.rglob('*.new')) and not list(state.root.rglob('*.part'))
        assert state.holder() == ''
        served = [release.number for release in releases.served()]
        assert served == releases.numbers(), 'a folder of a release that never served is left'

    def _good(self) -> None:
        self.before, self.serves = self.serves, self.victim.publish_next()


def steps_of(done: subprocess.CompletedProcess[str]) -> int:
    """How many steps there were, as KILLED says when it got through; 0 when it did not."""
    found = re.search(r'^steps: (\d+)$', done.stdout, re.M)
    return int(found[1]) if found else 0


@pytest.mark.parametrize(('victim', 'case', 'when'), [
    pytest.param(kind, case, when, id=f'{kind.MODE}-{case}-{when}', marks=[
        *([] if (kind, case, when) in QUICK else [pytest.mark.long]), *NEEDED[kind]])
    for kind in (Port, Shared, Bridge, Lease) for case in CASES for when in ('before', 'after')
], indirect=['victim'])
def test_killed_at_every_step(
    victim: Victim, case: str, when: str, record_property: Record
) -> None:
    story, step, killed = Story(victim), 1, 0
    while True:
        command = story.prepare(case)
        done = run(
            *victim.inside(), sys.executable, '-I', str(KILLED), 'SIGKILL', str(step), when, '-C',
            str(victim.host), *command.split(), cwd=victim.folder,
        )
        story.check(case)
        # After a step that fails there is nothing to be killed after: it goes on.
        if (through := steps_of(done)) and through < step:
            break
        killed += done.returncode == -signal.SIGKILL
        step += victim.STRIDE
    assert killed > victim.STEPS / victim.STRIDE, done.stdout
    # A switch back to what is drained still takes fewer steps than one to what has drained.
    assert victim.STRIDE > 1 or killed >= through, 'a step went by'
    record_property(f'SIGKILL {when} every step of {case}, {victim.MODE}',
                    f'{killed} kills, all recovered')


@pytest.mark.long
@pytest.mark.parametrize(('victim', 'case'), [
    pytest.param(kind, case, id=f'{kind.MODE}-{case}', marks=NEEDED[kind])
    for kind in (Port, Shared, Bridge) for case in CASES
], indirect=['victim'])
def test_interrupted_after_every_step_the_one_or_the_other_release_serves_at_once(
    victim: Victim, case: str, record_property: Record
) -> None:
    story, step, interrupted = Story(victim), 1, 0
    while True:
        command = story.prepare(case)
        victim.dismiss()  # what serves now, serves without the keeper
        done = run(
            *victim.inside(), sys.executable, '-I', str(KILLED), 'SIGINT', str(step), 'after',
            '-C', str(victim.host), *command.split(), cwd=victim.folder,
        )
        until(lambda: victim.page() in (story.before, story.serves))
        story.check(case)
        through = steps_of(done)
        assert through, done.stderr
        if through < step:
            break
        # After a step that fails there is nothing to be interrupted after: it goes on.
        assert (done.returncode == 130) == ('at the step\n' in done.stdout), done.stderr
        interrupted += done.returncode == 130
        step += victim.STRIDE
    assert interrupted > victim.STEPS / victim.STRIDE
    record_property(f'Ctrl-C after every step of {case}, {victim.MODE}',
                    f'{interrupted} interruptions, what served or what was to serve answered')


@pytest.mark.parametrize('victim', [
    pytest.param(Port, id=Port.MODE, marks=pytest.mark.long),
    pytest.param(Shared, id=Shared.MODE, marks=[*NEEDED[Shared]]),
    pytest.param(Bridge, id=Bridge.MODE, marks=[pytest.mark.long, *NEEDED[Bridge]]),
    pytest.param(Lease, id=Lease.MODE, marks=[pytest.mark.long, *NEEDED[Lease]]),
], indirect=True)
def test_killed_at_random_moments(victim: Victim, record_property: Record) -> None:
    chance, story = random.Random(7), Story(victim)
    began = time.monotonic()
    assert victim.mirage(story.prepare('a good image')).returncode == 0
    took = time.monotonic() - began
    killed = 0
    for number in range(RANDOM // 2):
        case = CASES[number % 3]
        process = subprocess.Popen(
            (*victim.inside(), *victim.command(*story.prepare(case).split())),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0, took))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        story.check(case)
    record_property(
        f'SIGKILL at random moments of deployments and rollbacks, {victim.MODE}',
        f'{RANDOM // 2} tries, {killed} killed before their end, all recovered',
    )


def test_interrupted_while_the_new_release_is_watched_the_old_one_serves_again(
    tmp_path: Path,
) -> None:
    victim = Port(tmp_path)
    try:
        victim.set_out()
        victim.configure(confirm='60s', keep=1, **victim.KEYS)
        victim.publish_next()
        with subprocess.Popen(
            victim.command('deploy'), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            assert any('starting release 2' in line for line in process.stdout)
            process.send_signal(signal.SIGINT)
            process.communicate()
        assert process.returncode == 130
        until(lambda: victim.page() == 'page 1')
    finally:
        victim.end()
