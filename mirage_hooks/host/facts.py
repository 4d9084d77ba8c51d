"""What this host can do for a release, asked once for each converge."""

from __future__ import annotations

import functools
import hashlib
import os
import pwd
import re
from pathlib import Path
from typing import Literal

from ..state import model
from . import cgroups, devices, filters, programs

SYSTEMD = Path('/run/systemd/system')


@functools.cache
def look() -> model.Host:
    """This host, as it is now."""
    root = os.geteuid() == 0
    sealed = not root and _bubblewrap('--unshare-user', '--disable-userns')
    sandbox = sealed or _bubblewrap(*(() if root else ('--unshare-user',)))
    return model.Host(
        root=root, sandbox=sandbox, systemd=systemd(root), nodes=devices.nodes(root),
        cgroups=cgroups.available(), counted=sandbox and (root or _apart()), sealed=sealed,
        filters=sandbox and filters.available(),
    )


def _bubblewrap(*spaces: str) -> bool:
    """Whether bubblewrap works with `spaces`: some hosts have it and forbid user namespaces, and
    before 0.8 it cannot forbid further ones."""
    tried = ('bwrap', '--unshare-pid', *spaces, '--ro-bind', '/', '/', '--proc', '/proc', 'true')
    return programs.ask(tried, timeout=10)[0] == 0


def _apart() -> bool:
    """Whether an ordinary user's processes are counted for each user namespace: Linux 5.14 on.
    Before, the limit would be on all that the user runs."""
    version = re.match(r'(\d+)\.(\d+)', os.uname().release)
    return version is not None and (int(version[1]), int(version[2])) >= (5, 14)


def systemd(root: bool) -> Literal['', 'system', 'user']:
    """Which systemd keeps a release alive after the hook's own session ends."""
    if not SYSTEMD.is_dir() or programs.find('systemd-run') is None:
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


def owner(state: Path) -> str:
    """16 hex digits that tell this host's repository from every other one."""
    try:
        machine = Path('/etc/machine-id').read_text().strip()
    except OSError:
        machine = os.uname().nodename
    return hashlib.sha256(f'{machine}:{state}'.encode()).hexdigest()[:16]
