"""The text of a mirage.yml."""

from __future__ import annotations

from pathlib import Path

from ..messages import errors

LARGEST = 1024 * 1024  # bytes; nobody writes a longer mirage.yml


def read(path: Path, hint: str = '') -> bytes:
    """The text in `path`; raises Refused when there is none, with the `hint`, or too much."""
    try:
        with path.open('rb') as stream:
            text = stream.read(LARGEST + 1)
    except OSError as error:
        raise errors.Refused(f'cannot read {path}: {error.strerror}', hint=hint) from None
    if len(text) > LARGEST:
        raise errors.Refused(f'{path} is longer than {LARGEST} bytes')
    return text
