"""A draft of mirage.yml, next to it until it is put in its place."""

from __future__ import annotations

import os
from pathlib import Path

from ..config import source
from ..messages import errors
from . import files, ownership


def begun(path: Path, text: bytes) -> Path:
    """The draft of the file at `path`, which says `text`: a copy, or the one that an earlier edit
    left. Raises Refused when that is older than the file, or not ours."""
    files.require_writable(path.parent)
    file = _draft(path)
    if strange := ownership.strange(file):
        raise errors.Refused(f'{file} {strange}', hint='look what it is, and move it away')
    if file.exists():
        if file.stat().st_mtime_ns < path.stat().st_mtime_ns:
            raise errors.Refused(
                f'{path} was written after its draft {file}, which an earlier edit left',
                hint='take from the draft what is still wanted, then: mirage-hooks config '
                'discard',
            )
        return file
    with files.writing(file):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, 'wb') as stream:
            stream.write(text)
    return file


def discard(path: Path) -> Path | None:
    """Remove the draft of the file at `path`; which one it was, None where there was none."""
    file = _draft(path)
    with files.writing(file):
        try:
            file.unlink()
        except FileNotFoundError:
            return None
    return file


def put(file: Path, path: Path, before: bytes) -> None:
    """Put the draft `file` in the place of `path`, with its mode and owner, whole or not at all;
    raises Refused when that does not say `before` any more."""
    if source.read(path) != before:
        raise errors.Refused(
            f'{path} was written by somebody else in the meantime, and stays as it is now',
            hint=f'take from the draft {file} what is still wanted, and move it away',
        )
    found = path.stat()
    with files.writing(path), file.open('rb') as stream:
        os.chown(file, found.st_uid, found.st_gid)
        file.chmod(found.st_mode & 0o7777)
        os.fsync(stream.fileno())
        file.replace(path)
        files.sync(path.parent)


def _draft(path: Path) -> Path:
    return path.with_name(f'{path.stem}.draft{path.suffix}')
