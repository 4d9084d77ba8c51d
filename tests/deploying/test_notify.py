"""A command and a webhook of the host are told what changed or failed, and can break nothing."""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from mirage_hooks.deploying import notify, webhook
from mirage_hooks.deploying.notify import LIMIT
from tests.deployment import Deployment, git, web
from tests.patience import PATIENCE, until

CRASHES = "print('password=hunter2', flush=True); sys.exit(2)"


class Told:
    """A host that serves `one`, and a command that appends what it is told to a file."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.file = deployment.folder / 'told.jsonl'
        self.program = deployment.folder / 'tell'
        self.says(f'cat >>{self.file}; echo >>{self.file}')
        deployment.publish(web('one'), 'a' * 40)
        self.notify(command=[str(self.program), 'a b', '$(touch pwned)'])
        deployment.clone()
        assert deployment.mirage('deploy').returncode == 0

    def says(self, script: str) -> None:
        self.program.write_text(f'#!/bin/sh\n{script}\n')
        self.program.chmod(0o755)

    def notify(self, **keys: Any) -> None:
        www = {'image': 'xen/latest', 'confirm': '50ms', 'arguments': ['--message=secret'],
               'network': {'mode': 'socket', 'port': self.deployment.port}}
        self.deployment.configure(yaml.safe_dump({'notify': keys, 'unikernels': {'www': www}}))

    def messages(self) -> list[dict[str, Any]]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [json.loads(line) for line in lines if line]


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what it is told; answers `status`, after `pause` seconds."""

    told: list[tuple[str, str, dict[str, Any]]]
    over: threading.Event
    status = 204
    pause = 0.0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.told.append((self.path, self.headers['Content-Type'], json.loads(body)))
        self.over.wait(self.pause)
        self.send_response(self.status)
        if self.status == 302:
            self.send_header('Location', '/elsewhere')
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def told(deployment: Deployment) -> Told:
    return Told(deployment)


@pytest.fixture
def hook() -> Iterator[tuple[type[Hook], str]]:
    class Own(Hook):
        told: ClassVar = []
        over: ClassVar = threading.Event()

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Own, f'http://127.0.0.1:{server.server_address[1]}/T0/secret-token'
    Own.over.set()
    server.shutdown()
    server.server_close()


def test_a_deployment_is_told_whole_and_without_secrets(told: Told) -> None:
    release = told.deployment.state().of('www').current()
    assert release is not None
    message = told.messages()[0]
    assert message.pop('at') == pytest.approx(time.time(), abs=PATIENCE)
    assert message == {
        'text': f'www: release 1 ({release.description}, commit {release.commit[:12]}) now runs',
        'host': os.uname().nodename,
        'repository': str(told.deployment.host),
        'trigger': 'deploy by operator',
        'failed': False,
        'unikernels': [{
            'name': 'www', 'event': 'deployed', 'ended': '', 'reason': '', 'hint': '',
            'running': {'release': 1, 'commit': release.commit, 'digest': release.digest,
                        'description': release.description},
        }],
    }
    assert 'secret' not in told.file.read_text()
    assert not (Path('/') / 'pwned').exists()


def test_a_failure_is_told_once_and_without_the_console(told: Told) -> None:
    told.deployment.publish(web('two', CRASHES), 'b' * 40)
    told.deployment.pull()
    told.deployment.mirage('pull', '--quiet')
    message = told.messages()[1]
    assert len(told.messages()) == 2
    assert (message['failed'], message['trigger']) == (True, 'git pull or merge by operator')
    assert message['text'].splitlines()[0] == (
        'www: REFUSED: it ended with exit code 2'
    )
    assert [(one['event'], one['reason'], one['running']['release'])
            for one in message['unikernels']] == [
        ('refused', 'it ended with exit code 2', 1)
    ]
    assert 'hunter2' not in told.file.read_text()


def test_nothing_is_told_when_nothing_changed(told: Told) -> None:
    told.deployment.mirage('deploy')
    told.deployment.mirage('pull')
    assert len(told.messages()) == 1


def test_a_rollback_a_stop_and_a_start_are_told(told: Told) -> None:
    told.deployment.publish(web('two'), 'b' * 40)
    told.deployment.pull()
    for command in (['rollback', 'www'], ['stop', 'www'], ['start', 'www']):
        assert told.deployment.mirage(*command).returncode == 0
    events = [one['event'] for message in told.messages() for one in message['unikernels']]
    assert events == ['deployed', 'deployed', 'rolled back', 'stopped', 'restarted']


