"""A program that is asked something has its time and its bytes, whatever it does."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mirage_hooks.host import listening, processes, programs
from mirage_hooks.messages import errors
from tests.deployment import ROOT, Deployment, run, web

HELP = "if '--help=plain' in sys.argv:\n    {does}\n"


def asked(does: str) -> bytes:
    """An image that serves, and `does` something else when it is asked for its options."""
    before = HELP.format(does=does)
    return web('one').replace(b'\nport = 8080\n', f'\n{before}port = 8080\n'.encode())


def test_what_a_program_says_is_told_apart() -> None:
    said = listening.to(
        ('/bin/sh', '-c', 'cat; echo wrong >&2; exit 3'), 30, {'PATH': programs.PATH}, b'given'
    )
    assert said == listening.Said(3, b'given', b'wrong\n')


def test_a_program_that_floods_is_ended_before_it_fills_the_memory() -> None:
    program = (
        'from pathlib import Path\nfrom mirage_hooks.host import programs\n'
        'print(programs.ask(("/bin/cat", "/dev/zero"), 60))\n'
        # Not ru_maxrss, which begins with that of whoever started it.
        'print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])\n'
    )
    done = run(sys.executable, '-c', program, cwd=ROOT)
    said, memory = done.stdout.splitlines()
    assert said == "(None, '')"
    assert int(memory) < 150 * 1024  # KB


def test_one_of_the_hosts_own_programs_is_bounded_too() -> None:
    with pytest.raises(errors.Unavailable) as caught:
        programs.exchange('/bin/sleep', '600', timeout=0.2)
    assert caught.value.reason == 'sleep took too long'
    with pytest.raises(errors.Unavailable) as caught:
        programs.exchange('/bin/cat', '/dev/zero')
    assert caught.value.reason == f'cat printed more than {programs.EXCHANGED} bytes'


def test_what_a_program_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    """Also when it holds the pipe open, and when it has a session of its own."""
    release = tmp_path / '1'
    script = 'sleep 600 & setsid sleep 600 & echo here'
    began = time.monotonic()
    assert processes.ask(('/bin/sh', '-c', script), 2, release) == (None, '')
    assert time.monotonic() - began < 60
    assert list(processes.marked(tmp_path)) == []
    assert processes.ask(('/bin/sh', '-c', 'setsid sleep 600 >/dev/null 2>&1 & echo here'), 30,
                         release) == (0, 'here\n')
    assert list(processes.marked(tmp_path)) == []


@pytest.mark.parametrize('does', [
    'import os; os.execv("/bin/sleep", ["sleep", "{seconds}"])',
    'import subprocess; subprocess.Popen(["/bin/sleep", "{seconds}"], start_new_session=True); '
    'sys.exit(63)',
    '[sys.stdout.write("x" * 65536) for _ in iter(int, 1)]',
])
def test_an_image_that_does_not_end_its_help_leaves_nothing_and_serves(
    deployment: Deployment, does: str
) -> None:
    seconds = f'600.{deployment.port}'  # nobody else's
    deployment.publish(asked(does.format(seconds=seconds)))
    deployment.clone()
    done = deployment.mirage('deploy')
    assert (done.returncode, deployment.page()) == (0, 'one'), done.stdout
    assert len(deployment.processes()) == 1
    assert [one.info for one in psutil.process_iter(['cmdline'])
            if seconds in (one.info['cmdline'] or ())] == []


def test_a_question_that_a_kill_leaves_is_ended_by_the_next_converge(
    deployment: Deployment
) -> None:
    deployment.publish(asked('import time; time.sleep(600)'))
    deployment.clone()
    with subprocess.Popen(deployment.command('deploy'), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as deploying:
        limit = time.monotonic() + 60
        while not any('--help=plain' in one.cmdline() for _, one in deployment.processes()):
            assert time.monotonic() < limit and deploying.poll() is None
            time.sleep(0.01)
        deploying.kill()
    deployment.publish(web('two'), '2' * 40)
    deployment.pull()
    assert deployment.page() == 'two'
    assert len(deployment.processes()) == 1
