"""The one door to other programs: short commands through sh, unikernels as own processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from ..messages import errors
from ..state import model, proc
from . import cgroups, listening

MARK = 'MIRAGE_HOOKS_RELEASE'
"""Environment variable of every process of ours; its value is the release's folder."""

PRIVILEGED = ('ip', 'bridge', 'nft', 'xl', 'mknod')
"""What needs root: an ordinary user runs it through sudo."""

EXCHANGED = 16 << 20  # bytes that one of the host's own programs may print
PIECE = 1 << 16  # bytes of it that are read at once

# cron gives PATH=/usr/bin:/bin, and a push over ssh little more; ip, nft and xl live in sbin.
PATH = ':'.join(
    dict.fromkeys(
        [*os.environ.get('PATH', '').split(':'), '/usr/local/sbin', '/usr/local/bin', '/usr/sbin',
         '/usr/bin', '/sbin', '/bin']
    )
).strip(':')


def find(program: str) -> str | None:
    """Where `program` is, or None."""
    return shutil.which(program, path=PATH)


def run(
    *command: str, timeout: float = 60, feed: str = '', shown: int | None = None
) -> str:
    """What `command` prints, given `feed` to read; raises Unavailable when it is missing, fails
    or takes too long (seconds). Where the command holds secrets, only its first `shown` words are
    told."""
    words = _located(command)
    if command[0] in PRIVILEGED and os.geteuid() != 0 and (sudo := find('sudo')):
        words = (sudo, '-n', *words)
    import sh  # asyncio and more come with it: a socket's release needs none of them

    running = sh.Command(words[0])(
        *words[1:], _tty_out=False, _env=_environment(), _in=feed, _bg=True, _bg_exc=False,
        # The end of what it prints is kept, of what goes beyond the limit.
        _out_bufsize=PIECE, _err_bufsize=PIECE, _internal_bufsize=EXCHANGED // PIECE,
    )
    # sh looks every 0.1 s whether its own time-out has come, and every command takes that long.
    late = threading.Timer(timeout, running.kill)
    late.start()
    try:
        running.wait()
        return str(running)
    except sh.ErrorReturnCode as error:
        if not late.is_alive():
            raise errors.Unavailable(
                f'`{" ".join(command[:shown])}` took more than {timeout:g} s'
            ) from None
        said = (error.stderr or error.stdout).decode(errors='replace').strip()
        hint = '`mirage-hooks check` prints the sudoers lines' if 'sudo' in words[0] else ''
        raise _failed(command[:shown], error.exit_code, said, hint) from None
    finally:
        late.cancel()


def swiftly(*command: str, feed: str) -> None:
    """As `run`, for root, where milliseconds count: sh takes as many as the kernel does."""
    code, _, said = exchange(*_located(command), stdin=feed.encode())
    if code:
        raise _failed(command, code, said)


def _located(command: tuple[str, ...]) -> tuple[str, ...]:
    program = find(command[0])
    if program is None:
        raise errors.Unavailable(
            f'{command[0]} is not installed', hint='`mirage-hooks check` says where to get it'
        )
    return (program, *command[1:])


def _failed(
    command: tuple[str, ...], code: int, said: str, hint: str = ''
) -> errors.Unavailable:
    return errors.Unavailable(
        f'`{" ".join(command)}` failed with {code}: {said or "it said nothing"}', hint=hint
    )


def _environment() -> dict[str, str]:
    """Ours, with what cron and ssh leave out: where programs are, and the user's own systemd."""
    return {'XDG_RUNTIME_DIR': f'/run/user/{os.getuid()}', **os.environ, 'PATH': PATH}


def exchange(
    *command: str, stdin: bytes = b'', timeout: float = 60, **environment: str
) -> tuple[int, bytes, str]:
    """The exit code of `command`, what it prints, byte for byte, and what it complains about;
    raises Unavailable when it takes more than `timeout` seconds or prints more than EXCHANGED
    bytes."""
    told = {**os.environ, 'PATH': PATH, 'LC_ALL': 'C', **environment}
    try:
        said = listening.to(command, timeout, told, stdin, EXCHANGED)
    except listening.Unheard as wrong:
        raise errors.Unavailable(f'{Path(command[0]).name} {wrong}') from None
    return said.code, said.out, said.err.decode(errors='replace').strip()


def ask(
    command: tuple[str, ...], timeout: float, release: Path | None = None
) -> tuple[int | None, str]:
    """The exit code of `command` and what it prints; no code when it cannot be run, takes longer
    than `timeout` seconds or prints more than listening.LIMIT bytes. Nothing of it goes on running;
    what a kill leaves has the mark of the `release` it was asked for."""
    mark = {MARK: str(release)} if release else {}
    try:
        said = listening.to(command, timeout, {'PATH': PATH, 'LANG': 'C.UTF-8', **mark}, apart=True)
    except (OSError, listening.Unheard):
        return None, ''
    finally:
        if release:
            end([process for folder, process in marked(release.parent) if folder == release])
    return said.code, (said.out + said.err).decode(errors='replace')


