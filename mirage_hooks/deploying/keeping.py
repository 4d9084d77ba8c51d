"""What a converge leaves to the keeper, so that what ends is back within seconds, and a push need
not wait for what is drained."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from .. import __version__, errors, model, settled, store
from ..host import system
from ..switching import crashes, drain, launcher


def leave(state: store.Store, git_dir: Path) -> None:
    """Tell the keeper of the repository at `git_dir` what there is to keep, and start one where
    there is none. systemd keeps its own. With the lock of `state` held."""
    wanted = _wanted(state)
    if wanted != store.read(state.kept, dict):
        store.write(state.kept, wanted or None)
    if settled.called(state.root) or not wanted:
        return
    with store.writing(state.root):
        calls = settled.hold(state.root)
    if calls is not None:
        keeper = (sys.executable, '-I', '-m', 'mirage_hooks.keeper', str(git_dir), str(calls))
        system.detach(keeper, calls)
        os.close(calls)  # it has its own


def _wanted(state: store.Store) -> dict[str, Any]:
    """Processes and domains that must not end, when (seconds since boot) the next of those that did
    may be started again (0: none waits), and whether something is drained; {} for nothing."""
    found: dict[str, Any] = {'runs': [], 'domains': [], 'due': 0, 'drain': drain.draining(state)}
    for name in state.names():
        _keep(state.of(name), found)
    if not any(found.values()):
        return {}
    return {'version': __version__, 'python': sys.executable, **found}


def _keep(shelf: store.Shelf, found: dict[str, Any]) -> None:
    release, pin = shelf.current(), shelf.pin()
    if release is None or release.plan.unit or (pin is not None and pin.stopped):
        return
    try:
        alive = launcher.alive(shelf, release)
    except errors.Unavailable:
        return  # Xen does not answer: the next converge asks again
    run = shelf.run(release.number)
    if not alive:
        left = crashes.due(shelf, release)
        soon = [found['due']] if found['due'] else []
        found['due'] = found['due'] if left is None else min([model.clock() + left, *soon])
    elif release.plan.domain:
        found['domains'].append(release.plan.domain)
    elif run is not None:
        found['runs'].append([run.pid, run.started, run.boot])
