"""Releases that go silent in each way, and a watcher that asks them for real."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Iterator

import pytest
import pytest_mock
import yaml

from mirage_hooks.host import children, sharing
from mirage_hooks.messages import errors
from mirage_hooks.state import watched
from mirage_hooks.watching.watcher import One, Watcher
from tests.deployment import PYTHON, Deployment, web
from tests.patience import PATIENCE, until

QUICK = {'every': '1s', 'timeout': '1s', 'doubt': '1s'}

# Serves until the file `silent` is there, where a sandbox shows it: in the page's own words.
GOES = """#!{python} -IS
import os, socket, sys, time
port = next(int(a.partition('=')[2]) for a in sys.argv if a.startswith('--port='))
server = socket.create_server(('127.0.0.1', port), backlog=64)
print('listening', flush=True)
asked, held = 0, []
while True:
    visitor, _ = server.accept()
    said = visitor.recv(4096)
    asked += b'GET' in said
    if asked > {after}:
        {then}
    with visitor:
        visitor.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n{page}')
"""

WAYS = {
    'never answers': 'held.append(visitor); continue',
    'answers 500': "visitor.sendall(b'HTTP/1.0 500 No\\r\\n\\r\\n'); visitor.close(); continue",
    'takes all of a processor':
        'end = time.monotonic() + 60\n        while time.monotonic() < end: pass',
}


def goes(page: str, then: str, after: int = 12) -> bytes:
    """An image that serves `page` for `after` questions; `then` is Python for each later one."""
    return GOES.format(python=PYTHON, page=page, then=then, after=after).encode()


class Watched:
    """A deployment whose page is asked for, and its watcher."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.process = deployment, None

    def serve(self, image: bytes, release: str = 'a' * 40, **watch: object) -> None:
        url = f'http://127.0.0.1:{self.deployment.port}/'
        self.deployment.configure(health={'http': url}, watch={**QUICK, **watch})
        self.deployment.publish(image, release)
        if self.deployment.host.exists():
            self.deployment.pull()
        else:
            self.deployment.clone()
            assert self.deployment.mirage('deploy').returncode == 0

    def begin(self) -> None:
        self.process = subprocess.Popen(
            self.deployment.command('watch'), stdout=(self.deployment.folder / 'seen').open('a'),
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)

    def seen(self) -> str:
        return (self.deployment.folder / 'seen').read_text()

    def events(self) -> list[str]:
        return [event for event, _ in self.deployment.events()]

    def record(self) -> watched.Record:
        return watched.read(self.deployment.state().of('www').root)


@pytest.fixture
def site(deployment: Deployment) -> Iterator[Watched]:
    made = Watched(deployment)
    yield made
    made.end()


def stop(deployment: Deployment) -> None:
    """Send SIGSTOP to what serves."""
    for _, process in deployment.processes():
        process.suspend()


@pytest.mark.parametrize('then', [
    pytest.param(then, id=way, marks=[] if way == 'never answers' else pytest.mark.long)
    for way, then in WAYS.items()])
def test_whatever_way_it_goes_silent_it_is_restarted(site: Watched, then: str) -> None:
    site.serve(goes('one', then))
    site.begin()
    until(lambda: 'restarted' in site.events(), pause=0.2)
    assert site.events()[:3] == ['deployed', 'silent', 'restarted']
    entry = site.deployment.history()[2]
    assert entry.trigger == 'watcher'
    assert entry.reason.endswith(', 3 times in a row')
    until(lambda: site.record().silences[0].ended, pause=0.2)


def test_a_stopped_process_is_restarted_and_told(site: Watched) -> None:
    told = site.deployment.folder / 'told'
    command = site.deployment.folder / 'tell'
    command.write_text(f'#!/bin/sh\ncat >>{told}\n')
    command.chmod(0o755)
    site.serve(web('one'))
    text = site.deployment.config.read_text()
    site.deployment.configure(f'{text}notify: {{command: [{command}]}}\n')
    assert site.deployment.mirage('deploy').returncode == 0
    site.begin()
    until(lambda: 'release 1 answers' in site.seen())
    stop(site.deployment)
    until(lambda: 'restarted' in site.events(), pause=0.2)
    until(lambda: site.deployment.page() == 'one')
    until(told.exists)
    why = f'http://127.0.0.1:{site.deployment.port}/ did not answer (timed out), 3 times in a row'
    assert f'release 1 was silent: {why}' in told.read_text()
    assert [one.act for one in site.record().healed] == ['restart']