def hand(command: tuple[str, ...], given: bytes, timeout: float) -> None:
    """Run `command` with `given` as its input, and little of our environment; raises Unavailable
    when it is missing, fails or takes more than `timeout` seconds. Files in place of pipes: a child
    that it leaves behind holds nobody up."""
    name, program = Path(command[0]).name, find(command[0])
    if program is None:
        raise errors.Unavailable(f'{name} is not installed')
    kept = {key: os.environ[key] for key in ('HOME', 'USER', 'LANG') if key in os.environ}
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(given)
        stdin.seek(0)
        try:
            child = subprocess.Popen(
                (program, *command[1:]), stdin=stdin, stdout=subprocess.DEVNULL, stderr=stderr,
                cwd='/', env={**kept, 'PATH': PATH}, start_new_session=True,
            )
        except OSError as error:
            raise errors.Unavailable(f'{name} cannot be executed: {error.strerror}') from None
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise errors.Unavailable(f'{name} took more than {timeout:g} s') from None
        stderr.seek(0)
        said = stderr.read(4096).decode(errors='replace').strip().splitlines()
    if code:
        last = said[-1] if said else 'it said nothing'
        raise errors.Unavailable(f'{name} failed with {code}: {last}')


def spawn(
    command: tuple[str, ...], release: Path, console: Path, ended: Path,
    group: model.Group | None = None, under: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` so that it outlives us: own session, no descriptor of ours, its output
    appended to `console`, in `group` from its first instruction; bubblewrap reports its end to
    `ended`, and has it run `under` a seccomp filter. Raises Refused when it cannot be executed."""
    program = command[0] if '/' in command[0] else find(command[0])
    environment = {'PATH': PATH, 'LANG': 'C.UTF-8', MARK: str(release)}
    with (
        console.open('ab') as output, ended.open('ab') as status,
        cgroups.joining(group) as join, contextlib.ExitStack() as opened,
    ):
        walls = {'--json-status-fd': status.fileno()} if command[0] == 'bwrap' else {}
        if under is not None:
            walls['--seccomp'] = opened.enter_context(under.open('rb')).fileno()
        words = [word for key, number in walls.items() for word in (key, str(number))]
        try:
            return subprocess.Popen(
                (program or command[0], *words, *command[1:]), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, cwd='/', env=environment, start_new_session=True,
                restore_signals=True, close_fds=True, preexec_fn=join,
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
    kept = {key: value for key, value in os.environ.items() if key != 'TMPDIR'} | {'PATH': PATH}
    subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd='/', env=kept, start_new_session=True, close_fds=True, pass_fds=passed,
    )


def identity(pid: int) -> model.Run | None:
    """What tells process `pid` from a later one of the same number; None when it has ended."""
    found = proc.identity(pid)
    return model.Run(*found) if found else None


def marked(state: Path) -> Iterator[tuple[Path, psutil.Process]]:
    """Every living process of a release below `state`, with the release's folder. What a process
    says of itself counts for little: it is of the release of the outermost marked process above
    it, which only we started when it runs as this user."""
    prefix = f'{state}{os.sep}'
    for process in psutil.process_iter():
        try:
            if not _mark(process).startswith(prefix) or not _lives(process):
                continue
            outermost = next(one for one in (*reversed(process.parents()), process) if _mark(one))
            mark = _mark(outermost)
            if outermost.uids().real == os.geteuid() and mark.startswith(prefix):
                yield Path(mark), process
        except (psutil.Error, OSError, StopIteration):
            continue  # ended meanwhile, or another user's: not ours


def _mark(process: psutil.Process) -> str:
    try:
        return process.environ().get(MARK, '')
    except psutil.ZombieProcess:  # its main thread has ended: another one knows
        for thread in process.threads():
            with contextlib.suppress(psutil.ZombieProcess):
                return psutil.Process(thread.id).environ().get(MARK, '')
        return ''
    except psutil.AccessDenied:
        return ''  # another user's


def listens(process: psutil.Process, port: int) -> bool:
    """Whether `process` listens on TCP `port`."""
    try:
        # So called from psutil 6 on.
        found = getattr(process, 'net_connections', None) or process.connections
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port
                   for one in found('tcp'))
    except psutil.Error:
        return False  # it has ended, or is none of ours


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


def _signal(process: psutil.Process, number: int) -> None:
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
    limit = time.monotonic() + timeout
    left = processes
    while left:
        left = [process for process in left if _lives(process)]
        if time.monotonic() > limit:
            break
        if left:
            psutil.wait_procs(left, timeout=0.02)
    return left
