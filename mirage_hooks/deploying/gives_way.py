"""Pacemaker waits for nobody: who holds the repository's lock is interrupted when a unikernel is to
be started or ended, for a trial may take long, and visitors wait."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

from ..git.repository import Repository
from ..host import processes
from ..messages import errors
from ..state import store

TRIGGER = 'Pacemaker'
GIVES_WAY = 5.0  # seconds that a deployment has to end when it is interrupted
PAUSE = 0.02  # seconds
SPARED = (TRIGGER, 'uninstall')  # it ends everything by itself


@contextlib.contextmanager
def locked(repository: Repository, state: store.Store, do: str) -> Iterator[None]:
    """Hold the lock to `do` something for Pacemaker. Whoever has it is interrupted, one after the
    other; what they were about is converged afterwards, also where this fails."""
    interrupted = dict[str, float]()
    try:
        with contextlib.ExitStack() as kept:
            _acquire(kept, state, f'{TRIGGER} {do}', interrupted)
            yield
    finally:
        if interrupted:
            converge = (sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(repository.git_dir))
            processes.detach((*converge, 'keep'))


def _acquire(
    kept: contextlib.ExitStack, state: store.Store, purpose: str, interrupted: dict[str, float]
) -> None:
    limit = time.monotonic() + store.PATIENCE
    while True:
        try:
            return kept.enter_context(state.lock(purpose, 0))
        except errors.Unavailable:
            if time.monotonic() > limit:
                raise
        _interrupt(state.holder(), interrupted)
        time.sleep(PAUSE)


def _interrupt(holder: str, interrupted: dict[str, float]) -> None:
    """Have `holder` end, once by SIGINT and, where it ignores that, as what was begun in the
    background of a shell does, once by SIGTERM."""
    process, _, purpose = holder.partition(' ')
    if not process.isdecimal() or purpose.startswith(SPARED):  # it may not have said who it is yet
        return
    now = time.monotonic()
    began = interrupted.get(holder)
    if began is None or now > began + GIVES_WAY:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(process), signal.SIGINT if began is None else signal.SIGTERM)
        interrupted[holder] = now if began is None else float('inf')
