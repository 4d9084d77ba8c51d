"""A deployed branch that follows the canary's: what a host's answers mean, and a real one, asked by
a real ssh."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from mirage_hooks.messages import errors
from mirage_hooks.site import canary
from mirage_hooks.site.canary import Course, Verdict, Wanted
from tests.deployment import ROOT, Deployment, git, web
from tests.patience import PATIENCE, until
from tests.site.test_publish import VARIABLES, mirage
from tests.sshd import Sshd

C, D = 'c' * 40, 'd' * 40
LIVE: dict[str, Any] = {
    'name': 'www', 'state': 'running', 'release': 7, 'since': 5.5, 'health': {'ms': 3},
    'tip': {'branch': 'canary', 'commit': C, 'image': 'live'},
}


def told(*rows: dict[str, Any], **more: Any) -> canary.Status:
    return msgspec.json.decode(json.dumps({'unikernels': rows, **more}), type=canary.Status)


def tip(**changed: str) -> dict[str, Any]:
    return {'tip': {**LIVE['tip'], **changed}}


SERVES = Verdict('serves', runs=(('www', 7, 5.5),))


@pytest.mark.parametrize(('changed', 'verdict'), [
    ({}, SERVES),
    ({'health': {}}, SERVES),
    (tip(commit=D), Verdict('elsewhere', 'www is at commit dddddddddddd')),
    (tip(image='waits'), Verdict('not yet', 'www is not deployed yet')),
    (tip(image='ready'), Verdict(
        'not yet', 'www is ready there, and runs on another host or nowhere')),
    (tip(image='none'), Verdict('not yet', 'www is not deployed yet')),
    ({**tip(image='refused'), 'refused': {'reason': 'it ended'}},
     Verdict('bad', 'www was refused: it ended')),
    (tip(image='rollback'), Verdict('bad', 'www was rolled back')),
    ({'state': 'stopped'}, Verdict('bad', 'www is stopped by hand')),
    ({'silent': {'at': 1, 'reason': 'no answer, 3 times in a row'}},
     Verdict('bad', 'www is silent: no answer, 3 times in a row')),
    ({'state': 'down', 'crashed': 'by signal 9'}, Verdict('not yet', 'www is down: by signal 9')),
    ({'health': {'wrong': 'no answer'}}, Verdict('not yet', 'www does not answer: no answer')),
    (tip(branch='master'), Verdict('bad', 'none follows the branch canary there (www master)')),
    ({'tip': None}, Verdict('bad', 'none follows the branch canary there (nothing)')),
])
def test_an_answer_means_one_thing(changed: dict[str, Any], verdict: Verdict) -> None:
    assert canary.judge(told({**LIVE, **changed}), C, 'canary', '') == verdict


def test_all_that_follow_the_branch_count_or_the_one_that_is_named() -> None:
    blog = {**LIVE, 'name': 'blog', **tip(image='waits')}
    other = {**LIVE, 'name': 'other', **tip(branch='master', image='refused')}
    status = told(LIVE, blog, other)
    assert canary.judge(status, C, 'canary', '') == Verdict('not yet', 'blog is not deployed yet')
    assert canary.judge(status, C, 'canary', 'www') == SERVES
    assert canary.judge(status, C, 'canary', 'other').kind == 'bad'
    assert canary.judge(status, C, 'canary', 'w') == Verdict('bad', 'it has no unikernel w')
    assert canary.judge(told(LIVE, deploying='cron'), C, 'canary', '') == Verdict(
        'not yet', 'a deployment is under way')


NOT_YET, ELSEWHERE = Verdict('not yet', 'no answer'), Verdict('elsewhere', 'www is at commit d')


@pytest.mark.parametrize(('found', 'end'), [
    ([SERVES] * 7, 'served after 60 s'),
    ([ELSEWHERE, NOT_YET, *[SERVES] * 7], 'served after 80 s'),
    ([*[SERVES] * 6, NOT_YET, *[SERVES] * 7], 'served after 130 s'),
    ([SERVES, ELSEWHERE], 'www is at commit d now'),
    ([SERVES, NOT_YET, Verdict('serves', runs=(('www', 7, 9.0),))], 'it was restarted meanwhile'),
    ([SERVES, Verdict('bad', 'www is silent: no answer')], 'www is silent: no answer'),
    ([NOT_YET] * 99, '300 s are over: no answer'),
    ([*[NOT_YET] * 25, *[SERVES] * 99], '300 s are over: it has served for 50 s of 60 s'),
], ids=['at once', 'later', 'seen with a gap', 'it went on', 'restarted', 'silent', 'never',
        'late'])
def test_only_what_was_seen_without_a_gap_counts(found: list[Verdict], end: str) -> None:
    course = Course(Wanted(after=60, deadline=300), 1000)
    for second, one in enumerate(found):
        try:
            if not course.left(one, 1000 + 10 * second):
                assert end == f'served after {10 * second} s'
                return
        except errors.Refused as refused:
            assert refused.reason == end
            return
    raise AssertionError('no end')


@pytest.mark.parametrize(('address', 'place'), [
    ('ssh://ci@a.example.org:2222/srv/www', canary.Place('ci@a.example.org', '/srv/www', '2222')),
    ('ssh://a/srv/w w', canary.Place('a', '/srv/w w')),
    ('ssh://ci@[2001:db8::1]:22/srv/www', canary.Place('ci@2001:db8::1', '/srv/www', '22')),
    ('ci@a:www', canary.Place('ci@a', 'www')),
    ('ssh://a/~/www', canary.Place('a', 'www')),
])
def test_a_host_is_named_as_for_git(address: str, place: canary.Place) -> None:
    assert canary.place(address) == place


@pytest.mark.parametrize('address', [
    '', 'a', '/srv/www', 'ssh://a', 'ssh://-oProxyCommand=x/srv', '-oProxyCommand=x:y',
    'ssh://ci@-oProxyCommand=x/srv', 'https://a/srv', 'file:///srv', 'ssh:///srv',
])
def test_what_is_no_host_is_no_command_line(address: str) -> None:
    with pytest.raises(errors.Usage):
        canary.place(address)


class Fleet:
    """A hub with the branches `master` and `canary`, and the host that goes first, which answers
    whoever has the key `deploy` one question."""

    def __init__(self, deployment: Deployment, sshd: Sshd) -> None:
        self.deployment, self.hub, self.sshd = deployment, deployment.hub, sshd
        self.asked, self.done = deployment.folder / 'asked', deployment.folder / 'done'
        self.status = (sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(deployment.host),
                       'status', '--json')
        deployment.configure(branch='canary')
        deployment.publish(web('one'), 'a' * 40)
        self.follow()
        deployment.clone('--branch', 'canary')
        assert deployment.mirage('deploy').returncode == 0
        self.answer(self.status)

    def answer(self, command: tuple[str, ...], before: str = '') -> None:
        """Whoever asks is answered what `command` says, once the shell has done `before`; `asked`
        is there from the second time on."""
        script, key = self.sshd.folder / 'answer', (self.sshd.folder / 'deploy.pub').read_text()
        script.write_text(f'cd {ROOT}; {before}\n{" ".join(command)}; touch {self.asked}')
        (self.sshd.folder / 'authorized').write_text(f'command="sh {script}",restrict {key}')

    def follow(self) -> None:
        git(self.deployment.site, 'push', '-q', 'origin', '+HEAD:canary')

    def publish(self, image: bytes, release: str) -> None:
        self.deployment.publish(image, release, push=False)
        self.follow()

    def meanwhile(self, act: Callable[[], object]) -> threading.Thread:
        """Has `act` done between the first answer and the second."""
        self.asked.unlink(missing_ok=True)
        self.answer(self.status,
                    f'while [ -e {self.asked} ] && [ ! -e {self.done} ]; do sleep 0.1; done')

        def wait() -> None:
            until(self.asked.exists)
            act()
            self.done.touch()

        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    def at(self, branch: str) -> str:
        return git(self.hub, 'rev-parse', branch)

    def promote(self, *more: str) -> int:
        return mirage('promote', '--to', f'file://{self.hub}', '--host',
                      self.sshd.address(self.deployment.host), '--after', '1s',
                      '--deadline', f'{PATIENCE:.0f}s', *more)


@pytest.fixture
def fleet(
    deployment: Deployment, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> Fleet:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('CANARY_KEY', (sshd.folder / 'deploy').read_text())
    monkeypatch.setenv('CANARY_KNOWN_HOSTS', sshd.known())
    monkeypatch.setenv('GIT_SSH_COMMAND', 'ssh -F none -o ConnectionAttempts=20')
    return Fleet(deployment, sshd)


def test_the_branch_moves_on_when_the_canary_has_served(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet.promote() == 0
    assert capsys.readouterr().out == (
        f'nothing to do: master of file://{fleet.hub} contains {fleet.at("canary")[:12]} already\n')
    fleet.publish(web('two'), 'b' * 40)
    waiting = threading.Timer(1, fleet.deployment.pull)
    waiting.start()
    assert fleet.promote('--json') == 0
    waiting.join()
    assert fleet.deployment.page() == 'two'
    assert fleet.at('master') == fleet.at('canary')
    assert json.loads(capsys.readouterr().out) == {
        'commit': fleet.at('canary'), 'to': f'file://{fleet.hub}', 'branch': 'master',
        'source': 'canary', 'answer': [], 'same': False}


def test_what_the_canary_refused_left_or_started_again_moves_no_branch(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fleet.at('master')
    fleet.publish(b'#!/bin/sh\nexit 2\n', 'b' * 40)
    fleet.deployment.pull()
    assert fleet.promote() == 1
    assert capsys.readouterr().err == (
        'mirage-hooks: www was refused: it ended with exit code 2\n'
        '  hint: no branch was moved\n')
    fleet.publish(web('three'), 'c' * 40)
    fleet.deployment.pull()
    fleet.deployment.mirage('rollback', 'www')
    assert fleet.promote() == 1
    assert capsys.readouterr().err == (
        'mirage-hooks: www was rolled back\n  hint: no branch was moved\n')
    fleet.deployment.mirage('deploy')
    restart = fleet.meanwhile(lambda: fleet.deployment.mirage('restart', 'www'))
    assert fleet.promote() == 1
    restart.join()
    assert capsys.readouterr().err == (
        'mirage-hooks: it was restarted meanwhile\n  hint: no branch was moved\n')
    assert fleet.at('master') == before


def test_what_another_host_says_of_the_push_is_told(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """The deployed branch may be pushed to a host, which has words of its own."""
    hook = fleet.hub / 'hooks/post-receive'
    hook.write_text('#!/bin/sh\necho "www: REFUSED: it ended"\nprintf "\\033[31m\\n"\n')
    hook.chmod(0o755)
    fleet.publish(web('two'), 'b' * 40)
    fleet.deployment.pull()
    assert fleet.promote() == 1
    assert capsys.readouterr().out == (
        'remote: www: REFUSED: it ended\nremote: \\x1b[31m\n'
        f'master of file://{fleet.hub} is {fleet.at("canary")[:12]} now, as canary is\n'
        'but the host there refused it, as it says above\n')


def test_a_branch_that_went_another_way_is_not_moved(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.publish(web('two'), 'b' * 40)
    fleet.deployment.pull()
    git(fleet.deployment.site, 'checkout', '-q', '-b', 'own', 'HEAD^')
    fleet.deployment.commit('by hand')
    before = fleet.at('master')
    assert fleet.promote() == 1
    assert capsys.readouterr().err == (
        f'mirage-hooks: master of file://{fleet.hub} has commits that canary does not have\n'
        '  hint: put them on canary first: git merge master, where canary is checked out\n')
    assert fleet.at('master') == before


def test_somebody_who_pushes_meanwhile_wins(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the canary is waited for, the branch goes another way."""
    fleet.publish(web('two'), 'b' * 40)
    fleet.deployment.pull()

    def push() -> None:
        git(fleet.deployment.site, 'checkout', '-q', '-b', 'own', 'HEAD^')
        fleet.deployment.commit('by hand')

    other = fleet.meanwhile(push)
    assert fleet.promote() == 1
    other.join()
    assert 'has commits that canary does not have' in capsys.readouterr().err
    assert git(fleet.hub, 'log', '-1', '--format=%s', 'master') == 'by hand'


