"""Ends what keeps its connections for a while after a switch, as the keeper has it done. When it is
killed, the next converge does the same."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from ..git.repository import Repository
from ..host import facts
from ..messages import progress
from ..state import journal, proc, store
from ..switching import drain
from . import keeping

PAUSE = 1.0  # seconds between two looks


def wait(repository: Repository) -> None:
    """Return when nothing is drained any more; at once when another process sees to it."""
    state = store.opened(repository.state)
    owner = facts.owner(state.root)
    with _only(state) as lock:
        while lock is not None:
            # Without the repository's lock: a push that comes meanwhile does not wait.
            with progress.doing('waiting for connections to end') as work:
                while drain.draining(state) and not drain.due(state, owner):
                    work.now(_kept(state))
                    time.sleep(PAUSE)
            with state.lock('drain', store.PATIENCE):
                for text in drain.tidy(state, owner):
                    journal.append(state.history, journal.Entry(
                        at=journal.now(), unikernel='mirage-hooks', event='drained',
                        trigger='drain', reason=text,
                    ))
                if not drain.draining(state):
                    # While the repository is ours: who drains next starts a process of its own.
                    keeping.leave(state, repository.git_dir)
                    return fcntl.flock(lock, fcntl.LOCK_UN)


def _kept(state: store.Store) -> str:
    """Whose connections are waited for, and for how long at most."""
    overlaps = {name: state.of(name).overlap() for name in state.names()}
    return ', '.join(
        f'release {side.release} of {name}, {side.until - proc.clock():.0f} s at most'
        for name, overlap in overlaps.items() for side in (overlap.sides if overlap else ())
        if side.until
    )


@contextlib.contextmanager
def _only(state: store.Store) -> Iterator[int | None]:
    """Held by the only process of its kind for this repository; None for another one."""
    descriptor = os.open(state.root / 'drain.lock', os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)