def test_a_refusal_at_the_gate_is_told(told: Told) -> None:
    told.deployment.config.write_text(told.deployment.config.read_text() + 'gate: true\n')
    told.deployment.publish(web('two', CRASHES), 'b' * 40, push=False)
    git(told.deployment.host, 'config', 'receive.denyCurrentBranch', 'updateInstead')
    with pytest.raises(AssertionError, match='pre-receive hook declined'):
        git(told.deployment.site, 'push', str(told.deployment.host), '+HEAD:master')
    message = told.messages()[1]
    assert (message['failed'], message['trigger']) == (True, 'git push by operator')


def test_a_command_that_fails_is_said_and_changes_nothing(told: Told) -> None:
    told.says("echo 'no route to chat' >&2; exit 3")
    told.deployment.publish(web('two'), 'b' * 40)
    done = told.deployment.pull()
    assert (done.returncode, told.deployment.page()) == (0, 'two')
    assert done.stderr.splitlines()[-1] == (
        'mirage-hooks: notify: tell failed with 3: no route to chat'
    )


def test_a_command_that_is_not_there_is_said(told: Told) -> None:
    told.notify(command=['no-such-program'])
    told.deployment.publish(web('two'), 'b' * 40)
    done = told.deployment.pull()
    assert done.stderr.splitlines()[-1] == (
        'mirage-hooks: notify: no-such-program is not installed'
    )


def test_a_command_that_hangs_is_ended_with_its_children() -> None:
    marker = f'6{os.getpid()}'
    command = ('sh', '-c', f'sleep {marker} & sleep {marker}')
    before = notify.LIMIT
    notify.LIMIT = 0.3
    try:
        assert notify._command(command, b'{}') == 'sh took more than 0.3 s'
    finally:
        notify.LIMIT = before
    until(lambda: not [
        path for path in Path('/proc').glob('[0-9]*/cmdline')
        if _read(path) == f'sleep\0{marker}\0'.encode()
    ])


def test_a_child_left_behind_does_not_hold_the_push_nor_the_lock(told: Told) -> None:
    told.says(f'sleep 3600 & echo $! >{told.deployment.folder}/pid')
    told.deployment.publish(web('two'), 'b' * 40)
    assert told.deployment.pull().returncode == 0
    pid = int((told.deployment.folder / 'pid').read_text())
    try:
        assert told.deployment.state().holder() == ''
        links = [os.readlink(path) for path in Path(f'/proc/{pid}/fd').iterdir()]  # noqa: PTH115
        assert not [link for link in links if link.endswith('/lock') or link.startswith('pipe')]
    finally:
        os.kill(pid, 9)


def test_a_large_message_to_a_command_that_reads_nothing_does_not_hang() -> None:
    assert notify._command(('true',), b'x' * 1_000_000) == ''


def test_the_command_sees_nothing_of_the_callers_environment(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('DATABASE_PASSWORD', 'hunter2')
    seen = told.deployment.folder / 'seen'
    told.says(f'env >{seen}')
    told.deployment.publish(web('two'), 'b' * 40)
    told.deployment.pull()
    names = {line.partition('=')[0] for line in seen.read_text().splitlines()}
    assert names <= {'HOME', 'USER', 'LANG', 'PATH', 'PWD', '_', 'SHLVL', 'OLDPWD'}


def test_a_webhook_is_posted_to(told: Told, hook: tuple[type[Hook], str]) -> None:
    told.notify(webhook=hook[1])
    told.deployment.publish(web('two'), 'b' * 40)
    assert 'notify' not in told.deployment.pull().stderr
    (path, kind, message), = hook[0].told
    assert (path, kind) == ('/T0/secret-token', 'application/json')
    assert message['text'].endswith('now runs')
    assert 'secret' not in json.dumps(message)


@pytest.mark.parametrize('status', [500, 404, 302])
def test_a_webhook_that_does_not_want_it_is_said_without_its_secret(
    status: int, hook: tuple[type[Hook], str]
) -> None:
    hook[0].status = status
    assert webhook.post(hook[1], b'{}', LIMIT) == f'the webhook at 127.0.0.1 answered {status}'
    assert len(hook[0].told) == 1


def test_a_webhook_that_cannot_be_reached_is_said(hook: tuple[type[Hook], str]) -> None:
    assert webhook.post('http://127.0.0.1:1/secret', b'{}', LIMIT) == (
        'the webhook at 127.0.0.1 cannot be reached: Connection refused'
    )


def test_a_webhook_that_hangs_is_left(hook: tuple[type[Hook], str]) -> None:
    hook[0].pause = PATIENCE
    began = time.monotonic()
    said = webhook.post(hook[1], b'{}', 0.3)
    assert time.monotonic() - began < PATIENCE / 2
    assert said in (
        'the webhook at 127.0.0.1 did not answer within 0.3 s',
        'the webhook at 127.0.0.1 cannot be reached: TimeoutError',
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b''
