"""Control groups of our own (cgroup v2), for releases that no systemd limits: they count what
resource limits do not see, as shared memory and the files of a tmpfs. Linux' admin-guide,
cgroup-v2.txt."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ..messages import errors
from ..state import model

ROOT = Path('/sys/fs/cgroup')
CONTROLLERS = ('memory', 'pids')


def available() -> bool:
    """Whether we may make groups that count memory and tasks."""
    try:
        known = (ROOT / 'cgroup.controllers').read_text().split()
        if os.geteuid() != 0 or not os.access(ROOT, os.W_OK) or {*CONTROLLERS} - {*known}:
            return False
        control = ROOT / 'cgroup.subtree_control'
        if {*CONTROLLERS} - {*control.read_text().split()}:
            control.write_text(' '.join(f'+{name}' for name in CONTROLLERS))
    except OSError:  # cgroup v1; or a container, whose group has processes of its own
        return False
    return True


@contextlib.contextmanager
def joining(group: model.Group | None) -> Iterator[Callable[[], object] | None]:
    """Make `group`; what a child calls to be in it. Raises Unavailable when that fails."""
    if group is None:
        yield None
        return
    try:
        processes = _made(ROOT / group.name, group)
    except OSError as error:
        raise errors.Unavailable(
            f'cannot limit memory and processes by {ROOT / group.name}: {error.strerror}'
        ) from None
    try:
        yield lambda: os.write(processes, b'0')  # the one who writes
    finally:
        os.close(processes)


def starved(name: str) -> bool:
    """Whether the kernel killed a process of the group `name`, which had used up its memory."""
    try:
        events = (ROOT / name / 'memory.events').read_text()
    except OSError:
        return False
    return re.search(r'^oom_kill [1-9]', events, re.M) is not None


def _made(folder: Path, group: model.Group) -> int:
    with contextlib.suppress(OSError):  # of an earlier run, whose events it counts
        folder.rmdir()
    folder.mkdir(exist_ok=True)
    (folder / 'memory.max').write_text(str(group.memory << 20))
    (folder / 'pids.max').write_text(str(group.tasks))
    with contextlib.suppress(FileNotFoundError):  # a kernel that does not count swap
        (folder / 'memory.swap.max').write_text('0')
    return os.open(folder / 'cgroup.procs', os.O_WRONLY | os.O_CLOEXEC)


def sweep(seed: str, kept: set[str]) -> None:
    """Remove the groups of the repository `seed` that nobody is in, but for those `kept`."""
    for folder in ROOT.glob(f'mirage-hooks-{seed}-*'):
        if folder.name not in kept:
            with contextlib.suppress(OSError):  # its processes are about to end: the next time
                folder.rmdir()
