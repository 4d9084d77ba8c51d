"""On a host where Pacemaker does not run a unikernel: a new image is made ready, which is proved
and not started, so that a failover is the boot of what is here."""

from __future__ import annotations

from .. import config
from ..state import model
from ..state.releases import Releases
from . import trial
from .candidate import Candidates


def follow(releases: Releases, wanted: config.Unikernel) -> None:
    """Keep whether Pacemaker decides, as mirage.yml says now."""
    releases.set_placed(wanted.placed is not None)
    if wanted.placed is None:
        releases.set_ready(None)  # what this host decides on, it starts


def made(
    candidates: Candidates, releases: Releases, new: model.Release, wanted: config.Unikernel
) -> model.Outcome:
    """Prove `new` on trial, and make it what Pacemaker may start here; raises Refused when it does
    not serve. Its address may be in use, on another host."""
    context, before = candidates.context, releases.ready()
    if not candidates.passed_gate(new):
        request = candidates.requests[new.number]
        if not trial.held(context, releases, wanted, new, request):
            context.report.step(new.unikernel, 'it is not tried: it is proved where it is started')
    releases.set_ready(new.number)
    releases.set_failure(None)
    if before is not None and before.number in releases.unfinished():  # it never was live
        releases.discard(before.number)
    releases.prune(wanted.keep)
    context.note(new.unikernel, 'ready', new)
    return model.Outcome(new.unikernel, 'ready', ready=new)
