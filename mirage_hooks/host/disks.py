"""Private copies of disks: a trial writes to its own, and what serves goes on with the real one."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from ..messages import errors
from . import programs

MARGIN = 256 << 20  # bytes that a copy leaves free, for what serves and for git
PATIENCE = 60.0  # seconds that one copy may take: meanwhile nothing else is deployed
TRIES = 3  # copies of a disk that is written to meanwhile: half old and half new


def size(path: Path) -> int:
    """The bytes of the file or block device at `path`, 0 for anything else; raises OSError."""
    found = path.stat()
    if stat.S_ISBLK(found.st_mode):
        with path.open('rb') as device:
            return device.seek(0, os.SEEK_END)
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


@contextlib.contextmanager
def copied(copies: dict[Path, Path], user: int | None) -> Iterator[None]:
    """A copy (the keys) of each disk (the values), which user number `user` may write; they are
    gone afterwards. Raises Unavailable when they do not fit, or cannot be made."""
    try:
        _require_room(copies)
        for copy, disk in copies.items():
            _copy(disk, copy)
            copy.chmod(0o600)
            if user is not None:
                os.chown(copy, user, user)
    except BaseException as error:
        _remove(copies)
        if isinstance(error, OSError):
            raise errors.Unavailable(f'{error.filename}: {error.strerror}') from None
        raise
    try:
        yield
    finally:
        _remove(copies)


def _require_room(copies: dict[Path, Path]) -> None:
    """Sparse or shared, a copy may come to its full size: the trial may write all of it."""
    for folder in {copy.parent for copy in copies}:
        wanted = sum(size(disk) for disk in copies.values())
        free = shutil.disk_usage(folder).free
        if wanted + MARGIN > free:
            raise errors.Unavailable(
                f'its disks have {wanted >> 20} MB, and {folder} has {free >> 20} MB free'
            )


def _copy(disk: Path, copy: Path) -> None:
    with contextlib.suppress(errors.Unavailable):  # most file systems share no blocks
        programs.run('cp', '--reflink=always', '--', str(disk), str(copy), timeout=PATIENCE)
        return
    for _ in range(TRIES):
        before = disk.stat().st_mtime_ns
        programs.run('cp', '--sparse=always', '--', str(disk), str(copy), timeout=PATIENCE)
        if disk.stat().st_mtime_ns == before:
            return
    raise errors.Unavailable(f'{disk} is written to all the time')


def _remove(copies: dict[Path, Path]) -> None:
    for copy in copies:
        copy.unlink(missing_ok=True)
