"""The watcher in the foreground: it watches where no other does, and shows what it sees. And what
it has done about a silence."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path

from ..deploying import healing, notify, told
from ..git import discovery
from ..git.repository import Repository
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


def heal(given: argparse.Namespace) -> int:
    """1 when it is silent as before, or worse."""
    repository, report = Repository(Path(given.repository)), Reporter()
    outcomes = healing.heal(repository, healing.Silence(
        given.name, given.release, given.what, given.reason, given.hint), report)
    if not outcomes:
        report.line(f'{given.name}: release {given.release} answers, has ended or was replaced: '
                    'nothing to do')
    told.outcomes(report, outcomes)
    others = [one for one in outcomes if one.unikernel != given.name]
    notify.tell(repository, others, healing.TRIGGER, report)
    if not given.quiet:
        event = {'rollback': 'rolled back', 'answers': 'answers again'}.get(given.what, '')
        mine = [one for one in outcomes if one.unikernel == given.name]
        notify.tell(repository, mine, healing.TRIGGER, report, event=event)
    return int(any(one.failed for one in outcomes))


def _here(folder: Path) -> tuple[Path, ...]:
    with contextlib.suppress(errors.Refused):
        place = discovery.find(folder)
        return ((place.tree or place.git_dir),)
    return ()
