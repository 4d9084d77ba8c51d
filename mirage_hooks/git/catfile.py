"""Objects, read from one `git cat-file` for as long as a repository is read. The size of each is
looked at first, and only then are its bytes asked for."""

from __future__ import annotations

import contextlib
import subprocess
import weakref
from collections.abc import Callable
from io import BufferedReader, RawIOBase
from typing import IO, Any, BinaryIO, cast

import msgspec

from ..messages import errors
from .objects import Objects, bounded, flooded, too_large

SMALL = 1 << 16  # bytes of a file that is rather read whole than passed over
LINE = 4096  # bytes of what git says of an object; its name and kind take 60

# Of what is larger git gives out part by part, and holds none of it whole: the default is 512 MB.
STREAMED = ('-c', 'core.bigFileThreshold=1m')
UNKNOWN = 129  # git's exit code for an option that it does not know: --batch-command before 2.36


_MODES = {'info': '--batch-check', 'contents': '--batch'}


class _Fact(msgspec.Struct, frozen=True):
    """What git says of an object before its bytes."""

    oid: str
    kind: str
    size: int


class CatFile:
    """The objects that `objects` asks git for. In a partial clone git fetches one that is missing
    when it is asked for."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._asked: dict[str, subprocess.Popen[bytes]] = {}
        self._old = False  # a git that takes one kind of question for each process
        weakref.finalize(self, _end, self._asked)

    def whole(self, name: str, kind: str, most: int, what: str) -> bytes:
        """The bytes of object `name` (40 digits, or a commit's `…^{tree}`), which must be of
        `kind`; raises Refused, naming `what`, when they are more than `most`."""
        fact = self._fact(name, kind)
        if fact.size > most:
            raise flooded(what, most)
        with self._stream(fact) as stream:
            return stream.read()

    def small(self, oid: str, limit: int | None, name: str) -> bytes | None:
        """The bytes of the file `name`, None when they are more than SMALL; see `open`."""
        fact = self._file(oid, limit, name)
        if fact.size > SMALL:
            return None
        with self._stream(fact) as stream:
            return stream.read()

    def open(self, oid: str, limit: int | None, name: str) -> BinaryIO:
        """The bytes of the file `name`, blob `oid`, as a stream. Raises Refused when they are more
        than `limit`, Unavailable when git cannot read it."""
        return self._stream(self._file(oid, limit, name))

    def _file(self, oid: str, limit: int | None, name: str) -> _Fact:
        fact = self._fact(oid, 'blob')
        if limit is not None and fact.size > limit:
            raise too_large(name, limit)
        return fact

    def _fact(self, name: str, kind: str) -> _Fact:
        fact = self._answer('info', name)[1]
        if fact.kind != kind:
            raise _unreadable(name)
        return fact

    def _stream(self, fact: _Fact) -> BinaryIO:
        mode, found = self._answer('contents', fact.oid)
        process = self._asked.pop(mode)  # nobody else asks this one until all of it is read
        stream = BufferedReader(_Blob(process, found, lambda: self._take_back(mode, process)))
        if found != fact:
            stream.close()
            raise _unreadable(fact.oid)
        return stream

    def _take_back(self, mode: str, process: subprocess.Popen[bytes]) -> None:
        """Ask `process` again, unless another one is asked by now."""
        if self._asked.setdefault(mode, process) is not process:
            _end({mode: process})

    def _answer(self, command: str, name: str) -> tuple[str, _Fact]:
        """What git says of the object `name`, and which of `_asked` says it."""
        mode = _MODES[command] if self._old else '--batch-command'
        question = name if self._old else f'{command} {name}'
        try:
            process = self._process(mode)
            with contextlib.suppress(BrokenPipeError):  # how it ended says why
                asked = cast(IO[bytes], process.stdin)
                asked.write(f'{question}\n'.encode())
                asked.flush()
            words = cast(IO[bytes], process.stdout).readline(LINE).decode('ascii', 'replace')
        except BaseException:
            _end(self._asked)  # an answer may be left in the pipe
            raise
        if not words and not self._old and process.wait() == UNKNOWN:
            self._old = True
            _end(self._asked)
            return self._answer(command, name)
        try:
            oid, kind, size = words.split(' ')
            return mode, _Fact(oid, kind, int(size))
        except ValueError:  # `… missing`, or git has ended
            raise _unreadable(name) from None

    def _process(self, mode: str) -> subprocess.Popen[bytes]:
        process = self._asked.get(mode)
        if process is None or process.poll() is not None:
            _end(self._asked)
            process = self._objects.started(*STREAMED, 'cat-file', mode, stdin=subprocess.PIPE,
                                            buffered=-1)
            self._asked[mode] = process
        return process


def _unreadable(name: str) -> errors.Unavailable:
    return errors.Unavailable(
        f'git cannot read object {name[:12]}',
        hint='in a partial clone it comes from the remote: is that reachable? '
        '`git fsck` checks a whole one',
    )


def _end(asked: dict[str, subprocess.Popen[bytes]]) -> None:
    """End the processes in `asked`, and wait for them."""
    while asked:
        _, process = asked.popitem()
        process.kill()
        with contextlib.suppress(BrokenPipeError), process:
            pass  # its pipes are closed, and it is waited for


class _Blob(RawIOBase):
    """A blob's stream that raises Unavailable when git ends before the blob does: a part of an
    image must not pass for the whole. Read to its end it gives git back, dropped earlier it ends
    it."""

    def __init__(
        self, process: subprocess.Popen[bytes], fact: _Fact, back: Callable[[], None]
    ) -> None:
        self.process, self.left, self.oid, self.back = process, fact.size, fact.oid, back

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
        if self.closed:
            return
        super().close()
        if not self.left and cast(IO[bytes], self.process.stdout).read(1) == b'\n':
            self.back()
        else:
            _end({'': self.process})
