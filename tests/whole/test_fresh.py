"""On a machine that has never seen the project, what the README promises is kept."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mirage_hooks.messages.errors import Refused
from tests import fresh

pytestmark = [
    pytest.mark.long, pytest.mark.skipif(bool(fresh.lacking()), reason=fresh.lacking() or 'nothing')
]
BOTH = pytest.mark.parametrize('user', ['root', fresh.USER])


@pytest.fixture(scope='module', autouse=True)
def _packages() -> None:
    """Skips where the machine cannot be made, for want of a Debian mirror."""
    try:
        fresh.bare()
    except Refused as refused:
        pytest.skip(f'no fresh machine can be made: {refused.reason.splitlines()[-1]}')


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[fresh.Machine]:
    with fresh.machine(tmp_path / 'root') as made:
        yield made


@BOTH
def test_the_demo_tells_its_story_to_the_end_and_leaves_nothing(
    machine: fresh.Machine, user: str
) -> None:
    done = machine.run('./install.sh', '--demo', user=user)
    if 'pip could not install' in done.stdout:
        pytest.skip(f'no Python packages come to a fresh machine: {done.stdout.splitlines()[-3]}')
    assert done.returncode == 0, done.stdout
    for line in ('Hello from version 1', 'Hello from version 2', 'www: REFUSED: it ended with'):
        assert line in done.stdout
    assert done.stdout.splitlines()[-1].startswith('All of it is stopped, and '), done.stdout
    assert machine.left(user) == []


@BOTH
def test_the_tests_are_green(machine: fresh.Machine, user: str) -> None:
    """Those of taps, of pushes and of rights; as an ordinary user, those that can run."""
    done = machine.run('tests/run', '-q', 'tests/targets/test_direct.py', 'tests/cli/test_hooks.py',
                       'tests/host/test_privilege.py', 'tests/targets/test_arguments.py', user=user)
    assert done.returncode == 0, done.stdout
    assert ' passed' in done.stdout.splitlines()[-1]
    if user == 'root':
        assert 'SKIPPED' not in done.stdout, 'tests/run did not install what they need'


def test_device_nodes_are_as_without_udev_and_nothing_of_this_machine_is_seen(
    machine: fresh.Machine, tmp_path: Path
) -> None:
    mark = tmp_path / 'mark'
    mark.touch()
    done = machine.run('sh', '-c', f"""
        cd /dev; stat -c '%n %a %U' null net/tun kvm 2>&1
        ls {mark} {Path(__file__)} 2>&1
        hostname; id -un; echo $HOME; python3 -c 'import psutil' 2>&1
    """)
    nodes = [f'{name} {mode} root' if Path('/dev', name).exists() else
             f"stat: cannot statx '{name}': No such file or directory"
             for name, mode in (('null', 666), ('net/tun', 600), ('kvm', 660))]
    assert done.stdout.splitlines() == [
        *nodes,
        f"ls: cannot access '{mark}': No such file or directory",
        f"ls: cannot access '{__file__}': No such file or directory",
        'fresh', 'root', '/root',
        'Traceback (most recent call last):', '  File "<string>", line 1, in <module>',
        "ModuleNotFoundError: No module named 'psutil'",
    ]


def test_it_changes_nothing_of_this_machine_and_ends_with_its_first_process(
    machine: fresh.Machine
) -> None:
    def seen() -> tuple[set[str], str]:  # namespaces that other tests make are mounts, too
        mounts = Path('/proc/self/mountinfo').read_text().splitlines()
        ours = {line for line in mounts if ' /mnt ' in line or str(machine.root) in line}
        return ours, socket.gethostname()

    before = seen()
    word = f'3600.{os.getpid()}'
    script = f'hostname other; mount -t tmpfs none /mnt; sleep {word} & exit 3'
    done = machine.run('sh', '-c', script)
    assert done.returncode == 3
    assert seen() == before
    assert not [one for one in psutil.process_iter(['cmdline'])
                if word in (one.info['cmdline'] or [])]


def test_it_goes_with_the_run(tmp_path: Path) -> None:
    with fresh.machine(tmp_path / 'root') as made:
        assert made.run('true').returncode == 0
        shutil.copy('/etc/os-release', made.root / 'tmp')
    assert list(tmp_path.iterdir()) == []
