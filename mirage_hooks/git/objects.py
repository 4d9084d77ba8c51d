"""Objects of a git directory, read through processes of git's own that give no more than was asked
for: a push of megabytes may unpack to gigabytes."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar, cast

from ..messages import errors
from . import discovery, timeout

PATIENCE = 900.0  # seconds for one question to git, which may have to ask a remote
OUTPUT = 16 << 20  # bytes of one command's output: names of 100,000 files, 400,000 commits
COMMIT = 1 << 20  # bytes of a commit's headers and message

# Of what is larger git gives out part by part, and holds none of it whole: the default is 512 MB.
STREAMED = ('-c', 'core.bigFileThreshold=1m')

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
    except timeout.Late:
        raise errors.Unavailable(
            f'git took more than {seconds:g} s, and was ended',
            hint='is its remote reachable, and its disk well?',
        ) from None


class Objects:
    """What the git directory `git_dir` holds; `folder` is its name for a person."""

    def __init__(self, git_dir: Path, folder: Path) -> None:
        self.git_dir, self.folder = git_dir, folder

    def output(
        self, *arguments: str, what: str, given: bytes = b'',
        signed: Mapping[str, str] | None = None,
    ) -> bytes:
        """What a git command prints for the input `given`; `signed` is added to its environment.
        Raises Refused, naming `what`, when that is more than OUTPUT."""
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as said:
            stdin.write(given)
            stdin.seek(0)
            with self._started(*arguments, stdin=stdin, said=said, more=signed or {}) as process:
                printed = _all(process)
            if len(printed) > OUTPUT:
                raise errors.Refused(
                    f'{what} is more than {OUTPUT >> 20} MB long',
                    hint='somebody published a flood: put the branch back to what it was before',
                )
            if process.returncode:
                said.seek(0)
                raise discovery.complaint(os.fsdecode(said.read(OUTPUT)), self.folder)
        return printed

    def size(self, oid: str) -> int:
        """The bytes of object `oid`; in a partial clone git fetches it now."""
        return int(self.output('cat-file', '-s', oid, what=f'the size of {oid}'))

    def open(self, oid: str, limit: int | None, name: str) -> BinaryIO:
        """The bytes of blob `oid` as a stream. Raises Refused when they are more than `limit`."""
        try:
            size = self.size(oid)
        except errors.Refused:
            raise errors.Unavailable(
                f'git cannot read object {oid[:12]}',
                hint='in a partial clone it comes from the remote: is that reachable? '
                '`git fsck` checks a whole one',
            ) from None
        if limit is not None and size > limit:
            raise too_large(name, limit)
        process = self._started(*STREAMED, 'cat-file', 'blob', oid)
        return BufferedReader(_Blob(process, size, oid))

    def require_small(self, commits: list[str]) -> None:
        """Refuse commits that nobody wrote: each is held whole, by git too, when it is verified."""
        listed = '\n'.join(commits).encode()
        sizes = self.output('cat-file', '--batch-check=%(objectsize) %(objectname)', given=listed,
                            what='the list of commits')
        for line in sizes.decode().split('\n')[:-1]:
            size, _, oid = line.partition(' ')
            if size.isdigit() and int(size) > COMMIT:
                raise too_long(oid)

    def _started(
        self, *arguments: str, stdin: Any = subprocess.DEVNULL, said: Any = subprocess.DEVNULL,
        more: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ('git', '--no-replace-objects', f'--git-dir={self.git_dir}', *arguments), bufsize=0,
            stdin=stdin, stdout=subprocess.PIPE, stderr=said,
            env={**os.environ, 'LC_ALL': 'C', 'LANGUAGE': 'C', **(more or {})},
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


class _Blob(RawIOBase):
    """A blob's stream that raises Unavailable when git ends before the blob does: a part of an
    image must not pass for the whole. git ends with it."""

    def __init__(self, process: subprocess.Popen[bytes], size: int, oid: str) -> None:
        self.process, self.left, self.oid = process, size, oid

    def readable(self) -> bool:
        return True

    @bounded
    def readinto(self, buffer: Any) -> int:
        pipe = cast(IO[bytes], self.process.stdout)
        data = pipe.read(min(len(buffer), self.left)) if self.left else b''
        if not data and self.left:
            raise errors.Unavailable(f'git ended in the middle of object {self.oid[:12]}')
        buffer[: len(data)] = data
        self.left -= len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self.process.kill()
            with self.process:  # its pipe is closed, and it is waited for
                super().close()
