"""What one user has of mirage-hooks on this host, whatever the repository: the list of repositories
that are watched, the lock of the one watcher, and which files it keeps fresh. Below
`~/.local/state/mirage-hooks`, believed only when it is this user's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import time
from pathlib import Path

from ..messages import errors
from . import files, ownership

KINDS = ('metrics', 'page')
"""What is kept fresh: commands that write a file. Here each is a symbolic link to that file."""


def folder() -> Path:
    # Not XDG_STATE_HOME: cron and systemd do not know what a session sets. sudo may keep another
    # user's HOME.
    home = Path.home()
    if not home.exists() or home.stat().st_uid != os.geteuid():
        home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    return home / '.local' / 'state' / 'mirage-hooks'


def repositories() -> list[Path]:
    """Those that the installer put hooks into, as far as the list is ours."""
    path = folder() / 'repositories'
    with contextlib.suppress(OSError, RuntimeError):
        if not ownership.strange(path) and not ownership.strange(folder()):
            return [Path(os.fsdecode(line)) for line in path.read_bytes().split(b'\n') if line]
    return []


def required() -> list[Path]:
    """The same; raises Refused where there is none."""
    if found := repositories():
        return found
    raise errors.Refused('no repository is known of this user', hint='the installer writes them '
                         'down: mirage-hooks install REPOSITORY')


def remember(repository: Path, there: bool) -> None:
    """Keep the list: with `repository` or without it."""
    path = folder() / 'repositories'
    if there:
        with files.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    keep(path, repository, there)


def forget() -> None:
    """Take away all of it: the last repository is out, and its watcher ends."""
    for kind in KINDS:
        keep_fresh(kind, None)
    with files.writing(folder()):
        for name in ('repositories', 'watcher'):
            (folder() / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something of others in it, or not there
            folder().rmdir()


def keep(path: Path, repository: Path, there: bool) -> bool:
    """Keep the list at `path`, a repository a line: with `repository` or without it, and without
    those that are gone. Whether it stood there before."""
    with files.writing(path):
        before = path.read_bytes().splitlines() if path.exists() else []
        line = os.fsencode(repository)
        others = {one for one in before if one and one != line and Path(os.fsdecode(one)).exists()}
        after = sorted(others | {line} if there else others)
        if after != before:
            fresh = path.with_name(f'{path.name}.new')
            fresh.write_bytes(b''.join(one + b'\n' for one in after))
            fresh.replace(path)
    return line in before


def fresh() -> dict[str, Path]:
    """The file of each kind that the watcher keeps fresh, as far as the folder is ours."""
    found = dict[str, Path]()
    for kind in KINDS if not ownership.strange(folder()) else ():
        with contextlib.suppress(OSError):  # it keeps none
            found[kind] = (folder() / kind).readlink()
    return found


def keep_fresh(kind: str, path: Path | None) -> Path | None:
    """Have the watcher keep the file `path` of that `kind` fresh from now on (None: none), and take
    away the one that it kept until now, which is returned."""
    before, link = fresh().get(kind), folder() / kind
    with files.writing(link):
        if before is not None and before != path:
            before.unlink(missing_ok=True)
        if path is None:
            link.unlink(missing_ok=True)
        elif before != path:
            require_ours()
            folder().mkdir(parents=True, exist_ok=True, mode=0o700)
            new = link.with_name(f'{kind}.new')
            new.unlink(missing_ok=True)
            new.symlink_to(path)
            new.replace(link)
    return before


def require_ours() -> None:
    """Raise Refused where the folder is not ours."""
    if strange := ownership.strange(folder()):
        raise errors.Refused(f'{folder()} {strange}: nothing in it is believed',
                             hint='look whose it is, and move it away')


def hold() -> int | None:
    """The lock of the watcher, held for as long as this descriptor is open; None while another one
    holds it. Raises Refused where the folder is not ours."""
    require_ours()
    with files.writing(folder()):
        folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder() / 'watcher', os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _locked(lock):
        os.close(lock)
        return None
    with contextlib.suppress(OSError):  # a full disk: only the number is lost
        os.ftruncate(lock, 0)
        os.pwrite(lock, f'{os.getpid()}\n'.encode(), 0)
    return lock


def watcher() -> int:
    """The number of the process that watches for this user; 0 when none does."""
    with contextlib.suppress(OSError, RuntimeError, ValueError), (
        folder() / 'watcher'
    ).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read())
    return 0


def _locked(lock: int) -> bool:
    """Tried again for a moment: whoever asks `watcher` has it meanwhile."""
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.01)
    return False
