"""The one door to other programs: found where cron's PATH does not look, run with a limit in time
and in bytes, and told of when they fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from ..messages import errors
from . import listening

NETWORK = ('ip', 'bridge', 'nft')
"""What is run without sh: a switch runs a dozen of them, each for a millisecond or two, and sh
takes as many for each, and forty to be imported."""

PRIVILEGED = (*NETWORK, 'xl', 'mknod')
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
    hint = '`mirage-hooks check` prints the sudoers lines' if 'sudo' in words[0] else ''
    if command[0] in NETWORK:
        code, printed, said = exchange(*words, stdin=feed.encode(), timeout=timeout)
        text = printed.decode(errors='replace')
        if code:
            raise _failed(command[:shown], code, said or text.strip(), hint)
        return text
    return _patiently(words, command[:shown], timeout, feed, hint)


def _patiently(
    words: tuple[str, ...], shown: tuple[str, ...], timeout: float, feed: str, hint: str
) -> str:
    import sh  # asyncio and more come with it

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
                f'`{" ".join(shown)}` took more than {timeout:g} s'
            ) from None
        said = (error.stderr or error.stdout).decode(errors='replace').strip()
        raise _failed(shown, error.exit_code, said, hint) from None
    finally:
        late.cancel()


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
    command: tuple[str, ...], timeout: float, **environment: str
) -> tuple[int | None, str]:
    """The exit code of `command` and what it prints; no code when it cannot be run, takes longer
    than `timeout` seconds or prints more than listening.LIMIT bytes. Nothing of it goes on
    running."""
    told = {'PATH': PATH, 'LANG': 'C.UTF-8', **environment}
    try:
        said = listening.to(command, timeout, told, apart=True)
    except (OSError, listening.Unheard):
        return None, ''
    return said.code, (said.out + said.err).decode(errors='replace')


def attended(command: tuple[str, ...]) -> int:
    """The exit code of `command`, which has our terminal until it ends, and Ctrl-C too; raises
    Unavailable when it cannot be run."""
    try:
        child = subprocess.Popen(_located(command))
    except OSError as error:
        raise errors.Unavailable(f'{command[0]} cannot be executed: {error.strerror}') from None
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return child.wait()
    finally:
        signal.signal(signal.SIGINT, before)


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


def one_line(text: str) -> str:
    """What a program complained about, for a message."""
    return '; '.join(filter(None, map(str.strip, text.splitlines())))


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
        f'`{" ".join(command)}` failed with {code}: {one_line(said) or "it said nothing"}',
        hint=hint,
    )


def _environment() -> dict[str, str]:
    """Ours, with what cron and ssh leave out: where programs are, and the user's own systemd."""
    return {'XDG_RUNTIME_DIR': f'/run/user/{os.getuid()}', **os.environ, 'PATH': PATH}
