"""A release opens its devices whatever the host's own nodes allow, and those stay as they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from mirage_hooks.host import devices
from tests import wired
from tests.wired import Wired

TUN = os.makedev(10, 200)
NULL = os.makedev(1, 3)


@pytest.fixture
def place(tmp_path: Path, mocker: MockerFixture) -> Path:
    """The folder of our nodes."""
    if os.geteuid() != 0:
        pytest.skip('root is missing, which may make device nodes')
    mocker.patch.object(devices, 'FOLDER', tmp_path / 'ours')
    return tmp_path / 'ours'


def found(path: Path) -> tuple[int, int, bool]:
    """The device, the mode, whether it is a link."""
    said = path.stat()
    return said.st_rdev, stat.S_IMODE(said.st_mode), path.is_symlink()


def test_a_node_of_ours_is_open_to_all_who_get_to_it_and_those_are_roots_sandboxes(
    place: Path
) -> None:
    for _ in range(2):
        devices.make('/dev/net/tun', str(place / 'tun'))
        assert found(place / 'tun') == (TUN, 0o666, False)
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert [path.name for path in place.iterdir()] == ['tun']


@pytest.mark.parametrize('spoil', [
    lambda path: path.chmod(0o600),
    lambda path: (path.unlink(), path.write_text('no device')),
    lambda path: (path.unlink(), os.mknod(path, stat.S_IFCHR | 0o666, NULL)),
    lambda path: (path.unlink(), path.symlink_to('/dev/null')),
])
def test_a_node_that_is_another_is_made_anew(place: Path, spoil: object) -> None:
    devices.make('/dev/net/tun', str(place / 'tun'))
    spoil(place / 'tun')  # type: ignore[operator]
    devices.make('/dev/net/tun', str(place / 'tun'))
    assert found(place / 'tun') == (TUN, 0o666, False)


def test_a_device_that_this_host_does_not_give_is_not_given(place: Path, tmp_path: Path) -> None:
    device = tmp_path / 'kvm'
    device.symlink_to('/dev/null')
    devices.make(str(device), str(place / 'kvm'))
    assert found(place / 'kvm')[0] == NULL
    device.unlink()
    devices.make(str(device), str(place / 'kvm'))
    assert list(place.iterdir()) == []


def test_a_container_that_may_make_no_node_uses_the_hosts_own(
    place: Path, mocker: MockerFixture
) -> None:
    mocker.patch('os.mknod', side_effect=PermissionError(1, 'Operation not permitted'))
    devices.make('/dev/null', str(place / 'null'))
    assert (place / 'null').readlink() == Path('/dev/null')


def test_what_only_root_may_open_is_no_device_for_a_release(
    place: Path, mocker: MockerFixture, tmp_path: Path
) -> None:
    """`check` said that it can be opened, and then the image could not."""
    mocker.patch('os.mknod', side_effect=PermissionError(1, 'Operation not permitted'))
    closed = tmp_path / 'closed'
    closed.touch(0o600)
    mocker.patch.object(devices, '_number', side_effect=lambda path: 7 if path == 'x' else None)
    mocker.patch.object(devices, 'nodes', return_value={'x': str(place / 'x')})
    place.mkdir(exist_ok=True)
    (place / 'x').symlink_to(closed)
    mocker.patch.object(devices, 'make')
    assert devices.trouble('x') == (
        'releases run under user numbers of their own, its mode is 0600, and no node of ours can '
        'be made here'
    )
    closed.chmod(0o666)
    assert devices.trouble('x') == ''


def test_what_opens_and_is_no_kvm_is_not_taken_for_one(mocker: MockerFixture) -> None:
    mocker.patch.object(devices, 'nodes', return_value={devices.KVM: '/dev/null'})
    mocker.patch.object(devices, 'make')
    assert devices.trouble(devices.KVM) == 'it is no KVM'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Wired]:
    if lacking := wired.missing():
        pytest.skip(lacking)
    made = Wired(tmp_path)
    try:
        yield made
    finally:
        made.end()


def test_a_release_of_root_s_opens_its_tap_where_no_udev_opened_the_host_s(site: Wired) -> None:
    node = site.folder / 'closed'
    closed = f'mknod -m 600 {node} c 10 200 && mount --bind {node} /dev/net/tun'
    site.release()
    site.clone()
    done = site.mirage('deploy', before=closed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.page() == 'release-0001'
    assert stat.S_IMODE(node.stat().st_mode) == 0o600
    checked = site.mirage('check', before=f'mount --bind {node} /dev/net/tun')
    assert 'ok       www: /dev/net/tun can be opened' in checked.stdout.splitlines()
