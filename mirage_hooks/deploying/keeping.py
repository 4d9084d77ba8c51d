"""What a converge leaves to the keeper, so that what ends is back within seconds, and a push need
not wait for what is drained."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from .. import __version__
from ..host import processes
from ..messages import errors
from ..state import files, pipe, proc, store
from ..state.releases import Releases
from ..switching import crashes, drain, launcher


def leave(state: store.Store, git_dir: Path) -> None:
    """Tell the keeper of the repository at `git_dir` what there is to keep, and start one where
    there is none. systemd keeps its own. With the lock of `state` held."""
    wanted = _wanted(state)
    if wanted != files.read(state.kept, dict):
        files.write(state.kept, wanted or None)
    if pipe.called(state.root) or not wanted:
        return
    with files.writing(state.root):
        calls = pipe.hold(state.root)
    if calls is not None:
        keeper = (sys.executable, '-I', '-m', 'mirage_hooks.keeper', str(git_dir), str(calls))
        processes.detach(keeper, calls)
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


TURN = 5.0  # seconds after which a host that waits for its turn looks again


def _keep(releases: Releases, found: dict[str, Any]) -> None:
    if releases.held() is not None:
        found['due'] = proc.clock() + TURN
    release = releases.current()
    if release is None or release.plan.unit or releases.stopped() or releases.placed():
        return
    try:
        alive = launcher.alive(releases, release)
    except errors.Unavailable:
        return  # Xen does not answer: the next converge asks again
    run = releases.run(release.number)
    if not alive:
        left = crashes.due(releases, release)
        soon = [found['due']] if found['due'] else []
        found['due'] = found['due'] if left is None else min([proc.clock() + left, *soon])
    elif release.plan.domain:
        found['domains'].append(release.plan.domain)
    elif run is not None:
        found['runs'].append([run.pid, run.started, run.boot])
