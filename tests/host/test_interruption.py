"""Ctrl-C and deadlines come after what must not be left half done."""

from __future__ import annotations

import signal
import subprocess
import threading
import time

import pytest

from mirage_hooks.git import timeout
from mirage_hooks.host import interruption


def test_an_interruption_within_comes_right_after() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interruption.held():
        signal.raise_signal(signal.SIGINT)
        done.append('all of it')
    assert done == ['all of it']
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_time_that_is_over_within_is_over_right_after() -> None:
    done = []
    with pytest.raises(timeout.Late), timeout.within(0.01), interruption.held():
        time.sleep(0.1)
        done.append('all of it')
    assert done == ['all of it']


def test_within_another_it_comes_after_the_outer_one() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interruption.held():
        with interruption.held():
            signal.raise_signal(signal.SIGINT)
        done.append('all of it')
    assert done == ['all of it']


def test_what_is_started_within_can_be_interrupted() -> None:
    with interruption.held():
        child = subprocess.Popen(('sleep', '60'))
    child.send_signal(signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM


def test_in_another_thread_it_leaves_the_handlers_alone() -> None:
    found = []

    def look() -> None:
        with interruption.held():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption.held():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
