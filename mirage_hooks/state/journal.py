"""The history: one line of JSON for each thing that happened, appended, never read to decide."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from . import files


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event. `at` is in seconds since 1970; `took` and `gap`, the part of it in which nobody
    served, are in seconds."""

    at: float
    unikernel: str
    event: str
    trigger: str
    release: int = 0
    commit: str = ''
    digest: str = ''
    reason: str = ''
    took: float = 0
    gap: float = 0


LIMIT = 8 << 20  # bytes that the history may grow to; then its older half goes


def append(path: Path, entry: Entry) -> None:
    """Add `entry` to the history at `path`, on a line of its own even after a torn write."""
    line = msgspec.json.encode(entry) + b'\n'
    with files.writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b'\n':
                line = b'\n' + line
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if size > LIMIT:
            _shorten(path)


def _shorten(path: Path) -> None:
    fresh = path.with_name(f'{path.name}.new')
    with path.open('rb') as whole, fresh.open('wb') as kept:
        whole.seek(-LIMIT // 2, os.SEEK_END)
        whole.readline()
        shutil.copyfileobj(whole, kept)
        kept.flush()
        os.fsync(kept.fileno())
    fresh.replace(path)


def entries(path: Path) -> Iterator[Entry]:
    """The history, oldest first; a line torn by a power cut is passed over."""
    if not path.exists():
        return
    with path.open('rb') as lines:
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=Entry)
            except msgspec.DecodeError:
                continue


def now() -> float:
    return round(time.time(), 3)
