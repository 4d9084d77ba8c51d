"""The device nodes that releases open. A kernel without udev makes /dev/net/tun for root alone, and
/dev/kvm belongs to a group: so what runs under a user number of its own gets nodes of ours, and the
host's stay as they are. They lie in /dev, for other file systems may be mounted `nodev`, and go
with the next boot."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from ..messages import errors
from . import programs

WITHOUT_KVM = 'QEMU runs it without KVM, many times slower: /dev/kvm is of no use: {}'
TUN, KVM = '/dev/net/tun', '/dev/kvm'
KVM_GET_API_VERSION, KVM_API = 0xAE00, 12  # linux/kvm.h; the API is final
NUMBER = os.makedev(10, 200)  # of TUN, Linux' admin-guide/devices.txt; opening it loads the module
FOLDER = Path('/dev/mirage-hooks')
"""Root's: nobody else gets through it, so the nodes in it may be open to every user number."""
SHARED = '/dev/mirage-hooks-tun'
"""An ordinary user's TUN, made by sudo: open to all, as udev makes the host's own. A tap is still
opened by its owner alone."""


def nodes(root: bool) -> dict[str, str]:
    """For each device that releases open by another node than the host's own: that node."""
    if root:
        return {device: str(FOLDER / Path(device).name) for device in (TUN, KVM)}
    return {} if os.access(TUN, os.R_OK | os.W_OK) else {TUN: SHARED}


def command() -> tuple[str, ...]:
    """What makes an ordinary user's TUN."""
    return ('mknod', '-m', '666', SHARED, 'c', str(os.major(NUMBER)), str(os.minor(NUMBER)))


def make(device: str, node: str) -> None:
    """Have `node` stand for `device`, as far as this host has it; raises Unavailable when nobody
    lets us."""
    number = _number(device)
    if number == _number(node) and (number is None or Path(node).stat().st_mode & 0o666 == 0o666):
        return
    if os.geteuid() != 0:
        programs.run(*command())
        return
    try:
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        FOLDER.chmod(0o700)
        if number is None:
            Path(node).unlink(missing_ok=True)
        else:
            _put(Path(node), device, number)
    except OSError as error:
        raise errors.Unavailable(
            f'cannot make the device node {node}: {error.strerror}'
        ) from None


def _put(node: Path, device: str, number: int) -> None:
    fresh = node.with_name(f'{node.name}.{os.getpid()}')
    try:
        os.mknod(fresh, stat.S_IFCHR | 0o600, number)
        fresh.chmod(0o666)  # whatever the umask
    except PermissionError:  # a container that may make none: then the host's own has to do
        fresh.symlink_to(device)
    fresh.replace(node)


def _number(path: str) -> int | None:
    """The device number behind `path`, None where there is no such device."""
    try:
        found = Path(path).stat()
    except OSError:
        return NUMBER if path == TUN else None
    return found.st_rdev if stat.S_ISCHR(found.st_mode) else None


def trouble(device: str) -> str:
    """Why a release could not open `device` here, '' when it can."""
    node = nodes(os.geteuid() == 0).get(device, device)
    try:
        if node != device and os.geteuid() == 0:
            make(device, node)
        opened = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        try:
            return _unfit(device, opened)
        finally:
            os.close(opened)
    except OSError as error:
        return error.strerror or str(error)
    except errors.Unavailable as error:
        return error.reason


def _unfit(device: str, opened: int) -> str:
    """Why a release could do nothing with `device`, which we have `opened`; '' when it can."""
    mode = os.fstat(opened).st_mode & 0o777
    if os.geteuid() == 0 and mode & 0o006 != 0o006:  # a link to the host's own, see _put
        return (f'releases run under user numbers of their own, its mode is {mode:04o}, and no '
                'node of ours can be made here')
    if device != KVM:
        return ''
    try:
        version = fcntl.ioctl(opened, KVM_GET_API_VERSION)
    except OSError:
        return 'it is no KVM'
    return '' if version == KVM_API else f'it speaks version {version} of its API, not {KVM_API}'
