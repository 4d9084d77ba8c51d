"""This installation itself: what runs it, and the repositories that use it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from ..config import reference
from ..state import files, user


def programs() -> tuple[Path, Path]:
    """The interpreter for the hooks and the command for cron. install.sh keeps them behind links
    that stay while the environment below them is exchanged."""
    if home := folder():
        return home / 'current' / 'bin' / 'python', home / 'bin' / 'mirage-hooks'
    return Path(sys.executable), Path(sys.prefix) / 'bin' / 'mirage-hooks'


def schema() -> Path | None:
    """Where editors find the JSON schema of mirage.yml once a repository uses this installation;
    None when install.sh did not make it."""
    home = folder()
    return home / 'current' / 'mirage.schema.json' if home else None


def ours() -> bool:
    """Whether install.sh made this installation, and this user may change it."""
    home = folder()
    return home is not None and os.access(home, os.W_OK)


def used() -> bool:
    """Whether a repository uses this installation, which is `ours`."""
    path = _list()
    return path.exists() and path.stat().st_size > 0


def remember(folder: Path, used: bool) -> bool:
    """Keep the list of repositories that use this installation: install.sh --uninstall looks.
    Whether `folder` stood there before."""
    if not ours():
        return False
    path = _list()
    _describe(path.parent / 'current' / 'mirage.schema.json')
    return user.keep(path, folder, used)


def _list() -> Path:
    """The file with the repositories' folders, one in a line."""
    return programs()[1].parent.parent / 'repositories'


def folder() -> Path | None:
    """The folder that install.sh made, when this is run from there."""
    environment = Path(sys.prefix)
    current = environment.parent / 'current'
    linked = current.is_symlink() and current.resolve() == environment.resolve()
    return environment.parent if linked else None


def _describe(path: Path) -> None:
    with files.writing(path):
        path.write_bytes(msgspec.json.format(msgspec.json.encode(reference.schema())))
