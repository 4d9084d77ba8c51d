"""What mirage.yml said when a deployment last read it. While its text is the same nobody loads
YAML, which takes longer than all else that is read."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import msgspec

from .. import __version__, config
from ..messages import errors
from . import files, ownership

FILE = 'settings.json'


class _Known(msgspec.Struct, frozen=True):
    """`settings` are what this version makes of the text with this sha256."""

    version: str
    digest: str
    settings: config.Settings


def find(state: Path, text: bytes) -> config.Settings | None:
    """What `text` says, None when that is not known in the folder `state`."""
    if ownership.strange(state):
        return None
    with contextlib.suppress(errors.Refused):  # damaged, or another version's: read anew
        known = files.read(state / FILE, _Known)
        if known is not None and (known.version, known.digest) == (__version__, _digest(text)):
            return known.settings
    return None


def last(state: Path) -> config.Settings | None:
    """What was kept last in the folder `state`, whatever mirage.yml says now."""
    with contextlib.suppress(errors.Refused):
        known = None if ownership.strange(state) else files.read(state / FILE, _Known)
        if known is not None and known.version == __version__:
            return known.settings
    return None


def keep(state: Path, text: bytes, settings: config.Settings) -> None:
    """Remember that `text` says `settings`. With the lock of `state` held."""
    with contextlib.suppress(errors.Unavailable):  # a full disk: it is read again next time
        files.write(state / FILE, _Known(__version__, _digest(text), settings))


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
