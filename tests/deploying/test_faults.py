"""Whatever fails on the host, it is said in a sentence, and the old release serves on.

A full disk, a state folder without rights and a held port are in test_bad_inputs; kills at every
step in test_killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from mirage_hooks.host import processes
from mirage_hooks.state import notes, proc
from tests.deployment import ROOT, Deployment, git, run, web
from tests.patience import PATIENCE, until
from tests.whole.test_bad_inputs import told

ALTERED = ROOT / 'tests' / 'altered.py'
YEAR = 365 * 86400  # seconds


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    """A host's clone that serves `one`."""
    deployment.configure(confirm='0s')
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    return deployment


def altered(
    deployment: Deployment, *arguments: str, clock: float = 0, patience: float = 60
) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, '-I', str(ALTERED), str(clock), str(patience), '-C',
               str(deployment.host), *arguments, cwd=deployment.folder)


def brought(deployment: Deployment, image: bytes, release: str = 'b' * 40) -> None:
    """Bring `image` into the host's clone without a hook."""
    deployment.publish(image, release)
    git(deployment.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')


def goes_on(deployment: Deployment, done: subprocess.CompletedProcess[str], *lines: str) -> None:
    """Assert that `done` failed with exactly `lines`, and that `one` is served."""
    assert done.returncode == 1, done
    assert told(done.stdout)[: len(lines)] == list(lines), done.stdout + done.stderr
    assert ' goes on running' in told(done.stdout)[-1]
    assert deployment.page() == 'one'


# The disk.


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, to mount a disk read-only')
def test_a_state_folder_on_a_read_only_disk_is_refused(serving: Deployment) -> None:
    state = serving.host / '.git' / 'mirage-hooks'
    brought(serving, web('two'))
    script = 'set -e; mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"; exec "$@"'
    done = run('unshare', '--mount', '--', 'sh', '-c', script, str(state),
               *serving.command('deploy'), cwd=serving.folder)
    assert (done.returncode, done.stderr) == (
        1, f'mirage-hooks: cannot write {state}: Read-only file system\n'
           '  hint: the file system is mounted read-only\n')
    assert serving.page() == 'one'


DAMAGED = ('counter', 'pin.json', 'failure.json', 'releases/1/release.json', 'releases/1/run.json',
           'releases/1/served')


@pytest.mark.parametrize('content', [b'', b'{"pid": 1', b'"\xff\x00'],
                         ids=['empty', 'truncated', 'garbled'])
@pytest.mark.parametrize('name', DAMAGED)
def test_a_damaged_file_of_the_state_is_named_and_nothing_stops(
    shared: Deployment, name: str, content: bytes
) -> None:
    path = shared.state().of('www').root / name
    kept = path.read_bytes() if path.exists() else None
    before = shared.processes()
    path.write_bytes(content)
    try:
        done = shared.mirage('deploy')
        assert 'fault' not in done.stdout + done.stderr
        assert shared.page() == 'one'
        assert shared.processes() == before
        if done.returncode:
            assert f'{path} is damaged: ' in done.stdout + done.stderr
            assert ': it is made anew' in done.stdout + done.stderr
    finally:
        path.write_bytes(kept) if kept is not None else path.unlink(missing_ok=True)
    assert shared.mirage('deploy').returncode == 0


@pytest.mark.parametrize('name', DAMAGED)
def test_what_was_damaged_is_made_anew_when_it_is_moved_away(
    serving: Deployment, name: str
) -> None:
    path = serving.state().of('www').root / name
    path.write_bytes(b'nonsense')
    serving.mirage('deploy')
    path.unlink(missing_ok=True)
    done = serving.mirage('deploy')
    assert done.returncode == 0, done.stdout + done.stderr
    assert serving.page() == 'one'
    assert len(serving.processes()) == len(alive(serving))


def alive(deployment: Deployment) -> list[psutil.Process]:
    """The processes of the live release."""
    live = deployment.state().of('www').folder(deployment.current().number)
    return [process for folder, process in deployment.processes() if folder == live]


@pytest.mark.parametrize('damage', ['a file', 'a loop', 'nowhere', 'text'])
def test_a_damaged_pointer_to_the_live_release_is_mended(serving: Deployment, damage: str) -> None:
    pointer = serving.state().of('www').root / 'current'
    pointer.unlink()
    if damage == 'a file':
        pointer.write_text('nonsense')
    else:
        pointer.symlink_to({'a loop': 'current', 'nowhere': 'releases/99'}.get(damage, 'x/y'))
    done = serving.mirage('deploy')
    assert 'fault' not in done.stdout + done.stderr
    if done.returncode:
        assert f'{pointer} is damaged' in done.stdout + done.stderr
        assert serving.page() == 'one'
        pointer.unlink()
        assert serving.mirage('deploy').returncode == 0
    assert serving.page() == 'one'
    assert len(serving.processes()) == len(alive(serving))


def test_without_its_releases_folder_the_image_is_unpacked_anew(serving: Deployment) -> None:
    releases = serving.state().of('www')
    (releases.root / 'releases').rename(serving.folder / 'away')
    done = serving.mirage('deploy')
    assert done.returncode == 0, done.stdout + done.stderr
    assert serving.page() == 'one'
    assert len(serving.processes()) == len(alive(serving))


def test_a_torn_history_is_read_and_goes_on(serving: Deployment) -> None:
    history = serving.state().history
    history.write_bytes(history.read_bytes() + b'{"at": 1, "unikern\x00\xff')
    brought(serving, web('two'))
    assert serving.mirage('deploy').returncode == 0
    assert [entry.event for entry in serving.history()] == ['deployed', 'deployed']
    assert len(serving.mirage('history').stdout.splitlines()) == 2


# What a file says of a process.


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(('sleep', '3600'))
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize('lie', ['its number', 'its number and start'])
def test_a_stranger_is_never_ended_whatever_run_json_says(
    serving: Deployment, stranger: subprocess.Popen[bytes], lie: str
) -> None:
    path = serving.state().of('www').folder(1) / 'run.json'
    said = json.loads(path.read_bytes())
    found = proc.identity(stranger.pid)
    assert found
    path.write_text(json.dumps({**said, 'pid': found[0],
                                **({'started': found[1]} if lie != 'its number' else {})}))
    for page in ('two', 'three'):
        brought(serving, web(page), page.encode().hex().ljust(40, '0'))
        done = serving.mirage('deploy')
        assert done.returncode == 0, done.stdout
        assert serving.page() == page
    assert serving.mirage('stop', 'www').returncode == 0
    assert serving.processes() == []
    assert stranger.poll() is None


def test_a_lock_file_that_a_killed_one_left_is_taken(
    serving: Deployment, stranger: subprocess.Popen[bytes]
) -> None:
    for name in ('lock', 'pulling'):
        (serving.state().root / name).write_text(f'{stranger.pid} git push by nobody\n')
    assert serving.mirage('pull').returncode == 0
    assert stranger.poll() is None


def test_a_lock_file_of_git_is_named_with_the_way_out(serving: Deployment) -> None:
    serving.publish(web('two'), 'b' * 40)
    lock = serving.host / '.git' / 'index.lock'
    lock.touch()
    done = serving.mirage('pull')
    assert done.returncode == 1
    assert told(done.stdout)[:2] == [
        f"mirage-hooks: git: Unable to create '{lock}': File exists",
        f'  hint: if no git runs in {serving.host}, one that was killed left it: rm {lock}',
    ]
    assert serving.page() == 'one'
    lock.unlink()
    assert serving.mirage('pull').returncode == 0
    assert serving.page() == 'two'


# The clock.


@pytest.mark.parametrize('clock', [-YEAR, YEAR])
def test_after_a_jump_of_the_clock_an_outside_cause_is_tried_again(
    serving: Deployment, clock: int
) -> None:
    """Back by a year, the second try must not wait for a year."""
    with serving.hold_port() as held:
        port = serving.port
        serving.configure(confirm='0s', network={
            'mode': 'socket', 'port': held.getsockname()[1], 'ipv4': '127.0.0.1/8'})
        done = serving.mirage('pull')
        assert done.returncode == 1 and 'is held by another program' in done.stdout
        serving.port = held.getsockname()[1]
    assert 'still refused' in serving.mirage('pull').stdout  # a minute is not over
    done = altered(serving, 'pull', clock=clock)
    assert done.returncode == 0, done.stdout
    assert serving.page() == 'one'
    assert serving.page(port) == ''


@pytest.mark.parametrize('clock', [-YEAR, YEAR])
def test_a_jump_of_the_clock_neither_starts_nor_stops_anything(
    serving: Deployment, clock: int
) -> None:
    before = serving.processes()
    for command in ('deploy', 'pull', 'status', 'history'):
        assert altered(serving, command, clock=clock).returncode == 0
    assert serving.processes() == before


@pytest.mark.parametrize('clock', [-YEAR, YEAR])
def test_after_a_jump_of_the_clock_a_release_that_ended_is_started_again(
    serving: Deployment, clock: int
) -> None:
    serving.crash()
    until(lambda: not list(processes.marked(serving.state().root)))
    serving.state().of('www').set_crashes(notes.Crashes(1, 9, time.time(), proc.boot()))
    assert 'restarted 9 times' in serving.mirage('pull').stdout
    serving.dismiss()
    done = altered(serving, 'pull', clock=clock)
    assert done.returncode == 0, done.stdout
    assert serving.page() == 'one'


# The image.


@pytest.mark.long
def test_an_image_that_ignores_sigterm_is_killed(serving: Deployment) -> None:
    deaf = 'import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)'
    serving.configure(switch='replace')
    brought(serving, web('stubborn', deaf))
    assert serving.mirage('deploy').returncode == 0
    before = [process for _, process in serving.processes()]
    brought(serving, web('two'), 'c' * 40)
    assert serving.mirage('deploy').returncode == 0
    assert serving.page() == 'two'
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE
                   for process in before)


