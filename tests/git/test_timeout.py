"""What never ends is ended, wherever the signal that says so happens to land."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from mirage_hooks.git import timeout
from tests.patience import PATIENCE

# A signal's handler runs between two steps of Python: here, of an object's finalizer.
DROPPING = '''
import os, signal, sys, time, weakref
from pathlib import Path
from mirage_hooks.cli import running

class Garbage:
    def __del__(self):
        {send}
        for _ in range(1000):
            time.sleep(0)

def last(*_):
    {send}
    for _ in range(1000):
        time.sleep(0)

def collected():
    if sys.argv[1] == '__del__':
        garbage = Garbage()
    else:
        garbage = type('Kept', (), {{}})()
        weakref.finalize(garbage, last)
    del garbage
    time.sleep({patience})
    return 0

sys.exit(running.guarded(collected, Path('/nonexistent')))
'''
SEND = 'os.kill(os.getpid(), signal.SIGINT)'


@pytest.mark.parametrize('way', ['__del__', 'weakref'])
def test_an_interruption_while_an_object_is_finalized_is_not_lost(way: str) -> None:
    began = time.monotonic()
    script = DROPPING.format(send=SEND, patience=PATIENCE)
    done = subprocess.run((sys.executable, '-c', script, way), capture_output=True, text=True,
                          timeout=2 * PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, '', 'mirage-hooks: interrupted\n')
    assert time.monotonic() - began < PATIENCE


def test_a_time_that_is_over_while_an_object_is_finalized_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Garbage:
        def __del__(self) -> None:
            while not dropped:
                time.sleep(0.01)

    dropped: list[object] = []
    monkeypatch.setattr(sys, 'unraisablehook', sys.unraisablehook)  # given back at the end
    timeout.heed_dropped_signals()
    heed = sys.unraisablehook

    def counted(late: sys.UnraisableHookArgs) -> None:
        dropped.append(late.exc_type)
        heed(late)

    sys.unraisablehook = counted
    began = time.monotonic()
    with pytest.raises(timeout.Late), timeout.within(0.1):
        garbage = Garbage()
        del garbage
        time.sleep(PATIENCE)
    assert dropped
    assert time.monotonic() - began < PATIENCE
