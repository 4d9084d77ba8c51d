"""The processes of releases: started so that they outlive us, known by a mark that they carry, and
ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..messages import errors
from ..state import model, proc
from . import cgroups, programs, sharing, sockets

if TYPE_CHECKING:
    import psutil  # takes 8 ms, which not every deployment needs before it says what it does

MARK = 'MIRAGE_HOOKS_RELEASE'
"""Environment variable of every process of ours; its value is the release's folder."""

PAUSE = 0.0002  # seconds, between the first two looks at whether a process has ended


def spawn(
    command: tuple[str, ...], release: Path, console: Path, ended: Path,
    group: model.Group | None = None, under: Path | None = None,
    tracer: sharing.Tracer | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` so that it outlives us: own session, no descriptor of ours, its output
    appended to `console`, in `group` from its first instruction; bubblewrap reports its end to
    `ended`, and has it run `under` a seccomp filter; `tracer` follows it. Raises Refused when it
    cannot be executed."""
    program = command[0] if '/' in command[0] else programs.find(command[0])
    environment = {'PATH': programs.PATH, 'LANG': 'C.UTF-8', MARK: str(release)}
    with (
        console.open('ab') as output, ended.open('ab') as status,
        cgroups.joining(group) as join, contextlib.ExitStack() as opened,
    ):
        walls = {'--json-status-fd': status.fileno()} if command[0] == 'bwrap' else {}
        if under is not None:
            walls['--seccomp'] = opened.enter_context(under.open('rb')).fileno()
        words = [word for key, number in walls.items() for word in (key, str(number))]
        first = [act for act in (join, tracer and tracer.joined) if act]
        try:
            return subprocess.Popen(
                (program or command[0], *words, *command[1:]), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, cwd='/', env=environment, start_new_session=True,
                restore_signals=True, close_fds=True,
                preexec_fn=(lambda: [act() for act in first]) if first else None,
                pass_fds=tuple(walls.values()),
            )
        except OSError as error:
            raise errors.Refused(
                f'cannot execute {Path(command[0]).name}: {error.strerror}'
            ) from None


def reported(ended: Path) -> int | None:
    """The exit code that bubblewrap wrote to `ended`, None when it did not see the end."""
    try:
        lines = ended.read_bytes().splitlines()
    except OSError:
        return None
    for line in lines:
        if b'exit-code' in line:
            return int(msgspec.json.decode(line, type=dict[str, Any])['exit-code'])
    return None


def detach(command: tuple[str, ...], *passed: int) -> None:
    """Start `command` so that it outlives us and holds nothing of ours but the descriptors
    `passed`: a push does not wait for it. It says nothing to anybody. Its TMPDIR is not ours, which
    may go with us."""
    kept = {key: value for key, value in os.environ.items() if key != 'TMPDIR'}
    subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd='/', env={**kept, 'PATH': programs.PATH}, start_new_session=True, close_fds=True,
        pass_fds=passed,
    )


def ask(
    command: tuple[str, ...], timeout: float, release: Path
) -> tuple[int | None, str]:
    """As `programs.ask`, of what `release` is to run: what a kill of ours leaves has its mark, and
    what it leaves itself is ended."""
    try:
        return programs.ask(command, timeout, **{MARK: str(release)})
    finally:
        end_of(release)


def identity(pid: int) -> model.Run | None:
    """What tells process `pid` from a later one of the same number; None when it has ended."""
    found = proc.identity(pid)
    return model.Run(*found) if found else None


def marked(state: Path) -> Iterator[tuple[Path, psutil.Process]]:
    """Every living process of a release below `state`, with the release's folder. What a process
    says of itself counts for little: it is of the release of the outermost marked process above
    it, which only we started when it runs as this user."""
    prefix = str(state).rstrip(os.sep) + os.sep
    import psutil

    for process in psutil.process_iter():
        try:
            if not _mark(process).startswith(prefix) or not _lives(process):
                continue
            outermost = next(one for one in (*_above(process), process) if _mark(one))
            mark = _mark(outermost)
            if outermost.uids().real == os.geteuid() and mark.startswith(prefix):
                yield Path(mark), process
        except (psutil.Error, OSError, StopIteration):
            continue  # ended meanwhile, or another user's: not ours


def claimed(state: Path) -> set[Path]:
    """Every release folder below `state` that some process says it is of: a quick look, which
    believes everybody."""
    prefix = os.fsencode(f'{state}{os.sep}')
    return {Path(os.fsdecode(mark)) for mark in proc.variables(MARK) if mark.startswith(prefix)}


def listens(process: psutil.Process, port: int | None = None) -> bool:
    """Whether `process`, which is in our network namespace, listens on TCP `port`, or on any."""
    return _has(process, sockets.listening(port),
                lambda one: one.status == 'LISTEN' and port in (None, one.laddr.port))


def connected(process: psutil.Process, port: int) -> bool:
    """Whether `process`, which is in our network namespace, has a TCP connection from `port` of the
    other side."""
    return _has(process, sockets.connected(port),
                lambda one: bool(one.raddr) and one.raddr.port == port)


def _has(
    process: psutil.Process, inodes: frozenset[int] | None, alike: Callable[[Any], bool]
) -> bool:
    """Whether one of `inodes` is its; where nobody can tell them, whether one is `alike`."""
    if inodes is not None:
        return any(inode in inodes for _, inode in sockets.of(process.pid))
    import psutil

    try:
        # So called from psutil 6 on.
        found = getattr(process, 'net_connections', None) or process.connections
        return any(alike(one) for one in found('tcp'))
    except psutil.Error:
        return False  # it has ended, or is none of ours


def of(release: Path) -> list[psutil.Process]:
    """The living processes of the release in the folder `release`."""
    return [process for mark, process in marked(release.parent) if mark == release]


def end_of(release: Path, child: subprocess.Popen[bytes] | None = None) -> None:
    """End every process of the release in the folder `release`, and `child`, as which we started
    it: the kernel shows no mark yet of what has just been executed. Raises as `end` does."""
    found = of(release)
    if child and child.poll() is None and child.pid not in {one.pid for one in found}:
        import psutil

        found.append(psutil.Process(child.pid))
    if found:
        end(found)
        end(of(release))  # what they were starting just then
    if child:
        child.wait()


def end(processes: list[psutil.Process], grace: float = 5) -> None:
    """End `processes`: SIGTERM, and SIGKILL after `grace` seconds. Raises Unavailable when one
    lives on."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    for process in _left(processes, grace):
        _signal(process, signal.SIGKILL)
    stubborn = _left(processes, 5)
    if stubborn:
        raise errors.Unavailable(
            f'process {stubborn[0].pid} does not end, not even with SIGKILL',
            hint='it may hang in the kernel; `ps -o stat,wchan` tells where',
        )


def _above(process: psutil.Process) -> list[psutil.Process]:
    """The ancestors of `process`, the first one first; asked again when one of them ends meanwhile,
    as the converge that started a release does."""
    import psutil

    while True:
        try:
            return list(reversed(process.parents()))
        except psutil.NoSuchProcess:
            if not _lives(process):
                raise


def _mark(process: psutil.Process) -> str:
    return os.fsdecode(proc.variable(process.pid, MARK))


def _signal(process: psutil.Process, number: int) -> None:
    import psutil

    try:
        process.send_signal(number)  # psutil looks at the start time first: never a stranger
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        raise errors.Unavailable(
            f'no permission to end process {process.pid}',
            hint='it was started by another user: run this as that user',
        ) from None


def _lives(process: psutil.Process) -> bool:
    return bool(process.is_running() and identity(process.pid))


def _left(processes: list[psutil.Process], timeout: float) -> list[psutil.Process]:
    limit, pause = time.monotonic() + timeout, PAUSE
    while left := [process for process in processes if _lives(process)]:
        if time.monotonic() > limit:
            break
        # psutil's own wait is for a number to be free: it sees no end in a zombie.
        time.sleep(pause)
        pause = min(pause * 1.5, 100 * PAUSE)
    return left
