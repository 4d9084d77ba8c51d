"""A trial touches nothing of what serves, and only the release on trial can answer it."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_mock import MockerFixture

from mirage_hooks.deploying import converge
from mirage_hooks.deploying.context import Intent
from mirage_hooks.git.repository import Repository
from mirage_hooks.host import disks
from mirage_hooks.messages import errors
from mirage_hooks.messages.report import Reporter
from mirage_hooks.switching import switch
from tests.deployment import Deployment, git, run, web

sandboxed = pytest.mark.skipif(not shutil.which('bwrap'), reason='bubblewrap is missing')

WRITES = """
with open('/storage', 'r+b') as disk:
    disk.write({mark!r})
"""
CRASHES = "sys.exit(2)"
HANGS = "import time; print('hanging', flush=True); time.sleep(600)"
BEFORE = b'precious'.ljust(8192, b'.')


def writing(page: str, then: str = '') -> bytes:
    """An image that puts its `page` onto its disk before it serves, or does what `then` says."""
    return web(page, WRITES.format(mark=page.encode()) + then)


class Disked:
    """A deployment whose image has a disk: it serves `one`, and the disk is `precious` again."""

    def __init__(self, deployment: Deployment, gate: bool) -> None:
        self.deployment, self.disk = deployment, deployment.folder / 'disk.img'
        self.disk.write_bytes(BEFORE)
        self.configure(gate=False)
        deployment.publish(writing('one'), 'a' * 40)
        deployment.clone()
        said = deployment.mirage('deploy').stdout
        if owner := re.search(r'chown (\d+) ', said):  # root gives it a user of its own
            os.chown(self.disk, int(owner[1]), -1)
            said = deployment.mirage('deploy').stdout
        assert deployment.page() == 'one', said
        assert self.disk.read_bytes().startswith(b'one')
        self.disk.write_bytes(BEFORE)
        git(deployment.host, 'config', 'receive.denyCurrentBranch', 'updateInstead')
        git(deployment.site, 'remote', 'add', 'host', str(deployment.host))
        self.configure(gate)

    def configure(self, gate: bool, **keys: Any) -> None:
        www = {'image': 'xen/latest', 'network': {'mode': 'socket', 'port': self.deployment.port},
               'confirm': '50ms', 'blocks': {'storage': {'path': str(self.disk), **keys}}}
        self.deployment.configure(yaml.safe_dump({'gate': gate, 'unikernels': {'www': www}}))

    def push(self, image: bytes, release: str) -> subprocess.CompletedProcess[str]:
        self.deployment.publish(image, release * 40, push=False)
        return run('git', 'push', 'host', '+HEAD:master', cwd=self.deployment.site)

    def copies(self) -> list[Path]:
        return list(self.deployment.state().root.rglob('disk-*'))


@pytest.fixture
def disked(deployment: Deployment) -> Iterator[Callable[[bool], Disked]]:
    yield lambda gate: Disked(deployment, gate)


@sandboxed
@pytest.mark.parametrize('read_only', [False, True])
@pytest.mark.parametrize('gate', [True, False])
def test_a_bad_image_writes_to_a_copy_of_the_disk_alone(
    disked: Callable[[bool], Disked], gate: bool, read_only: bool
) -> None:
    made = disked(gate)
    made.configure(gate, read_only=read_only)
    done = made.push(writing('two', CRASHES), 'b')
    assert 'on a spare port' in done.stderr
    # What is `read_only` is no copy, and the image's own write fails.
    assert f'it ended with exit code {1 if read_only else 2}' in done.stderr
    assert made.deployment.page() == 'one'
    assert made.disk.read_bytes() == BEFORE
    assert made.copies() == []


@sandboxed
@pytest.mark.parametrize('gate', [True, False])
def test_a_good_image_gets_the_disk_itself_when_it_goes_live(
    disked: Callable[[bool], Disked], gate: bool
) -> None:
    made = disked(gate)
    assert 'on a spare port' in made.push(writing('two'), 'b').stderr
    assert made.deployment.page() == 'two'
    assert made.disk.read_bytes().startswith(b'two')
    assert made.copies() == []


@sandboxed
@pytest.mark.parametrize('gate', [True, False])
def test_killed_in_a_trial_it_leaves_no_copy_after_the_next_deploy(
    disked: Callable[[bool], Disked], gate: bool
) -> None:
    made = disked(gate)
    made.deployment.mirage('deploy')  # after it, a pull that finds nothing new goes home at once
    made.deployment.publish(writing('two', HANGS), 'b' * 40, push=not gate)
    command = ('git', 'push', 'host', '+HEAD:master') if gate else (
        made.deployment.command('pull'))
    with subprocess.Popen(
        command, cwd=made.deployment.site, stdin=subprocess.DEVNULL, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as deploying:
        limit = time.monotonic() + 60
        while not any(copy.read_bytes().startswith(b'two') for copy in made.copies()):
            assert deploying.poll() is None and time.monotonic() < limit
            time.sleep(0.02)
        os.killpg(deploying.pid, 9)
    assert made.copies()
    if not gate:
        git(made.deployment.host, 'reset', '-q', '--hard', 'HEAD^')
    made.deployment.mirage('pull' if gate else 'deploy')
    assert (made.deployment.page(), made.copies()) == ('one', [])
    assert made.disk.read_bytes() == BEFORE


@sandboxed
def test_a_disk_that_cannot_be_copied_is_kept_from_the_trial_which_is_said(
    disked: Callable[[bool], Disked]
) -> None:
    made = disked(True)
    free = shutil.disk_usage(made.disk).free
    os.truncate(made.disk, free // 512 * 512)
    made.configure(True)
    done = made.push(writing('two'), 'b')
    assert 'www: not tried, for a trial must not write to its disks: its disks have' in done.stderr
    assert 'it cannot be tried next to what runs' in done.stderr
    assert (made.deployment.page(), made.copies()) == ('two', [])


def test_a_disk_that_changes_all_the_time_is_not_copied_half(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    disk, copy = tmp_path / 'disk', tmp_path / 'copy'
    disk.write_bytes(BEFORE)

    def cp(*words: str, **_: object) -> str:
        if '--reflink=always' in words:
            raise errors.Unavailable('not here')
        copy.write_bytes(disk.read_bytes())
        os.utime(disk, ns=(0, disk.stat().st_mtime_ns + 1))
        return ''

    run = mocker.patch('mirage_hooks.host.programs.run', side_effect=cp)
    with pytest.raises(errors.Unavailable) as refused, disks.copied({copy: disk}, None):
        raise AssertionError
    assert str(refused.value) == f'{disk} is written to all the time'
    assert (run.call_count, copy.exists()) == (1 + disks.TRIES, False)


class Proxy:
    """A forwarder in front of what serves on `target`: another port, the same answers."""

    def __init__(self, target: int) -> None:
        self.target, self.server = target, socket.create_server(('127.0.0.1', 0))
        self.port = int(self.server.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                visitor, _ = self.server.accept()
                threading.Thread(target=self._pass, args=(visitor,), daemon=True).start()

    def _pass(self, visitor: socket.socket) -> None:
        with (
            visitor, contextlib.suppress(OSError),
            socket.create_connection(('127.0.0.1', self.target), 30) as behind,
        ):
            behind.sendall(visitor.recv(65536))
            while answer := behind.recv(65536):
                visitor.sendall(answer)

    def end(self) -> None:
        with contextlib.suppress(OSError):  # ended before
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


@pytest.fixture
def proxy(deployment: Deployment) -> Iterator[Proxy]:
    made = Proxy(deployment.port)
    yield made
    made.end()


def test_a_proxy_in_front_of_the_old_release_does_not_answer_for_a_bad_image(
    serving: Deployment, proxy: Proxy
) -> None:
    serving.configure(health={
        'http': f'http://127.0.0.1:{proxy.port}/', 'contains': 'o', 'within': '3s'})
    serving.publish(web('nil'), 'b' * 40)
    done = serving.pull()
    assert re.search(
        rf"REFUSED: http://127.0.0.1:(?!{proxy.port}/)\d+/ answered without 'o' within 3s",
        done.stderr)
    assert 'stopping release' not in done.stdout + done.stderr
    assert serving.page() == 'one'


def test_a_first_image_behind_a_proxy_is_accepted(deployment: Deployment, proxy: Proxy) -> None:
    deployment.configure(health={'http': f'http://127.0.0.1:{proxy.port}/', 'within': '5s'})
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout + done.stderr
    assert deployment.page(proxy.port) == 'one'


@pytest.mark.long
def test_what_no_trial_can_answer_is_said_and_asked_after_the_switch(
    serving: Deployment, proxy: Proxy
) -> None:
    serving.configure(health={'tcp': f'127.0.0.1:{proxy.port}', 'within': '5s'})
    text = f'127.0.0.1:{proxy.port} cannot be asked of a trial, only after a switch'
    assert f'note     www: {text}' in serving.mirage('check').stdout
    serving.publish(web('nil', 'import time; time.sleep(600)'), 'b' * 40)
    done = serving.pull()
    assert f'www: {text}' in done.stderr
    assert f'REFUSED: it did not listen on port {serving.port} within 5s' in done.stderr
    assert serving.page() == 'one'
    serving.publish(web('two'), 'c' * 40)
    proxy.end()
    done = serving.pull()
    assert f'REFUSED: 127.0.0.1:{proxy.port} did not answer' in done.stderr
    assert 'new connections go to release' in done.stderr  # and then back
    assert serving.page() == 'one'


class Stranger(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """It says nothing."""


def test_a_program_that_took_the_spare_port_does_not_answer_for_the_trial(
    serving: Deployment, mocker: MockerFixture
) -> None:
    serving.configure(switch='replace')
    serving.publish(b'#!/bin/sh\ntest "$1" = --help=plain || exec sleep 600\n', 'b' * 40)
    git(serving.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
    with http.server.HTTPServer(('127.0.0.1', 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        port = stranger.server_address[1]
        mocker.patch.object(switch, 'spare_port', return_value=port)
        outcome, = converge.converge(
            Repository(serving.host), Intent('test'), Reporter(quiet=True))
        stranger.shutdown()
    assert (outcome.kind, outcome.reason) == (
        'refused', f'port {port}, on which it was tried, is held by another program')
    assert serving.page() == 'one'


def test_trials_at_one_time_have_ports_of_their_own(mocker: MockerFixture) -> None:
    number = mocker.patch.object(switch.os, 'getpid')
    found = []
    for number.return_value in range(4_000_000, 4_000_500):
        found.append(switch.spare_port())
    assert len(set(found)) == len(found)


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, for process namespaces')
def test_trials_in_two_containers_have_ports_of_their_own() -> None:
    code = 'import os; from mirage_hooks.switching import switch; ' \
        'print(os.getpid(), switch.spare_port(), flush=True); input()'
    with contextlib.ExitStack() as both:
        contained = [both.enter_context(subprocess.Popen(
            ('unshare', '--pid', '--fork', sys.executable, '-I', '-c', code),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )) for _ in range(2)]
        told = [one.stdout.readline().split() for one in contained]  # type: ignore[union-attr]
        for one in contained:
            one.communicate('\n')
    assert [number for number, _ in told] == ['1', '1']
    assert told[0][1] != told[1][1]
