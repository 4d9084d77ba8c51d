"""What this host can do for a release, asked once for each converge."""

from __future__ import annotations

import functools
import hashlib
import os
import pwd
from pathlib import Path
from typing import Literal

from .. import model
from . import system

SYSTEMD = Path('/run/systemd/system')
KVM = Path('/dev/kvm')


@functools.cache
def look() -> model.Host:
    """This host, as it is now."""
    root = os.geteuid() == 0
    return model.Host(
        root=root, sandbox=_bubblewrap(root), systemd=_systemd(root), kvm=_group(KVM)
    )


def _bubblewrap(root: bool) -> bool:
    """Whether bubblewrap works: some hosts have it and forbid user namespaces."""
    spaces = ('--unshare-pid',) if root else ('--unshare-pid', '--unshare-user')
    tried = ('bwrap', *spaces, '--ro-bind', '/', '/', '--proc', '/proc', 'true')
    return system.ask(tried, timeout=10)[0] == 0


def _systemd(root: bool) -> Literal['', 'system', 'user']:
    """Which systemd keeps a release alive after the hook's own session ends."""
    if not SYSTEMD.is_dir() or system.find('systemd-run') is None:
        return ''
    if root:
        return 'system'
    lingers = Path(f'/var/lib/systemd/linger/{_name()}').exists()
    return 'user' if lingers and Path(f'/run/user/{os.getuid()}/systemd').is_dir() else ''


def _name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _group(device: Path) -> int | None:
    try:
        found = device.stat()
    except OSError:
        return None
    return found.st_gid if found.st_mode & 0o060 == 0o060 else None


def owner(state: Path) -> str:
    """16 hex digits that tell this host's repository from every other one."""
    try:
        machine = Path('/etc/machine-id').read_text().strip()
    except OSError:
        machine = os.uname().nodename
    return hashlib.sha256(f'{machine}:{state}'.encode()).hexdigest()[:16]
