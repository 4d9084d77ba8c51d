"""What git is asked, by processes of its own that print no more than we want to hold, in no more
time than we have: a push of megabytes may unpack to gigabytes."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from ..messages import errors
from . import discovery, timeout, watched

PATIENCE = 900.0  # seconds for one question to git, which may have to ask a remote
OUTPUT = 16 << 20  # bytes of one command's output: names of 100,000 files, 400,000 commits
COMMIT = 1 << 20  # bytes of a commit's headers and message

Asking = TypeVar('Asking', bound=Callable[..., Any])


def bounded(ask: Asking) -> Asking:
    """`ask`, whose git commands are given up after PATIENCE: one that hangs must not hold the lock
    for ever, nor let cron's runs pile up behind it."""
    @functools.wraps(ask)
    def asked(*arguments: Any, **named: Any) -> Any:
        with ended_after(PATIENCE):
            return ask(*arguments, **named)

    return asked  # type: ignore[return-value]


@contextlib.contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """Give up the git commands of the block after `seconds`; raises Unavailable then."""
    try:
        with timeout.within(seconds):
            yield
    except timeout.Late as late:  # of the outermost of several bounds
        raise errors.Unavailable(
            f'git took more than {late.seconds:g} s, and was ended',
            hint='is its remote reachable, and its disk well?',
        ) from None


class Objects:
    """Asks git about the git directory `git_dir`, whose work tree is at `tree` (None for a bare
    one); `folder` is its name for a person."""

    def __init__(self, git_dir: Path, folder: Path, tree: Path | None) -> None:
        self.git_dir, self.folder = git_dir, folder
        # Told, git discovers nothing again. A push may bring refs/replace/…, which would stand in
        # for the commit that was verified.
        self._told = {'GIT_DIR': str(git_dir), 'GIT_NO_REPLACE_OBJECTS': '1', 'LC_ALL': 'C',
                      'LANGUAGE': 'C', **({} if tree is None else {'GIT_WORK_TREE': str(tree)})}

    def output(
        self, *arguments: str, what: str, given: bytes = b'', absent: int | None = None,
        more: Mapping[str, str] | None = None,
    ) -> bytes:
        """What a git command prints for the input `given`, nothing when it ends with `absent`;
        `more` is added to its environment. Raises Refused, naming `what`, when that is more than
        OUTPUT."""
        code, printed, said = self._ended(arguments, what, given, more)
        if code and code != absent:
            raise discovery.complaint(said, self.folder)
        return b'' if code else printed

    def text(
        self, *arguments: str, absent: int | None = None, more: Mapping[str, str] | None = None
    ) -> str:
        """As `output`, for a person's words and git's own, without the last line end."""
        what = f'what git {arguments[0]} prints'
        return os.fsdecode(
            self.output(*arguments, what=what, absent=absent, more=more)
        ).removesuffix('\n')

    def status(
        self, *arguments: str, more: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """The exit code of a git command, and all its words."""
        code, printed, said = self._ended(arguments, f'what git {arguments[0]} prints', b'', more)
        return code, f'{os.fsdecode(printed)}{said}'.strip()

    def heard(self, *arguments: str, more: Mapping[str, str]) -> str:
        """What a git command and its hooks say next to what it prints."""
        code, _, said = self._ended(arguments, f'what git {arguments[0]} prints', b'', more)
        if code:
            raise discovery.complaint(said, self.folder)
        return said.strip()

    @bounded
    def shown(self, tell: watched.Tell, *arguments: str) -> None:
        """Run a git command that prints nothing, and has `tell` hear how far it is."""
        with self.started(*arguments, '--progress', said=subprocess.PIPE) as process:
            _, said = watched.read(process, tell)
        if process.returncode:
            raise discovery.complaint(os.fsdecode(said), self.folder)

    def require_small(self, commits: list[str]) -> None:
        """Refuse commits that nobody wrote: each is held whole, by git too, when it is verified."""
        listed = '\n'.join(commits).encode()
        sizes = self.output('cat-file', '--batch-check=%(objectsize) %(objectname)', given=listed,
                            what='the list of commits')
        for line in sizes.decode().split('\n')[:-1]:
            size, _, oid = line.partition(' ')
            if size.isdigit() and int(size) > COMMIT:
                raise too_long(oid)

    def started(
        self, *arguments: str, stdin: Any = subprocess.DEVNULL, said: Any = subprocess.DEVNULL,
        more: Mapping[str, str] | None = None, buffered: int = 0,
    ) -> subprocess.Popen[bytes]:
        """A git command that goes on, for its output to be read."""
        return subprocess.Popen(
            ('git', *arguments), bufsize=buffered, cwd=self.folder, stdin=stdin,
            stdout=subprocess.PIPE, stderr=said, env={**os.environ, **self._told, **(more or {})},
        )

    @bounded
    def _ended(
        self, arguments: tuple[str, ...], what: str, given: bytes,
        more: Mapping[str, str] | None,
    ) -> tuple[int, bytes, str]:
        """The exit code of a git command, what it prints, and what it complains about."""
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as said:
            stdin.write(given)
            stdin.seek(0)
            with self.started(*arguments, stdin=stdin, said=said, more=more) as process:
                printed = _all(process)
            if len(printed) > OUTPUT:
                raise flooded(what, OUTPUT)
            said.seek(0)
            return process.returncode, printed, os.fsdecode(said.read(OUTPUT))


def flooded(what: str, limit: int) -> errors.Refused:
    return errors.Refused(
        f'{what} is more than {limit >> 20} MB long',
        hint='somebody published a flood: put the branch back to what it was before',
    )


def too_large(name: str, limit: int) -> errors.Refused:
    return errors.Refused(
        f'{name} has more than {limit / (1 << 20):g} MB',
        hint='raise `unpacked_limit` in mirage.yml if this is a real image',
    )


def too_long(commit: str) -> errors.Refused:
    return errors.Refused(
        f'commit {commit[:12]} has a message or headers of more than {COMMIT >> 20} MB',
        hint='put the branch back to the commit before it',
    )


def _all(process: subprocess.Popen[bytes]) -> bytes:
    """What `process` prints, one byte beyond OUTPUT at most; then it is ended."""
    pipe = cast(IO[bytes], process.stdout)
    printed = bytearray()
    while len(printed) <= OUTPUT and (part := pipe.read(1 << 16)):
        printed += part
    if len(printed) > OUTPUT:
        process.kill()
    return bytes(printed)
