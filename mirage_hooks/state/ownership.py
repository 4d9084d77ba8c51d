"""Whose a file is. Only the standard library is imported: the fast path asks this."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

FOLDER = 'mirage-hooks'
"""The state, below the git directory."""


def strange(path: Path, others: int = 0o022) -> str:
    """Why what is at `path` may be somebody else's word, '' when it is ours or root's, and `others`
    (mode bits) cannot write it: whoever can decides what is run as us."""
    try:
        found = path.lstat()
    except OSError:
        return ''  # nothing there, so nothing to believe
    if stat.S_ISLNK(found.st_mode):
        return 'is a symbolic link'
    if found.st_uid not in (0, os.geteuid()):
        return f'belongs to another user ({owner(path)})'
    return 'can be written by others' if found.st_mode & others else ''


def owner(path: Path) -> str:
    """Who owns `path`, by name where there is one."""
    return user(path.lstat().st_uid)


def user(number: int) -> str:
    """The name of user `number`, `#NUMBER` where there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f'#{number}'
