"""Listens to a short-lived program: for so long, and to so many bytes, whatever it does."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from typing import IO, cast

import msgspec

LIMIT = 1 << 20  # bytes, of what it prints and of what it complains about each
PAUSE = 0.0002  # seconds, between the first two looks at whether what has said all has ended


class Unheard(Exception):
    """It did not come to its end within the limits; the text says which."""


class Said(msgspec.Struct, frozen=True):
    """How a program ended, and what it wrote to its standard output and error."""

    code: int
    out: bytes
    err: bytes


def to(
    command: tuple[str, ...], timeout: float, environment: dict[str, str], given: bytes = b'',
    limit: int = LIMIT, apart: bool = False,
) -> Said:
    """Run `command` with `given` as its input; raises Unheard when it takes more than `timeout`
    seconds or writes more than `limit` bytes, OSError when it cannot be executed. Run `apart` it
    is in a session of its own, and nothing that it leaves there outlives it."""
    with tempfile.TemporaryFile() as stdin:
        stdin.write(given)
        stdin.seek(0)
        child = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
            cwd='/' if apart else None, start_new_session=apart,
        )
    out, err = bytearray(), bytearray()
    try:
        _hear(child, out, err, time.monotonic() + timeout, limit)
    finally:
        code = _end(child, apart)
    return Said(code, bytes(out), bytes(err))


def _hear(
    child: subprocess.Popen[bytes], out: bytearray, err: bytearray, end: float, limit: int
) -> None:
    """Fill `out` and `err` until the end of `child`."""
    with selectors.DefaultSelector() as both:
        both.register(cast(IO[bytes], child.stdout), selectors.EVENT_READ, out)
        both.register(cast(IO[bytes], child.stderr), selectors.EVENT_READ, err)
        while both.get_map():
            ready = both.select(_left(end))
            for key, _ in ready:
                piece = os.read(key.fd, 65536)
                key.data.extend(piece)
                if not piece:
                    both.unregister(key.fileobj)
                if len(key.data) > limit:
                    raise Unheard(f'printed more than {limit} bytes')
    pause = PAUSE
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        time.sleep(min(_left(end), pause))
        pause = min(pause * 2, 50 * PAUSE)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise Unheard('took too long')
    return left


def _end(child: subprocess.Popen[bytes], apart: bool) -> int:
    """End `child`, with all of its session when it is `apart`; its exit code. Nobody else can have
    its number before it is waited for."""
    if apart:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    for pipe in (child.stdout, child.stderr):
        cast(IO[bytes], pipe).close()
    return child.wait()