@pytest.mark.long
def test_heal_never_only_tells(site: Watched) -> None:
    site.serve(goes('one', WAYS['never answers']), heal='never')
    site.begin()
    until(lambda: 'goes on running' in site.seen(), pause=0.2)
    assert site.events() == ['deployed', 'silent']
    assert 'www: SILENT: http://127.0.0.1:' in site.seen()
    assert 'to restart it: mirage-hooks restart www' in site.seen()


@pytest.mark.long
def test_a_bad_image_of_today_gives_way_to_the_one_before(site: Watched) -> None:
    site.serve(web('one'))
    site.serve(goes('two', WAYS['never answers']), 'b' * 40)
    releases = site.deployment.state().of('www')
    first = releases.release(1)
    assert first is not None
    aged = first.__class__(**{**{key: getattr(first, key) for key in first.__struct_fields__},
                              'created': time.time() - 3 * 86400})
    releases.save(aged)
    site.begin()
    until(lambda: 'refused' in site.events(), pause=0.2)
    fresh = 2 if sharing.trouble() else 3  # an instance of its own, where both can listen
    assert [one for one in site.deployment.events() if one[0] not in ('silent', 'drained')] == [
        ('deployed', 1), ('deployed', 2), ('restarted', fresh), ('rolled back', 1),
        ('refused', fresh)]
    assert site.deployment.page() == 'one'
    failure = releases.failure()
    assert failure is not None and failure.reason.startswith(
        f'release {fresh} was silent: http://')
    assert site.deployment.mirage('pull').returncode == 0
    assert site.deployment.page() == 'one', 'it is not tried again'


@pytest.mark.long
def test_a_watcher_that_is_killed_at_any_moment_leaves_nothing_that_the_next_cannot(
    site: Watched,
) -> None:
    site.serve(web('one'))
    moments = random.Random(7)
    for _ in range(6):
        stop(site.deployment)
        site.begin()
        time.sleep(moments.uniform(0, 6))
        site.end()
    site.begin()
    until(lambda: 'restarted' in site.events(), pause=0.2)
    until(lambda: site.deployment.page() == 'one', pause=0.2)
    assert len(site.record().healed) >= site.events().count('restarted')


class Asked:
    """A watcher in this process, which the test has ask at once."""

    def __init__(self, deployment: Deployment) -> None:
        self.said: list[str] = []
        self.watcher = Watcher((deployment.host,), self.said.append, acts=True)
        self.watcher._look()
        (self.one,) = self.watcher.ones.values()

    def rounds(self, number: int) -> None:
        for _ in range(number):
            self.one.due = 0.0
            self.watcher._turn(0)
            while self.one.step is not None:
                self.watcher._turn(1)


def test_one_lost_answer_in_thirty_heals_nothing(site: Watched) -> None:
    then = 'if asked % 30 == 0:\n            visitor.close()\n            continue'
    site.serve(goes('one', then, after=0), every='60s', timeout='60s', doubt='60s')
    asked = Asked(site.deployment)
    asked.rounds(70)
    assert asked.one.healing is None
    assert sum('MISSED' in line for line in asked.said) == 2
    assert site.events() == ['deployed']
    assert site.record() == watched.Record()


def test_a_way_that_is_at_fault_is_not_the_releases(site: Watched) -> None:
    """A proxy in front of it that does not answer."""
    site.serve(web('one'), every='60s', timeout='60s')
    with contextlib.closing(site.deployment.hold_port()) as proxy:
        port = proxy.getsockname()[1]
    site.deployment.configure(
        health={'http': f'http://127.0.0.1:{port}/'}, watch={'every': '60s', 'timeout': '60s'})
    state = site.deployment.state()
    from mirage_hooks.config import reading
    from mirage_hooks.state import known

    text = site.deployment.config.read_bytes()
    known.keep(state.root, text, reading.parse(text, 'mirage.yml'))
    asked = Asked(site.deployment)
    asked.rounds(2)
    assert asked.one.healing is None
    asked.rounds(1)
    fault = (f'http://127.0.0.1:{port}/ did not answer (Connection refused), but release 1 answers '
             'when it is asked directly')
    assert f'www: release 1 cannot be judged: {fault}' in asked.said
    until(lambda: asked.one.healing is None or asked.one.healing.ended())
    assert site.events() == ['deployed', 'not watched']
    assert site.deployment.history()[1].reason == fault


