"""Ctrl-C, hang-up and deadlines, kept away from what must not be left half done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Have what interrupts us do so after the block: an image that was being started is known then,
    and one that was being ended is ended. Not by the signal mask alone, which every process started
    in the block would inherit. Does nothing outside of the main thread, which has all handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in NUMBERS}
    handled = {number: one for number, one in before.items() if callable(one)}
    with _masked():
        for number in handled:
            signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        with _masked():
            for number, one in handled.items():
                signal.signal(number, one)
        for late in came:
            signal.raise_signal(late)


@contextlib.contextmanager
def _masked() -> Iterator[None]:
    """Handlers are exchanged all at once, or none: what came before raises here first."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
