"""Processes of a release are ended whole, also those that are only just beginning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mirage_hooks.host import processes

LATE = """
import os, signal, sys, time
def bear(*_):
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(600)
signal.signal(signal.SIGTERM, bear)
print('ready', flush=True)
time.sleep(600)
"""
"""What starts another process just when it is ended, as bubblewrap may that is starting."""


def test_a_process_that_the_kernel_shows_no_mark_of_yet_is_ended_as_our_child(
    tmp_path: Path
) -> None:
    child = subprocess.Popen(('sleep', '600'))
    assert processes.of(tmp_path / '1') == []
    processes.end_of(tmp_path / '1', child)
    assert child.returncode is not None and child.returncode < 0


def test_what_a_process_starts_while_it_is_ended_is_ended_with_it(tmp_path: Path) -> None:
    release = tmp_path / '1'
    child = subprocess.Popen(
        (sys.executable, '-c', LATE), env={processes.MARK: str(release)}, stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdout.readline() == b'ready\n'
    child.stdout.close()
    processes.end_of(release, child)
    assert child.returncode == 0
    assert processes.of(release) == []
