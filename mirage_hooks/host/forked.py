"""A question to somebody whom nobody knows, asked by a forked child: whatever it waits for (names,
handshakes, a regular expression that holds the interpreter), it is killed when its time is over.

A fork, and no new interpreter: it takes a millisecond or two, and is in the caller's network
namespace."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ..messages import errors

if TYPE_CHECKING:
    import ctypes

ANSWER = 4096  # bytes of an answer: PIPE_BUF, written at once or not at all
MEMORY = 128 << 20  # bytes that a child may take next to what it was forked with
LOOK = 0.05  # seconds between two looks at whether the answer is still wanted

SAID, STUCK, FAULT = b'=', b'-', b'!'
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl.h

class Unanswered(Exception):
    """There was no answer: why not."""


class Asked(NamedTuple):
    """A question under way: the pipe on which its answer comes, the child, and when (by the
    monotonic clock) its time is over."""

    reading: int
    child: int
    until: float


def answer(
    question: Callable[[], str], limit: float, wanted: Callable[[], None] = lambda: None
) -> str:
    """What `question` returns, at most ANSWER bytes of it; raises Unanswered when that takes more
    than `limit` seconds or MEMORY. What `wanted`, called all the while, raises ends it at once.
    Everything that `question` started and did not take out of its session ends with it."""
    asked = begin(question, limit)
    try:
        return _told(_heard(asked.reading, asked.until, wanted))
    finally:
        end(asked)


def begin(question: Callable[[], str], limit: float) -> Asked:
    """Begin to ask `question`; whoever begins it calls `told` or `end` later."""
    reading, writing = os.pipe()
    parent = os.getpid()
    import ctypes  # here, for what is imported in the child is imported in each

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        child = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        raise errors.Unavailable(f'cannot start a process: {error.strerror}') from None
    if child == 0:
        _tell(question, writing, lambda: _apart(parent, libc))
    os.close(writing)
    return Asked(reading, child, time.monotonic() + limit)


def told(asked: Asked) -> str:
    """The answer of what was `asked`, which is there, or whose time is over: see `answer`."""
    try:
        return _told(_heard(asked.reading, 0, lambda: None))
    finally:
        end(asked)


def end(asked: Asked) -> None:
    """End it and all that it started, whatever it was about to say."""
    os.close(asked.reading)
    _end(asked.child)


def _heard(reading: int, limit: float, wanted: Callable[[], None]) -> bytes:
    while True:
        left = limit - time.monotonic()
        if select.select((reading,), (), (), max(0.0, min(left, LOOK)))[0]:
            return os.read(reading, ANSWER)
        if left <= 0:
            raise Unanswered('timed out')
        wanted()


def _told(heard: bytes) -> str:
    kind, said = heard[:1], heard[1:].decode(errors='replace')
    if kind == SAID:
        return said
    if kind == FAULT:
        raise RuntimeError(said)  # our own
    raise Unanswered(said or 'whoever asked was killed')


def _end(child: int) -> None:
    """While nobody has waited for `child`, no other process gets its number."""
    os.kill(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # it had no time to make a group of its own
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _tell(question: Callable[[], str], writing: int, apart: Callable[[], None]) -> NoReturn:
    """The child's whole life. Nothing of the caller's is unwound, flushed or collected in it."""
    try:
        apart()
        said = SAID + question().encode(errors='replace')
    except MemoryError:
        said = STUCK + f'it takes more than {MEMORY >> 20} MB'.encode()
    except BaseException:
        import traceback

        said = FAULT + traceback.format_exc()[1 - ANSWER :].encode()[1 - ANSWER :]
    finally:
        with contextlib.suppress(BrokenPipeError):
            os.write(writing, said[:ANSWER])
        os._exit(0)


def _apart(parent: int, libc: ctypes.CDLL) -> None:
    gc.disable()
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it died before that
    # What others map (libraries) or only reserve (threads) is not counted: Linux' getrlimit(2).
    taken = int(Path('/proc/self/statm').read_text().split()[5]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    bound = taken + MEMORY if most == resource.RLIM_INFINITY else min(taken + MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, most))
