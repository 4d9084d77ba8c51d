"""Files of the state: each change is one atomic rename, and nothing is left half-written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..messages import errors

T = TypeVar('T')

# In a release's folder:
CONSOLE = 'console.log'  # what the image prints
TRIAL = 'trial.log'  # what it printed on trial
RUN = 'run.json'  # its process
ENDED = 'ended.json'  # how it ended, as bubblewrap reports
SHARED = 'shared.json'  # where it listens so that another release can listen next to it
FILTER = 'filter.bpf'  # what it runs under, where it does
BEGAN = 'began'  # how many bytes its console had when it was started last
CERTIFICATE = 'certificate.json'  # the certificate that it was started with
DISK = 'tls.tar'  # that and its key, where the image takes them from a disk


def read(path: Path, kind: type[T]) -> T | None:
    """What `path` holds, None when there is nothing; raises Refused when it is not ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise errors.Unavailable(f'cannot read {path}: {error.strerror}') from None
    except msgspec.DecodeError as error:
        raise errors.Refused(
            f'{path} is damaged: {error}',
            hint='move it away and run `mirage-hooks deploy`: it is made anew',
        ) from None


def write(path: Path, value: Any) -> None:
    """Put `value` into `path`, whole or not at all, also across a power cut; None removes it."""
    with writing(path):
        if value is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + '.new')
        with fresh.open('wb') as file:
            file.write(msgspec.json.encode(value) + b'\n')
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync(path.parent)


def sync(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the disk become Unavailable, in words."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: 'make room, then `mirage-hooks deploy`; what runs goes on running',
            errno.EDQUOT: 'make room, then `mirage-hooks deploy`; what runs goes on running',
            errno.EROFS: 'the file system is mounted read-only',
            errno.EACCES: 'the state belongs to another user: run this as the one who installed',
            errno.EPERM: 'the state belongs to another user: run this as the one who installed',
        }
        raise errors.Unavailable(
            f'cannot write {error.filename or path}: {error.strerror}',
            hint=hints.get(error.errno or 0, ''),
        ) from None


def require_writable(folder: Path) -> None:
    """Raise Refused when `folder`, or what exists of the way to it, may not be written."""
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise errors.Refused(
            f'no permission to write into {folder}',
            hint='run this as the user that owns it, or give that user the right',
        )


def plain(file: str, most: int) -> tuple[int, bytes]:
    """The mode of `file`, and what it holds: at most a byte more than `most`, and nothing where it
    is no plain file. Raises OSError."""
    # A named pipe would be waited for.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, 'rb') as stream:
        mode = os.fstat(descriptor).st_mode
        return mode, stream.read(most + 1) if stat.S_ISREG(mode) else b''


def within(file: str, folders: Iterable[Path]) -> bool:
    """Whether `file`, or what it leads to, is in one of `folders`."""
    return any(Path(file).resolve().is_relative_to(folder) for folder in folders)
