"""A bound on what may never end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator


class Late(BaseException):
    """The time of `seconds` is over. No Exception: no library on the way may take it for its
    own."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise Late when the block takes longer than `seconds`, and end the commands that we wait for.
    Only in the main thread, and only the outermost of several; elsewhere nothing is bounded."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: _late(seconds))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _late(seconds: float) -> None:
    import psutil  # only when it is late

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == os.getsid(0):  # a release has a session of its own
                process.kill()
    raise Late(seconds)