FLOOD = """
import threading
def flood():
    while True:
        try:
            sys.stdout.buffer.raw.write(b'flood ' * 10_000 + b'\\n')
        except OSError:
            break
threading.Thread(target=flood, daemon=True).start()
"""


def test_an_image_that_floods_its_console_fills_no_disk(serving: Deployment) -> None:
    brought(serving, web('two', FLOOD))
    serving.mirage('deploy')
    console = serving.state().of('www').folder(serving.current().number) / 'console.log'
    process, = (one for mark, one in serving.processes() if mark == console.parent)
    limit = time.monotonic() + PATIENCE
    while process.num_threads() > 1:  # the flood goes on until the console takes no more
        assert time.monotonic() < limit
        assert console.stat().st_size <= 64 << 20
        time.sleep(0.01)
    assert serving.page() == 'two'
    assert len(serving.mirage('logs', 'www').stdout) < 5 << 20
    assert serving.mirage('pull').returncode == 0
    assert console.stat().st_size < 3 << 20
    assert serving.page() == 'two'


def test_an_image_that_eats_memory_is_refused(serving: Deployment) -> None:
    eater = 'hoard = [bytearray(1 << 20) for _ in range(1 << 20)]'
    brought(serving, web('two', eater))
    done = serving.mirage('deploy')
    goes_on(serving, done, 'www: REFUSED: it ended with exit code 1: out of memory')
    assert 'hint: write `memory: 256` for www in mirage.yml: it has 128 MB' in done.stdout


