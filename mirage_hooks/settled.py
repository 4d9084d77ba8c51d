"""The quick way out: is all as the last converge left it? Only the standard library is imported
here, because every pull and push pays for it. It never decides what to do, only that nothing is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pwd
import stat
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import __version__

FOLDER = 'mirage-hooks'
KEPT = 'keeper.json'  # what the keeper waits for
KEEPER = 'keeper'  # the pipe by which it is called
LEAVE = 10.0  # seconds that the keeper has to end
CONSOLE_LIMIT = 8 << 20  # bytes; a longer console is trimmed by the next converge

# `git rev-parse --local-env-vars`, and the quarantine's: what git exports to a hook about the
# repository it works on. GIT_DIR=. and its like would redirect every later git call.
LOCAL = (
    'GIT_ALTERNATE_OBJECT_DIRECTORIES', 'GIT_CONFIG', 'GIT_CONFIG_PARAMETERS', 'GIT_CONFIG_COUNT',
    'GIT_OBJECT_DIRECTORY', 'GIT_DIR', 'GIT_WORK_TREE', 'GIT_IMPLICIT_WORK_TREE',
    'GIT_GRAFT_FILE', 'GIT_INDEX_FILE', 'GIT_NO_REPLACE_OBJECTS', 'GIT_REPLACE_REF_BASE',
    'GIT_PREFIX', 'GIT_SHALLOW_FILE', 'GIT_COMMON_DIR', 'GIT_INTERNAL_SUPER_PREFIX',
    'GIT_QUARANTINE_PATH',
)
QUARANTINE = (
    'GIT_QUARANTINE_PATH', 'GIT_OBJECT_DIRECTORY', 'GIT_ALTERNATE_OBJECT_DIRECTORIES'
)
PATIENCE = 60.0  # seconds for one question to git
PULLING = 'MIRAGE_HOOKS_PULLING'
"""Environment variable that tells our hooks that `mirage-hooks pull` converges after the merge: git
gives it their output only at its end, and cron's mail needs it."""


def strange(path: Path, others: int = 0o022) -> str:
    """Why what is at `path` may be somebody else's word, '' when it is ours or root's, and `others`
    (mode bits) cannot write it: whoever can decides what is run as us."""
    try:
        found = path.lstat()
    except OSError:
        return ''  # nothing there, so nothing to believe
    if stat.S_ISLNK(found.st_mode):
        return 'is a symbolic link'
    if found.st_uid not in (0, os.geteuid()):
        return f'belongs to another user ({owner(path)})'
    return 'can be written by others' if found.st_mode & others else ''


def owner(path: Path) -> str:
    """Who owns `path`, by name where there is one."""
    return user(path.lstat().st_uid)


def user(number: int) -> str:
    """The name of user `number`, `#NUMBER` where there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f'#{number}'


def person() -> str:
    """Who asked for this: whom sudo runs it for, else the user; cron sets no USER, and some sshd's
    neither."""
    named = (os.environ.get(one) for one in ('SUDO_USER', 'USER', 'LOGNAME'))
    return next(filter(None, named), '') or user(os.getuid())


def forget_caller(quarantined: bool = False) -> None:
    """Drop what git exported about the repository it was called in; a `quarantined` caller goes on
    seeing the objects of a push that is not accepted yet."""
    for variable in LOCAL:
        if not (quarantined and variable in QUARANTINE):
            os.environ.pop(variable, None)
    # Objects are what they are named, whatever refs/replace/… a push brought.
    os.environ['GIT_NO_REPLACE_OBJECTS'] = '1'


def identity(pid: int) -> tuple[int, int, str] | None:
    """What tells process `pid` from a later one of the same number: the number, its start in
    clock ticks since boot, and the boot; None when it has ended."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_bytes().rpartition(b')')[2].split()
        since = boot()
    except OSError:
        return None
    # Fields 3, 20 and 22 of proc(5), counted after the command's name: state, threads, start. A
    # process whose main thread has ended is said to be a zombie while others still hold its port.
    gone = fields[0] == b'X' or (fields[0] == b'Z' and int(fields[17]) <= 1)
    return None if gone else (pid, int(fields[19]), since)


def boot() -> str:
    """What tells this boot of the host from every other one."""
    return Path('/proc/sys/kernel/random/boot_id').read_text().strip()


def close_to_others() -> None:
    """Let nothing that we make be written by everybody, whatever umask the caller has."""
    os.umask(os.umask(0o077) | 0o002)


class Seen:
    """What one converge read and left: while all of it is still so, nothing is to do."""

    def __init__(self, head: str, named: str) -> None:
        self.version = __version__
        self.head = head  # what is checked out
        self.named = named  # what git's configuration calls mirage.yml
        self.files: dict[str, list[int]] = {}  # mirage.yml and secrets
        self.read: dict[str, list[str]] = {}  # lines of each revision's tree
        self.commits: dict[str, str] = {}  # what each revision is at, where that must be trusted
        self.runs: list[tuple[int, int, str]] = []  # processes
        self.consoles: list[str] = []  # which are not too long
        self.ports: dict[str, str] = {}  # interfaces and the bridges that they are on

    def file(self, path: Path) -> None:
        """Remember `path` as it is, before it is read: what is changed after that is news."""
        with contextlib.suppress(OSError):  # who reads it says so
            self.files.setdefault(str(path), _stat(path))

    def lines(self, revision: str, lines: Iterable[str]) -> None:
        """Remember `lines` of the tree of `revision`."""
        self.read[revision] = sorted({*self.read.get(revision, []), *lines})


