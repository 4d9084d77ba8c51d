"""The story of a deployment, told the same way to every hook, cron run and command: what should run
is worked out, what runs is asked, and the difference is made good. Read downward."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator

import msgspec

from .. import config
from ..git import shared, tree
from ..git.repository import Repository
from ..messages import errors
from ..messages.report import Reporter
from ..state import files, model, store
from ..state.pointers import alike
from ..switching import conflicts, crashes, launcher, overlap
from . import (
    again,
    changeover,
    decided,
    ended,
    fastpath,
    others,
    ready,
    refusal,
    renewal,
    standing,
    trial,
    turn,
)
from .candidate import Candidates
from .context import Context, Intent
from .live import Live, elsewhere
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
        context.leave()
        return outcomes
    context.state.news('settings', '')
    # First, for what is renamed wants the port that its old name still has.
    gone = [name for name in context.state.names() if name not in settings.unikernels]
    outcomes = [outcome for name in gone if (outcome := live.removed(name)) is not None]
    outcomes += [Deployment(context, name, settings).outcome() for name in settings.unikernels]
    context.state.forget_proofs()
    context.leave()
    fastpath.leave(context, outcomes)
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


class Deployment:
    """One unikernel in one converge. `key` is what a failure is remembered by: the image's blob
    once it is known."""

    def __init__(self, context: Context, name: str, settings: config.Settings) -> None:
        self.context, self.name, self.settings = context, name, settings
        self.wanted, self.releases = settings.unikernels[name], context.state.of(name)
        self.candidates, self.live = Candidates(context), Live(context)
        self.refusals = Refusals(context, self.candidates, self.live)
        self.key = 'no commit'
        self.began = time.monotonic()

    def outcome(self) -> model.Outcome:
        """What came of it. Whichever step refuses: that is remembered and told, and what serves
        goes on, or is started again."""
        try:
            return self._serve()
        except crashes.Waiting as waiting:  # it ended by itself too often to be started at once
            return self.refusals.waiting(self.name, self.releases, waiting)
        except errors.Refused as refused:
            return self.refusals.failed(
                self.name, self.releases, self.wanted, self.key, refused
            )

    def _serve(self) -> model.Outcome:
        """From "a push came" to "it serves". A step raises Refused when it fails."""
        decided.write_down(self.context.intent, self.name, self.releases)
        ready.follow(self.releases, self.wanted)
        if (stopped := self.live.stopped(self.name, self.releases)) is not None:
            return decided.left_alone(stopped, self.context, self.settings)
        if self.name in self.context.intent.restarted and (restarted := again.started(
            self.refusals, self.name, self.releases, self.wanted
        )) is not None:
            return decided.left_alone(restarted, self.context, self.settings)
        tip = self._trusted_tip()
        found = self._found(tip)
        old = renewal.due(
            self.candidates, self.releases, self.live.kept(self.releases), self.wanted, found)
        if old is None and (settled := self._settled(tip, found)) is not None:
            return settled
        if old is not None:
            self._require_news(found)
        new = self._staged(found, old)
        if (same := self._same_bytes(new)) is not None:
            return self._accepted(tip, same)
        if elsewhere(self.releases):
            with self._explained(new):
                return self._accepted(
                    tip, ready.made(self.candidates, self.releases, new, self.wanted))
        with self._explained(new):
            serving = self._predecessor(new)
            (tried := functools.partial(self._tried, serving, new))()
            gap = changeover.follow(self.context, self.releases, serving, new, self.wanted, tried)
        return self._accepted(tip, self._deployed(new, gap, old))

    def _trusted_tip(self) -> model.Floor:
        """The branch, and the commit whose tree says what should run."""
        branch = self.context.branch(self.wanted, self.settings)
        commit = self.context.commit(self.wanted, self.settings)
        self.key = f'commit {commit}'
        self.context.require_trust(self.releases, self.wanted, self.settings, commit)
        return model.Floor(branch, commit)

    def _found(self, tip: model.Floor) -> tree.Found:
        """The image in the tree of `tip`; what led to it, the next hook is to look at."""
        repository, seen = self.context.repository, self.context.seen
        found = shared.find(repository, self.releases, self.settings, self.name, tip.commit)
        self.candidates.read(self.name, self.wanted)
        revision = repository.revision(tip.branch)
        seen.lines(revision, found.read)
        if self.settings.trust is not None:
            seen.commits[revision] = tip.commit
        self.key = found.blob
        return found

    def _settled(self, tip: model.Floor, found: tree.Found) -> model.Outcome | None:
        """The outcome where no new release is due: it is pinned, runs already, or waits for its
        turn; None where one is. Raises Refused where it was refused before."""
        if (pinned := decided.pinned(
            self.live, self.name, self.releases, self.wanted, found
        )) is not None:
            return pinned
        if (unchanged := self._unchanged(found)) is not None:
            return self._accepted(tip, unchanged)
        self._require_news(found)
        held = turn.waits(self.context, self.releases, self.wanted, found)
        return None if held is None else self._accepted(tip, held)

    def _require_news(self, found: tree.Found) -> None:
        known_by = self.candidates.known_by(self.name, self.wanted)
        refusal.not_again(self.releases, known_by, found)

    def _unchanged(self, found: tree.Found) -> model.Outcome | None:
        """The outcome when the live release is the one that should run; None when it is not."""
        current = self.live.kept(self.releases)
        if current is None or not self.candidates.same(current, self.name, self.wanted, found):
            return None
        back = turn.returned(self.context, self.releases, self.wanted, current)
        if back is not None:
            return back
        outcome = self.live.running(self.name, self.releases, current, self.wanted)
        self.releases.set_failure(None)
        return outcome

    def _staged(self, found: tree.Found, old: model.Release | None) -> model.Release:
        """The new release: unpacked, identified and planned, with nothing started; the same image
        again as `old` where only its certificate was renewed."""
        if found.notice:
            self.context.report.step(self.name, found.notice)
        self.releases.forget_console()
        if old is not None:
            return self.candidates.again(self.releases, self.name, self.wanted, old)
        limit = self.settings.unpacked_limit
        return self.candidates.staged(self.releases, self.name, self.wanted, found, limit)

    def _same_bytes(self, new: model.Release) -> model.Outcome | None:
        """The outcome when `new` is packed anew or under another name, but the same image: what
        runs goes on running. None when it is another one."""
        old = self.live.kept(self.releases)
        if old is None or not alike(old, new) or self.candidates.renewed(old):
            return None
        self.releases.discard(new.number)
        kept = msgspec.structs.replace(old, commit=new.commit, path=new.path, blob=new.blob)
        self.releases.save(kept)
        self.releases.set_failure(None)
        return self.live.running(self.name, self.releases, kept, self.wanted)

    def _predecessor(self, new: model.Release) -> model.Release | None:
        """The release that `new` takes over from. Where none serves, somebody else may have its
        name or address: that is refused."""
        serving = self.releases.current()
        if serving is None or not launcher.alive(self.releases, serving):
            conflicts.require_none(self.context.state, self.name, self.wanted, new)
            return None
        return overlap.located(self.releases, serving, new)

    def _tried(self, serving: model.Release | None, new: model.Release) -> None:
        """Try `new` apart from what serves, unless the gate has, or the switch itself will."""
        proves_itself = changeover.proves(self.releases, serving, new, self.wanted)
        if not proves_itself and not self.candidates.passed_gate(new):
            request = self.candidates.requests[new.number]
            trial.held(self.context, self.releases, self.wanted, new, request)

    @contextlib.contextmanager
    def _explained(self, new: model.Release) -> Iterator[None]:
        """When `new` does not come to serve it is discarded; its console is kept, and explained."""
        try:
            yield
        except errors.Refused as refused:
            ended.explain(refused, self.releases, new)
            raise

    def _deployed(
        self, new: model.Release, gap: float, old: model.Release | None
    ) -> model.Outcome:
        reason = renewal.over(self.releases, old, new)
        self.releases.set_failure(None)
        self.releases.prune(self.wanted.keep)
        took = time.monotonic() - self.began
        self.context.note(self.name, 'deployed', new, reason, took, gap)
        return model.Outcome(self.name, 'deployed', new, reason)

    def _accepted(self, tip: model.Floor, outcome: model.Outcome) -> model.Outcome:
        """`outcome`; trust goes on from `tip` now."""
        if self.settings.trust is not None:
            self.releases.set_floor(tip)
        return outcome