# Git.


@pytest.fixture
def broken(serving: Deployment, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a `git` on PATH that does `act` in place of any command with `word` in it."""
    folder = serving.folder / 'bin'
    folder.mkdir()
    real = subprocess.run(('sh', '-c', 'command -v git'), capture_output=True, text=True,
                          check=True).stdout.strip()
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')

    def put(word: str, act: str) -> None:
        (folder / 'git').write_text(
            f'#!/bin/sh\ncase " $* " in *" {word} "*) {act} ;; esac\nexec {real} "$@"\n')
        (folder / 'git').chmod(0o755)

    return put


@pytest.mark.parametrize('word', ['for-each-ref', 'cat-file'])
@pytest.mark.parametrize('act', ['echo "fatal: bad disk" >&2; exit 128', 'kill -9 $$', 'exit 1'],
                         ids=['fails', 'is killed', 'fails silently'])
def test_git_that_fails_costs_nothing(
    serving: Deployment, broken: Any, word: str, act: str
) -> None:
    brought(serving, web('two'))
    broken(word, act)
    done = serving.mirage('deploy')
    broken('nothing', 'true')
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert 'fault' not in said
    assert 'REFUSED' in said or 'mirage-hooks: ' in said
    assert serving.page() == 'one'
    assert serving.mirage('deploy').returncode == 0
    assert serving.page() == 'two'


@pytest.mark.parametrize('word', ['for-each-ref', 'cat-file', 'fetch'])
def test_git_that_hangs_is_ended(serving: Deployment, broken: Any, word: str) -> None:
    serving.publish(web('two'), 'b' * 40)
    if word != 'fetch':
        git(serving.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
    broken(word, f'exec sleep 3600.{os.getpid()}')
    done = altered(serving, 'pull', patience=1)
    assert done.returncode == 1
    assert 'git took more than 1 s, and was ended\n' in done.stdout, done
    assert '  hint: is its remote reachable, and its disk well?\n' in done.stdout
    assert serving.page() == 'one'
    left = [process for process in psutil.process_iter()
            if f'3600.{os.getpid()}' in ' '.join(_words(process))]
    assert left == []
    broken('nothing', 'true')
    assert serving.mirage('deploy').returncode == 0 and serving.mirage('pull').returncode == 0
    assert serving.page() == 'two'


def _words(process: psutil.Process) -> list[str]:
    try:
        return [str(word) for word in process.cmdline()]
    except psutil.Error:
        return []
