"""A remote that takes the connection and never answers keeps nobody waiting."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest
from pytest_mock import MockerFixture

from mirage_hooks.cli.main import main
from mirage_hooks.deploying import live
from mirage_hooks.git import pulling, repository
from tests.deployment import Deployment, git, web
from tests.guests.scene import needs
from tests.patience import until


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(('127.0.0.1', 0)) as made:
        made.settimeout(pulling.FETCH / 2)
        yield made


@pytest.fixture
def silent(serving: Deployment, listener: socket.socket) -> Deployment:
    """A host that serves `one`, whose remote is taken over by `listener`."""
    port = listener.getsockname()[1]
    git(serving.host, 'remote', 'set-url', 'origin', f'git://127.0.0.1:{port}/hub.git')
    return serving


def test_what_died_serves_again_before_the_remote_is_asked(
    silent: Deployment, listener: socket.socket
) -> None:
    silent.crash()
    pull = subprocess.Popen(
        silent.command('pull', '--quiet'), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
    )
    try:
        connection, _ = listener.accept()
        with connection:
            assert (silent.page(), pull.poll()) == ('one', None)
            assert silent.events() == [('deployed', 1), ('restarted', 1)]
    finally:
        os.killpg(pull.pid, signal.SIGKILL)  # and its git; a release has a session of its own
        pull.communicate()


def test_a_fetch_is_given_up_and_told_once(
    silent: Deployment, mocker: MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    mocker.patch.object(pulling, 'FETCH', 1)
    command = ['-C', str(silent.host), 'pull', '--quiet']
    assert main(command) == 1
    assert capsys.readouterr().out.splitlines() == [
        'mirage-hooks: git took more than 1 s, and was ended',
        '  hint: is its remote reachable, and its disk well?',
    ]
    assert main(command) == 1
    assert capsys.readouterr().out == ''
    assert silent.page() == 'one'


@needs('bwrap')
def test_what_died_is_told_once_though_nothing_came(serving: Deployment) -> None:
    serving.crash()
    done = serving.mirage('pull')
    assert done.returncode == 0
    said = [line for line in done.stdout.splitlines() if line.startswith('www: ')]
    assert [line.endswith(' runs again') for line in said] == [False, True]
    assert said[0].startswith('www: release 1 was not running: it ended')
    assert serving.events() == [('deployed', 1), ('restarted', 1)]


def test_what_died_and_is_refused_again_is_asked_for_once(serving: Deployment) -> None:
    serving.crash()
    with socket.create_server(('127.0.0.1', serving.port)):
        done = serving.mirage('pull')
    assert done.returncode == 1
    assert done.stdout.count('REFUSED') == 1, done.stdout


def test_what_came_follows_what_died(serving: Deployment) -> None:
    serving.publish(web('two'), 'b' * 40)
    serving.crash()
    assert serving.mirage('pull', '--quiet').returncode == 0
    assert serving.page() == 'two'
    assert serving.events() == [('deployed', 1), ('restarted', 1), ('deployed', 2)]


def test_what_was_stopped_has_not_died(serving: Deployment) -> None:
    found = repository.Repository(serving.host)
    assert not live.died(found)
    serving.crash()
    until(lambda: live.died(found))  # its walls end a moment after it
    assert serving.mirage('stop', 'www').returncode == 0
    assert not live.died(found)
