"""The pipe by which the keeper of a repository is called."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from pathlib import Path

from .ownership import strange

KEPT = 'keeper.json'  # what the keeper waits for
KEEPER = 'keeper'  # the pipe by which it is called
LEAVE = 10.0  # seconds that the keeper has to end


def called(state: Path) -> bool:
    """Have the keeper of `state` look what there is to keep; whether there is one."""
    pipe = _pipe(state)
    if pipe is None:
        return False
    with contextlib.suppress(BlockingIOError):  # full of calls that it has yet to hear
        os.write(pipe, b'.')
    os.close(pipe)
    return True


def hold(state: Path) -> int | None:
    """The pipe by which the keeper of `state` is called, held for as long as it is open by whoever
    has a copy; None while another holds it."""
    path = state / KEEPER
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(pipe).st_mode):
            raise OSError(errno.EINVAL, 'is no pipe', str(path))
        fcntl.flock(pipe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(pipe)
        return None
    except OSError:
        os.close(pipe)
        raise
    return pipe


def dismiss(state: Path) -> None:
    """Have the keeper of `state` end, and wait until it has: what ends from now on is not started
    again. A state folder of others is left alone."""
    if strange(state) or not state.is_dir():
        return
    (state / KEPT).unlink(missing_ok=True)
    limit = time.monotonic() + LEAVE
    while called(state) and time.monotonic() < limit:
        time.sleep(0.02)


def keeps(state: Path) -> bool:
    """Whether there is a keeper, or nothing to keep."""
    pipe = _pipe(state)
    if pipe is not None:
        os.close(pipe)
    return pipe is not None or not (state / KEPT).exists()


def _pipe(state: Path) -> int | None:
    """The pipe that the keeper reads, None without one."""
    try:
        pipe = os.open(state / KEEPER, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # ENXIO: nobody reads it
        return None
    if stat.S_ISFIFO(os.fstat(pipe).st_mode):
        return pipe
    os.close(pipe)
    return None
