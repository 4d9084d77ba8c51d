"""What is left behind for the next hook: when nothing has changed since, it goes home at once."""

from __future__ import annotations

from .. import model, store
from ..host import network
from ..switching import drain, launcher
from .road import Road


def leave(road: Road, outcomes: list[model.Outcome]) -> None:
    """Let the next hook go home at once when all is well and nothing changed since."""
    if drain.draining(road.state):
        return
    for outcome in outcomes:
        release = outcome.running
        if outcome.failed or (release is not None and release.plan.domain):
            return  # only the long way can tell
        if release is None:
            continue
        shelf = road.state.of(outcome.unikernel)
        run = shelf.run(release.number)
        if run is None:
            return
        road.seen.runs.append((run.pid, run.started, run.boot))
        road.seen.consoles.append(str(launcher.console(shelf, release)))
        road.seen.ports |= {tap.name: network.bridge_of(tap.name) for tap in release.plan.taps}
    store.write(road.state.settled, vars(road.seen))
