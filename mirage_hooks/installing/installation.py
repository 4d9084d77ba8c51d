"""This installation itself: what runs it, and the repositories that use it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..state import files


def programs() -> tuple[Path, Path]:
    """The interpreter for the hooks and the command for cron. install.sh keeps them behind links
    that stay while the environment below them is exchanged."""
    environment = Path(sys.prefix)
    home = environment.parent
    if (home / 'current').is_symlink() and (home / 'current').resolve() == environment.resolve():
        return home / 'current' / 'bin' / 'python', home / 'bin' / 'mirage-hooks'
    return Path(sys.executable), environment / 'bin' / 'mirage-hooks'


def ours() -> bool:
    """Whether install.sh made this installation, and this user may change it."""
    _, command = programs()
    home = command.parent.parent
    return home != Path(sys.prefix) and os.access(home, os.W_OK)


def used() -> bool:
    """Whether a repository uses this installation, which is `ours`."""
    path = _list()
    return path.exists() and path.stat().st_size > 0


def remember(folder: Path, used: bool) -> None:
    """Keep the list of repositories that use this installation: install.sh --uninstall looks."""
    if not ours():
        return
    path = _list()
    with files.writing(path):
        text = path.read_text('utf-8', 'surrogateescape') if path.exists() else ''
        before = [line for line in text.split('\n') if line]
        others = {line for line in before if line != str(folder) and Path(line).exists()}
        after = sorted(others | {str(folder)} if used else others)
        if after != before:
            fresh = path.with_name('repositories.new')
            fresh.write_text(''.join(f'{line}\n' for line in after), 'utf-8', 'surrogateescape')
            fresh.replace(path)


def _list() -> Path:
    """The file with the repositories' folders, one in a line."""
    return programs()[1].parent.parent / 'repositories'
