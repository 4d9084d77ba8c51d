"""The process that keeps releases running: it waits until one of them ends, and then has a converge
start it again. One for each repository; a converge leaves it what to wait for in `keeper.json`.

Only the standard library is imported here, because it waits for months: what is to be done, a
process of its own does. It may be killed at any moment: the next converge or cron run starts it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .state import ownership, pipe, proc

LOOK = 60.0  # seconds between two looks at what nobody tells: the state folder, the clock
XEN = 5.0  # seconds between two looks at Xen's domains
PAUSES = (2.0, 3600.0)  # seconds before a converge that changed nothing is tried again, and at most


def main(git_dir: Path, calls: int) -> None:
    """Keep what the repository at `git_dir` runs, until there is nothing to keep. `calls` is the
    pipe by which the keeper is called, as `pipe.hold` gives it."""
    os.set_inheritable(calls, False)  # or what is started here would be taken for the keeper
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # whoever pushed may hang up
    state = git_dir / ownership.FOLDER
    held: int | None = calls
    while held is not None:
        _Keeper(git_dir, held).keep()
        os.close(held)
        # Asked again once nobody can call any more: what came before that is not lost.
        held = pipe.hold(state) if _wanted(state) else None


class _Keeper:
    """`calls` is written to by a converge when there is something else to keep."""

    def __init__(self, git_dir: Path, calls: int) -> None:
        self.git_dir, self.calls = git_dir, calls
        self.state = git_dir / ownership.FOLDER
        self.drainer: subprocess.Popen[bytes] | None = None
        self.drained: dict[str, Any] = {}  # what was wanted when the drainer was started
        self.pause = 0.0
        self.rest = 0.0  # by the monotonic clock: no converge of ours before

    def keep(self) -> None:
        while wanted := _wanted(self.state):
            if (wanted['version'], wanted['python']) != (__version__, sys.executable):
                _become(wanted['python'], self.git_dir, self.calls)
            self._drain(wanted)
            if self._has_ended(wanted) and time.monotonic() >= self.rest:
                self._converge(wanted)
            else:
                self._wait(wanted)
        if self.drainer is not None:  # dismissed: it would go on, and make the state folder anew
            self.drainer.terminate()
            self.drainer.wait()

    def _drain(self, wanted: dict[str, Any]) -> None:
        """Have the releases that a switch left ended when their time is over."""
        if self.drainer is not None and self.drainer.poll() is None:
            return
        self.drainer = None
        if wanted['drain'] and wanted != self.drained:
            self.drainer = subprocess.Popen(self._command('drain'), **_QUIET)
            self.drained = wanted

    def _has_ended(self, wanted: dict[str, Any]) -> bool:
        """Whether something is to be started again now."""
        return (
            0 < wanted['due'] <= _clock()
            or not all(proc.identity(run[0]) == tuple(run) for run in wanted['runs'])
            or not set(wanted['domains']) <= _domains(wanted['domains'])
        )

    def _converge(self, wanted: dict[str, Any]) -> None:
        """Have it started again, unless a deployment under way is what ended it."""
        _pass(self.state / 'lock')
        if _wanted(self.state) != wanted:
            return
        subprocess.run(self._command('keep'), check=False, **_QUIET)
        solved = _wanted(self.state) != wanted
        self.pause = 0.0 if solved else min(max(PAUSES[0], 2 * self.pause), PAUSES[1])
        self.rest = time.monotonic() + self.pause

    def _wait(self, wanted: dict[str, Any]) -> None:
        """Until one of the processes ends, something else is wanted, or it is time to look."""
        with contextlib.ExitStack() as opened:
            poller = select.poll()
            poller.register(self.calls, select.POLLIN)
            pids = [run[0] for run in wanted['runs'] if proc.identity(run[0]) == tuple(run)]
            for pid in (*pids, *([self.drainer.pid] if self.drainer else [])):
                with contextlib.suppress(ProcessLookupError):  # it ended just now
                    descriptor = os.pidfd_open(pid)
                    opened.callback(os.close, descriptor)
                    poller.register(descriptor, select.POLLIN)
            poller.poll(1000 * self._patience(wanted))
        with contextlib.suppress(BlockingIOError):
            while os.read(self.calls, 4096):
                self.drained = {}  # a converge asks again: what was killed is begun anew

    def _patience(self, wanted: dict[str, Any]) -> float:
        """Seconds until the next look."""
        moments = [LOOK]
        if wanted['domains']:
            moments.append(XEN)
        if wanted['due']:
            moments.append(wanted['due'] - _clock())
        if self.rest:
            moments.append(self.rest - time.monotonic())
        return max(0.01, min(moment for moment in moments if moment > 0))

    def _command(self, name: str) -> tuple[str, ...]:
        return (sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(self.git_dir), name)


_QUIET: dict[str, Any] = {
    'stdin': subprocess.DEVNULL, 'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL,
    'cwd': '/',
}


def _wanted(state: Path) -> dict[str, Any]:
    """What is to be kept; {} for nothing, and when nobody can tell whose word it is."""
    try:
        if ownership.strange(state):
            return {}
        found: dict[str, Any] = json.loads((state / pipe.KEPT).read_bytes())
        return found
    except (OSError, ValueError):
        return {}


def _pass(lock: Path) -> None:
    """Return when nobody holds `lock`; no longer than that is it held here."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)


def _domains(wanted: list[str]) -> set[str]:
    """Which domains run; all that are `wanted` while Xen does not say."""
    if not wanted:
        return set()
    command = ('xl', 'list') if os.geteuid() == 0 else (shutil.which('sudo') or 'sudo', '-n', 'xl',
                                                       'list')
    try:
        said = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return set(wanted)
    rows = [line.rsplit(None, 5) for line in os.fsdecode(said).splitlines()[1:]]
    return {row[0] for row in rows if len(row) == 6 and not set(row[4]) & set('scd')}


def _become(python: str, git_dir: Path, calls: int) -> NoReturn:
    """Go on as what a converge said: it was upgraded, or installed elsewhere."""
    os.set_inheritable(calls, True)
    command = (python, '-I', '-m', 'mirage_hooks.keeper', str(git_dir), str(calls))
    try:
        os.execv(python, command)  # noqa: S606
    except OSError as error:  # gone again: the next converge starts another keeper
        raise SystemExit(f'{python}: {error.strerror}') from None


def _clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


if __name__ == '__main__':
    main(Path(sys.argv[1]), int(sys.argv[2]))
