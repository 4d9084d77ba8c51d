"""virtio for real: the project's own guest, pushed by git into a namespace, booted by QEMU."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirage_hooks.host import programs
from tests import guests, wired
from tests.deployment import run
from tests.wired import ADDRESS, GATEWAY, Pushed

LACKING = ', '.join(name for name in ('qemu-system-x86_64', 'bwrap', 'curl')
                    if not programs.find(name))
MISSING = wired.missing() or (f'missing: {LACKING}' if LACKING else '')
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING or 'nothing')
# Laid over the device in the mount namespace of one command: it opens, and is no KVM.
NO_KVM = '{ [ ! -e /dev/kvm ] || mount --bind /dev/null /dev/kvm; }'


@functools.cache
def kvm_runs_guests() -> bool:
    """Whether this machine's KVM gets the guest to its own exit (83); one that is emulated by
    another hypervisor may be there and stop at the first instruction that it does not know."""
    command = (
        'qemu-system-x86_64', '-m', '64', '-nodefaults', '-machine', 'acpi=off', '-accel', 'kvm',
        '-display', 'none', '-device', 'isa-debug-exit', '-append', '--fail=exit:3',
        '-kernel', str(guests.build('virtio', wired.CACHE)),
    )
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 83
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture(params=['TCG', 'KVM'])
def before(request: pytest.FixtureRequest) -> str:
    """What the shell does before a deployment, so that QEMU takes this accelerator."""
    # Not when tests are collected: each worker must find the same ones.
    if request.param == 'KVM' and not kvm_runs_guests():
        pytest.skip('/dev/kvm is missing, or does not run guests')
    return NO_KVM if request.param == 'TCG' else 'true'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Pushed]:
    made = Pushed(tmp_path, 'virtio')
    made.configure(memory=64, health={'http': f'http://{ADDRESS}:8080/', 'within': '2m'},
                   drain='0s')
    try:
        yield made
    finally:
        made.end()


@pytest.mark.proves('virtio', 'static', 'QEMU ({before}), on a bridge in a namespace; page fetched')
def test_pushed_served_replaced_crashed_and_removed(site: Pushed, before: str) -> None:
    said = site.push(before=before)
    assert f'www: release 1 (virtio (Solo5 ABI 1), {size()}, network service, ' in said
    slow = 'www: QEMU runs it without KVM, many times slower: /dev/kvm is of no use: '
    assert (slow in said) == (before == NO_KVM)
    assert (slow in site.mirage('check', before=before).stdout) == (before == NO_KVM)
    assert site.page() == 'release-0001'
    args = run(*site.outside(), 'curl', '-s', f'http://{ADDRESS}:8080/args', cwd=site.folder)
    assert args.stdout == f'--ipv4={ADDRESS}/24\n--ipv4-gateway={GATEWAY}\n--ipv4-only=true\n'
    accelerated(site, 1, before)

    assert 'now runs' in site.push(before=before)
    assert site.page() == 'release-0002'
    site.alone(2)

    site.crash()
    assert site.page() == ''
    done = site.mirage('pull', '--quiet', before=before)
    assert (done.returncode, done.stdout.splitlines()[-1][-10:]) == (0, 'runs again')
    assert site.page() == 'release-0002'
    site.alone(2)

    site.configure('unikernels: {}\n')
    done = site.mirage('deploy')
    assert (done.returncode, done.stdout) == (0, 'www: stopped: it is no longer in mirage.yml\n')
    assert (site.processes(), site.links(), site.tables()) == ([], [], [])


@pytest.mark.long
def test_an_image_that_crashes_costs_nothing(site: Pushed) -> None:
    site.push(before=NO_KVM)
    site.configure(memory=64, arguments=['--fail=crash'],
                   health={'http': f'http://{ADDRESS}:8080/', 'within': '2m'})
    said = site.push(before=NO_KVM)
    assert 'www: REFUSED: it ended with exit code 83' in said
    assert 'Solo5: ABORT' in said
    assert site.page() == 'release-0001'
    site.alone(1)


def accelerated(site: Pushed, release: int, before: str) -> None:
    """QEMU took TCG where KVM does not work, and said so on the console."""
    console = site.state().of('www').folder(release) / 'console.log'
    fell_back = 'falling back to tcg' in console.read_text()
    assert fell_back == (before == NO_KVM)


def size() -> str:
    return f'{len(wired.guest(1, "virtio")) / 1000:.1f} kB'
