"""The story of one unikernel's deployment, from "a push came" to "it serves". Read downward."""

from __future__ import annotations

import functools
import time

from .. import config
from ..git import shared, tree
from ..messages import errors
from ..state import model, notes
from ..switching import conflicts, crashes, launcher, overlap
from . import (
    again,
    changeover,
    decided,
    ended,
    managed,
    ready,
    refusal,
    renewal,
    trial,
    turn,
)
from .candidate import Candidates
from .context import Context
from .live import Live, elsewhere
from .refusal import Refusals


class Deployment:
    """One unikernel in one converge. `key` is what a failure is remembered by: the image's blob
    once it is known."""

    def __init__(self, context: Context, name: str, settings: config.Settings) -> None:
        self.context, self.name, self.settings = context, name, settings
        self.wanted, self.releases = settings.unikernels[name], context.state.of(name)
        self.candidates, self.live = Candidates(context), Live(context)
        self.refusals = Refusals(context, self.candidates, self.live)
        self.key, self.began = 'no commit', time.monotonic()

    def outcome(self) -> model.Outcome:
        """What came of it. Whichever step refuses: that is remembered and told, and what serves
        goes on, or is started again."""
        try:
            return self._serve()
        except crashes.Waiting as waiting:  # it ended by itself too often to be started at once
            return self.refusals.waiting(self.name, self.releases, waiting)
        except errors.Refused as refused:
            return self.refusals.failed(self.name, self.releases, self.wanted, self.key, refused)

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
        renewed = renewal.due(
            self.candidates, self.releases, self.live.kept(self.releases), self.wanted, found)
        if renewed is None and (settled := self._settled(tip, found)) is not None:
            return settled
        managed.require(self.context, self.releases, self.wanted)
        if renewed is not None:
            refusal.not_again(self.candidates, self.releases, self.wanted, found)
        new = self._staged(found, renewed)
        if (same := self._same_bytes(new)) is not None:
            return self._accepted(tip, same)
        with ended.explained(self.releases, new):
            if elsewhere(self.releases):
                made = ready.made(self.candidates, self.releases, new, self.wanted)
                return self._accepted(tip, made)
            serving = self._predecessor(new)
            (tried := functools.partial(self._tried, serving, new))()
            gap = changeover.follow(self.context, self.releases, serving, new, self.wanted, tried)
        return self._accepted(tip, self._deployed(new, gap, renewed))

    def _trusted_tip(self) -> notes.Floor:
        """The branch, and the commit whose tree says what should run."""
        branch = self.context.branch(self.wanted, self.settings)
        commit = self.context.commit(self.wanted, self.settings)
        self.key = f'commit {commit}'
        self.context.require_trust(self.releases, self.wanted, self.settings, commit)
        return notes.Floor(branch, commit)

    def _found(self, tip: notes.Floor) -> tree.Found:
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

    def _settled(self, tip: notes.Floor, found: tree.Found) -> model.Outcome | None:
        """The outcome where no new release is due: it is pinned, runs already, or waits for its
        turn; None where one is. Raises Refused where it was refused before."""
        if (pinned := decided.pinned(
            self.live, self.name, self.releases, self.wanted, found
        )) is not None:
            return pinned
        if (unchanged := self._unchanged(found)) is not None:
            return self._accepted(tip, unchanged)
        refusal.not_again(self.candidates, self.releases, self.wanted, found)
        held = turn.waits(self.context, self.releases, self.wanted, found)
        return None if held is None else self._accepted(tip, held)

    def _unchanged(self, found: tree.Found) -> model.Outcome | None:
        """The outcome when the live release is the one that should run; None when it is not."""
        current = self.live.kept(self.releases)
        if current is None or not self.candidates.same(current, self.name, self.wanted, found):
            return None
        if (back := turn.returned(self.context, self.releases, self.wanted, current)) is not None:
            return back
        outcome = self.live.running(self.name, self.releases, current, self.wanted)
        self.releases.set_failure(None)
        return outcome

    def _staged(self, found: tree.Found, renewed: model.Release | None) -> model.Release:
        """The new release: unpacked, identified and planned, with nothing started; the same image
        again as `renewed` where only its certificate was."""
        if found.notice:
            self.context.report.step(self.name, found.notice)
        self.releases.forget_console()
        if renewed is not None:
            return self.candidates.again(self.releases, self.name, self.wanted, renewed)
        limit = self.settings.unpacked_limit
        return self.candidates.staged(self.releases, self.name, self.wanted, found, limit)

    def _same_bytes(self, new: model.Release) -> model.Outcome | None:
        """The outcome when `new` is packed anew or under another name, but the same image: what
        runs goes on running. None when it is another one."""
        kept = self.candidates.repacked(self.releases, self.live.kept(self.releases), new)
        if kept is None:
            return None
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

    def _deployed(
        self, new: model.Release, gap: float, renewed: model.Release | None
    ) -> model.Outcome:
        reason = renewal.over(self.releases, renewed, new)
        self.releases.set_failure(None)
        self.releases.prune(self.wanted.keep)
        self.context.note(self.name, 'deployed', new, reason, time.monotonic() - self.began, gap)
        return model.Outcome(self.name, 'deployed', new, reason)

    def _accepted(self, tip: notes.Floor, outcome: model.Outcome) -> model.Outcome:
        """`outcome`; trust goes on from `tip` now."""
        if self.settings.trust is not None:
            self.releases.set_floor(tip)
        return outcome