def holds(git_dir: Path) -> bool:
    """Whether everything is as the last converge of the repository at `git_dir` left it."""
    try:
        if strange(git_dir / FOLDER):
            return False
        known = json.loads((git_dir / FOLDER / 'settled.json').read_bytes())
        return bool(
            known['version'] == __version__
            and not (git_dir / FOLDER / 'gate').exists()  # a trial that was killed
            and all(_lives(run) for run in known['runs'])
            and keeps(git_dir / FOLDER)
            and all(Path(path).stat().st_size <= CONSOLE_LIMIT for path in known['consoles'])
            and all(_bridge(name) == bridge for name, bridge in known['ports'].items())
            and all(_stat(Path(path)) == stat for path, stat in known['files'].items())
            and _git(git_dir, 'config', '--get', 'mirage.config').strip() == known['named']
            and (git_dir / 'HEAD').read_text().strip() == known['head']
            and _unmoved(git_dir, known['read'], known['commits'])
        )
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        return False  # the long way says what is wrong


def lives(git_dir: Path) -> bool:
    """Whether all is known to live that the last converge left; asks nobody but the kernel."""
    try:
        known = json.loads((git_dir / FOLDER / 'settled.json').read_bytes())
        return known['version'] == __version__ and all(_lives(run) for run in known['runs'])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # the long way finds out


def called(state: Path) -> bool:
    """Have the keeper of `state` look what there is to keep; whether there is one."""
    pipe = _pipe(state)
    if pipe is None:
        return False
    with contextlib.suppress(BlockingIOError):  # full of calls that it has yet to hear
        os.write(pipe, b'.')
    os.close(pipe)
    return True


def hold(state: Path) -> int | None:
    """The pipe by which the keeper of `state` is called, held for as long as it is open by whoever
    has a copy; None while another holds it."""
    path = state / KEEPER
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(pipe).st_mode):
            raise OSError(errno.EINVAL, 'is no pipe', str(path))
        fcntl.flock(pipe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(pipe)
        return None
    except OSError:
        os.close(pipe)
        raise
    return pipe


def dismiss(state: Path) -> None:
    """Have the keeper of `state` end, and wait until it has: what ends from now on is not started
    again. A state folder of others is left alone."""
    if strange(state) or not state.is_dir():
        return
    (state / KEPT).unlink(missing_ok=True)
    limit = time.monotonic() + LEAVE
    while called(state) and time.monotonic() < limit:
        time.sleep(0.02)


def keeps(state: Path) -> bool:
    """Whether there is a keeper, or nothing to keep."""
    pipe = _pipe(state)
    if pipe is not None:
        os.close(pipe)
    return pipe is not None or not (state / KEPT).exists()


def _pipe(state: Path) -> int | None:
    """The pipe that the keeper reads, None without one."""
    try:
        pipe = os.open(state / KEEPER, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # ENXIO: nobody reads it
        return None
    if stat.S_ISFIFO(os.fstat(pipe).st_mode):
        return pipe
    os.close(pipe)
    return None


def gated(git_dir: Path) -> bool:
    """Whether mirage.yml may ask for the gate: false when it does not hold the word at all."""
    try:
        named = Path(_git(git_dir, 'config', '--get', 'mirage.config').rstrip('\n')).expanduser()
        return not named.is_absolute() or b'gate' in named.read_bytes()
    except (OSError, RuntimeError, subprocess.CalledProcessError):
        return False  # what is not there asks for nothing; the deployment says what is wrong


def _lives(run: list[Any]) -> bool:
    return identity(run[0]) == tuple(run)


def _unmoved(git_dir: Path, read: dict[str, list[str]], commits: dict[str, str]) -> bool:
    """Whether the references named in `commits` and `read` are at these commits, and have these
    lines in their trees."""
    at = _references(git_dir, {*read, *commits})
    return all(at[name] == commit for name, commit in commits.items()) and all(
        _tree(git_dir, at[name], lines) == lines for name, lines in read.items()
    )


def _references(git_dir: Path, names: set[str]) -> dict[str, str]:
    """The objects of the references that are called exactly so: where one is gone, a tag whose name
    ends like it would be taken by anything but for-each-ref."""
    if not names:
        return {}
    form = '--format=%(objectname) %(refname)'
    listed = _git(git_dir, 'for-each-ref', form, *sorted(names)).split('\n')[:-1]
    return {name: oid for oid, _, name in (line.partition(' ') for line in listed)}


def _tree(git_dir: Path, commit: str, lines: list[str]) -> list[str]:
    paths = [line.partition('\t')[2] for line in lines]
    found = _git(
        git_dir, '--literal-pathspecs', 'ls-tree', '-z', '--full-tree', commit, '--', *paths
    )
    return sorted(line for line in found.split('\0') if line)


def _git(git_dir: Path, *arguments: str) -> str:
    done = subprocess.run(
        ('git', '--no-replace-objects', f'--git-dir={git_dir}', *arguments), check=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )
    return os.fsdecode(done.stdout)


def _bridge(name: str) -> str:
    """The bridge of an interface, '' for none; raises OSError when the interface is gone."""
    folder = Path('/sys/class/net', name)
    folder.stat()
    master = folder / 'master'
    return master.readlink().name if master.exists() else ''


def _stat(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