def test_a_branch_that_is_not_there_is_named(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = f'file://{fleet.hub}'
    for more, said in {
        ('--from', 'nope'): f'{hub} has no branch nope\n  hint: it has master, canary\n',
        ('--branch', 'nope'): f'{hub} has no branch nope\n  hint: --branch names another; to begin '
        f'it: git push {hub} canary:nope\n',
    }.items():
        assert fleet.promote(*more) == 1
        assert capsys.readouterr().err == f'mirage-hooks: {said}'


USELESS = {
    'echo {}': 'what it says is no status --json',
    'printf "\\033[31m" >&2': '\\x1b[31m',
    'head -c 20000000 /dev/zero': 'ssh printed more than 16777216 bytes',
    'yes \'[{"a":\' | tr -d "\\n" | head -c 9000000': 'what it says is no status --json',
    'exit 255': 'what it says is no status --json',
    'sleep 600': 'ssh took too long',
}


def test_a_host_that_says_nothing_of_use_is_waited_for_to_the_deadline(
    fleet: Fleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.publish(web('two'), 'b' * 40)
    for command, said in USELESS.items():
        if command == 'sleep 600':
            monkeypatch.setattr(canary, 'ANSWER', 2.0)
        fleet.answer((command,))
        assert fleet.promote('--after', '0s', '--deadline', '1s') == 1
        err = capsys.readouterr().err
        assert err.startswith('mirage-hooks: 1 s are over: ')
        assert said in err
        assert '\x1b' not in err
    assert fleet.at('master') != fleet.at('canary')


def test_a_deadline_before_its_time_is_no_command_line(
    capsys: pytest.CaptureFixture[str]
) -> None:
    command = ('promote', '--to', 'x', '--host', 'a:b', '--after', '5m', '--deadline', '5m')
    assert mirage(*command) == 2
    assert capsys.readouterr().err == 'mirage-hooks: --deadline must be longer than --after\n'
