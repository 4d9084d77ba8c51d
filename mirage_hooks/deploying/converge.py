"""What runs is made equal to what should run, the same way for every hook, cron run and command:
one unikernel after the other, each by its Deployment."""

from __future__ import annotations

from ..git.repository import Repository
from ..messages import errors
from ..messages.report import Reporter
from ..state import files, model, store
from . import again, decided, fastpath, others, standing, turn
from .candidate import Candidates
from .context import Context, Intent
from .deploy import Deployment
from .live import Live
from .refusal import Refusals


def converge(repository: Repository, intent: Intent, report: Reporter) -> list[model.Outcome]:
    """Make what runs equal what should run; one outcome for each unikernel. Raises Refused only
    when nothing at all can be told."""
    state = store.opened(repository.state)
    with state.lock(intent.trigger, store.PATIENCE, report.waiting):
        return converged(Context(repository, state, intent, report))


def converged(context: Context) -> list[model.Outcome]:
    """The same, for whoever holds the lock."""
    files.write(context.state.fastpath, None)
    context.tidy()
    live = Live(context)
    try:
        settings = context.settings(keep=True)
    except errors.Refused as refused:  # what serves goes on without its mirage.yml
        if not context.state.names():
            raise
        outcomes = _without_settings(Refusals(context, Candidates(context), live), refused)
        turn.over(context.state, outcomes)
        context.leave()
        return outcomes
    context.state.news('settings', '')
    # First, for what is renamed wants the port that its old name still has.
    gone = [name for name in context.state.names() if name not in settings.unikernels]
    outcomes = [outcome for name in gone if (outcome := live.removed(name)) is not None]
    outcomes += [Deployment(context, name, settings).outcome() for name in settings.unikernels]
    context.state.forget_proofs()
    turn.over(context.state, outcomes)
    context.leave()
    fastpath.leave(context, settings, outcomes)
    others.told(context, settings, outcomes)
    standing.tell(context.state, settings)
    return outcomes


def _without_settings(refusals: Refusals, refused: errors.Refused) -> list[model.Outcome]:
    """The outcomes while mirage.yml is `refused`: all goes on as it is, but for what a person
    decided now."""
    context = refusals.context
    if context.intent.stopped:
        context.report.refused(refused.reason, refused.hint)
    known = refusals.known(refused)
    return [_decided(refusals, name) or refusals.kept(name, known)
            for name in context.state.names()]


def _decided(refusals: Refusals, name: str) -> model.Outcome | None:
    """The outcome of what a person decided now of `name`, from the state alone; None for
    nothing."""
    context = refusals.context
    releases, last = context.state.of(name), store.last_settings(context.state)
    decided.write_down(context.intent, name, releases)
    if name not in context.intent.stopped:
        return None
    try:
        stopped = refusals.live.stopped(name, releases)
    except errors.Refused as refused:
        return refusals.kept(name, refused)
    wanted = last.unikernels.get(name) if last is not None else None
    return stopped or again.started(refusals, name, releases, wanted)
