"""What is left behind for the next hook: when nothing has changed since, it goes home at once."""

from __future__ import annotations

from pathlib import Path

from .. import model, settled, store
from ..host import network
from ..switching import drain, launcher
from .road import Road


def leave(road: Road, outcomes: list[model.Outcome]) -> None:
    """Let the next hook go home at once when all is well and nothing changed since."""
    runs, consoles, secrets = [], [], []
    ports: dict[str, str] = {}
    if drain.draining(road.state):
        return
    for outcome in outcomes:
        release = outcome.running
        if outcome.failed or (release is not None and release.plan.domain):
            return  # only the long way can tell
        run = road.state.of(outcome.unikernel).run(release.number) if release else None
        if release is not None and run is None:
            return
        runs += [(run.pid, run.started, run.boot)] if run else []
        if release is not None:
            consoles.append(launcher.console(road.state.of(outcome.unikernel), release))
            secrets += [Path(one.file) for one in release.plan.secrets.values()]
            ports |= {t.name: network.bridge_of(t.name) for t in release.plan.taps}
    named = road.repository.setting('mirage.config')
    path = road.repository.config_path()
    head = road.repository.head()
    facts = settled.facts(
        path, named, head, road.read, runs, consoles, secrets, ports, road.commits
    )
    store.write(road.state.settled, facts)
