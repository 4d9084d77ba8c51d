"""A bound on what may never end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
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


def heed_dropped_signals() -> None:
    """Python drops what a signal's handler raises while an object is finalized, and goes on as if
    nobody had interrupted it, or no time were over: send such a signal once more."""
    sys.unraisablehook = _heed


def _heed(dropped: sys.UnraisableHookArgs) -> None:
    number = _signal(dropped.exc_value)
    if not number or not callable(signal.getsignal(number)):
        sys.__unraisablehook__(dropped)
        return
    # Not at once: the handler would run in here, where what it raises is dropped again.
    again = threading.Timer(0.01, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _signal(error: BaseException | None) -> int:
    """The number of the signal whose handler raised `error`, 0 when none did."""
    if isinstance(error, Late):
        return signal.SIGALRM
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code - 128 if error.code > 128 else 0  # as the handlers of ours have it
    return signal.SIGINT if isinstance(error, KeyboardInterrupt) else 0


def _late(seconds: float) -> None:
    import psutil  # only when it is late

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == os.getsid(0):  # a release has a session of its own
                process.kill()
    raise Late(seconds)
