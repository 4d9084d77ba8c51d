"""The watcher in the foreground: it watches where no other does, and shows what it sees."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from ..git import discovery
from ..messages import errors
from ..messages.report import Reporter
from ..state import user
from ..watching.watcher import Watcher


def watch(here: Path) -> int:
    """Watch the user's repositories, and that at `here` if it is one."""
    report = Reporter()
    folders = tuple(dict.fromkeys((*_here(here), *user.repositories())))
    if not folders:
        raise errors.Refused(
            'there is no repository to watch', hint='mirage-hooks install REPOSITORY, or name one: '
            'mirage-hooks -C REPOSITORY watch')
    held = user.hold()
    if held is None:
        report.line(f'process {user.watcher() or "-"} watches already: this only shows what is '
                    'seen')
    for folder in folders:
        report.line(f'watching {folder}')
    try:
        Watcher(folders[:1] if _here(here) else (), lambda text: report.line(
            f'{time.strftime("%H:%M:%S")}  {text}'), acts=held is not None).watch()
    finally:
        if held is not None:
            os.close(held)
    return 0


def _here(folder: Path) -> tuple[Path, ...]:
    with contextlib.suppress(errors.Refused):
        place = discovery.find(folder)
        return ((place.tree or place.git_dir),)
    return ()
