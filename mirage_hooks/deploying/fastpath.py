"""What is left behind for the next hook: when nothing has changed since, it goes home at once."""

from __future__ import annotations

from .. import config
from ..host import network
from ..state import files, model
from ..switching import consoles, drain
from .context import Context


def leave(
    context: Context, settings: config.Settings, outcomes: list[model.Outcome]
) -> None:
    """Let the next hook go home at once when all is well and nothing changed since."""
    if drain.draining(context.state):
        return
    if any(wanted.rollout for wanted in settings.unikernels.values()):
        return  # another host may have gone back, which only the cluster tells
    kinds = {outcome.kind for outcome in outcomes}
    if kinds <= {'removed'} or 'stopped' in kinds:
        return  # each push is told what mirage.yml could name, and what a person stopped
    for outcome in outcomes:
        release = outcome.running
        if outcome.failed or (release is not None and release.plan.domain):
            return  # only the long way can tell
        if release is None:
            continue
        releases = context.state.of(outcome.unikernel)
        run = releases.run(release.number)
        if run is None:
            return
        context.seen.runs.append((run.pid, run.started, run.boot))
        context.seen.consoles.append(str(consoles.of(releases, release)))
        context.seen.ports |= {tap.name: network.bridge_of(tap.name) for tap in release.plan.taps}
    files.write(context.state.fastpath, vars(context.seen))