def test_what_mirage_yml_wants_otherwise_now_is_not_asked(site: Watched) -> None:
    """As after a refusal: the questions are for another release."""
    site.serve(web('one'), every='60s', timeout='60s', misses=1)
    with contextlib.closing(site.deployment.hold_port()) as other:
        port = other.getsockname()[1]
    site.deployment.port = port
    site.deployment.configure(
        health={'http': f'http://127.0.0.1:{port}/', 'within': '100ms'}, watch={'misses': 1})
    site.deployment.publish(b'nonsense', 'b' * 40)
    site.deployment.pull()
    assert site.events() == ['deployed', 'refused']
    asked = Asked(site.deployment)
    asked.rounds(1)
    assert asked.said == ['www: release 1 is not asked: mirage.yml wants it started otherwise now']
    assert asked.one.healing is None


def heal(site: Watched) -> list[str]:
    """What is said when the watcher has release 1 restarted."""
    done = site.deployment.mirage('heal', 'www', 'restart', '--release=1', '--reason=no answer')
    assert done.returncode == 0, done.stderr
    return list(done.stdout.splitlines())


def test_what_answers_again_once_the_lock_is_free_is_left_alone(site: Watched) -> None:
    site.serve(web('one'))
    before = site.deployment.processes()
    assert heal(site) == ['www: release 1 answers, has ended or was replaced: nothing to do']
    assert (site.deployment.processes(), site.events()) == (before, ['deployed'])


def test_what_is_converged_with_a_restart_is_told_too(site: Watched) -> None:
    site.serve(web('one'))
    hook = site.deployment.host / '.git/hooks/post-merge'
    hook.unlink()
    text = yaml.safe_load(site.deployment.config.read_text())
    text['unikernels']['www']['switch'] = 'replace'
    text['unikernels']['blog'] = {'image': 'xen/latest', 'network': {'mode': 'socket'}}
    site.deployment.configure(yaml.safe_dump(text))
    stop(site.deployment)
    told = [line.partition(' (')[0] for line in heal(site) if ' s  ' not in line]
    assert 'www: release 1' in told
    assert any(line.startswith('blog: ') for line in told), told


def test_one_unikernel_of_a_repository_is_healed_at_a_time(site: Watched) -> None:
    site.serve(web('one'), every='60s', timeout='1s', doubt='60s', misses=1)
    asked = Asked(site.deployment)
    other = One(asked.one.of, due=time.monotonic() + 3600)
    other.healing = children.Child(('sleep', '3600'))
    asked.watcher.ones[site.deployment.host, 'other'] = other
    stop(site.deployment)
    try:
        asked.rounds(2)
        assert (asked.one.healing, site.record()) == (None, watched.Record())
    finally:
        other.healing._process.kill()
    del asked.watcher.ones[site.deployment.host, 'other']
    asked.rounds(1)
    assert asked.one.healing is not None
    until(lambda: 'restarted' in site.events(), pause=0.2)


def test_where_nobody_knows_who_served_before_it_is_restarted(site: Watched) -> None:
    site.serve(web('one'), every='60s', timeout='1s', doubt='60s', misses=1)
    releases = site.deployment.state().of('www')
    (releases.folder(1) / 'served').write_text('')
    asked = Asked(site.deployment)
    stop(site.deployment)
    asked.rounds(1)
    assert asked.one.healing is not None
    until(asked.one.healing.ended)


def test_on_a_full_disk_nothing_is_begun_and_it_is_tried_again(
    site: Watched, mocker: pytest_mock.MockerFixture
) -> None:
    site.serve(web('one'), every='60s', timeout='1s', doubt='60s', misses=1)
    asked = Asked(site.deployment)
    stop(site.deployment)
    full = mocker.patch('mirage_hooks.state.watched.write',
                        side_effect=errors.Unavailable('no space left'))
    asked.rounds(7)
    assert (asked.said[-1], asked.one.healing) == ('www: no space left', None)
    assert asked.one.case.record == watched.Record()
    mocker.stop(full)
    asked.rounds(1)
    assert asked.one.healing is not None
    until(asked.one.healing.ended)
    assert site.events() == ['deployed', 'silent', 'restarted']
