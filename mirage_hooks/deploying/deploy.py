"""The road from a tree to a running unikernel, walked the same way by every hook, cron tick and
command: what should run is worked out, what runs is asked, and the difference is made good."""

from __future__ import annotations

import time

import msgspec

from .. import config
from ..git import shared, tree
from ..git.repository import Repository
from ..messages import errors
from ..messages.report import Reporter
from ..state import files, journal, model, store
from ..state.releases import Releases
from ..switching import conflicts, crashes, launcher, overlap
from . import candidate, ended, fastpath, others, refusal, trial
from .candidate import Candidates
from .context import Context, Intent
from .gate import Gate
from .live import Live
from .refusal import Refusals
from .rollback import Rollback

__all__ = ['Intent', 'converge', 'died', 'dry_run', 'forget_floor', 'prove', 'rollback']


def converge(repository: Repository, intent: Intent, report: Reporter) -> list[model.Outcome]:
    """Make what runs equal what should run; one outcome for each unikernel. Raises Refused only
    when nothing at all can be told."""
    state = store.opened(repository.state)
    with state.lock(intent.trigger, store.PATIENCE, report.waiting):
        return _Converge(Context(repository, state, intent, report)).all()


def died(repository: Repository) -> bool:
    """Whether a release that is to serve does not run."""
    state = store.opened(repository.state)
    return any(_died(state.of(name)) for name in state.names())


def _died(releases: Releases) -> bool:
    pin, current = releases.pin(), releases.current()
    if current is None or (pin is not None and pin.stopped):
        return False
    return not launcher.alive(releases, current)


def prove(
    repository: Repository, pushed: dict[str, str], intent: Intent, report: Reporter
) -> list[model.Outcome]:
    """The gate: why `pushed` (the new commit of each reference, '' where it is deleted) must not be
    accepted; nothing when it would serve, or concerns nothing here. What runs is not touched."""
    settings = store.settings(repository.config_path())
    concerned = {
        name: pushed[branch] for name, one in settings.unikernels.items()
        if (branch := f'refs/heads/{repository.branch(one.branch or settings.branch)}') in pushed
    }
    if not settings.gate or not concerned:
        return []
    state = store.opened(repository.state)
    with state.lock(intent.trigger, store.PATIENCE, report.waiting):
        return Gate(Context(repository, state, intent, report)).refusals(concerned)


def rollback(
    repository: Repository, name: str, number: int | None, trigger: str, report: Reporter
) -> model.Outcome:
    """Go back to release `number` of `name` (the one before the live one by default), from local
    files alone. Raises Refused when there is no such release or it does not serve."""
    state = store.opened(repository.state)
    with state.lock(trigger, store.PATIENCE, report.waiting):
        return Rollback(Context(repository, state, Intent(trigger), report)).back(name, number)


def forget_floor(repository: Repository, trigger: str) -> list[str]:
    """Begin trust anew, as after a rewind that was meant: which unikernels had a floor."""
    state = store.opened(repository.state)
    with state.lock(trigger, store.PATIENCE):
        files.write(state.fastpath, None)
        had = [name for name in state.names() if state.of(name).forget_floor()]
        for name in had:
            journal.append(state.history, journal.Entry(
                at=journal.now(), unikernel=name, event='trust begun anew', trigger=trigger,
            ))
    return had


def dry_run(
    repository: Repository, names: tuple[str, ...], report: Reporter
) -> dict[str, model.Plan]:
    """The plans of the unikernels `names`, with nothing started and nothing kept. What would run
    them may be missing here: `report` is told."""
    state = store.opened(repository.state)
    with state.lock('dry run', store.PATIENCE):
        context = Context(repository, state, Intent('dry run'), Reporter(quiet=True))
        settings, candidates = context.settings(), Candidates(context)
        plans = {name: candidates.planned(name, settings.unikernels[name], settings)
                 for name in names}
    for name, missing in candidates.lacking.items():
        report.refused(f'{name} cannot run here yet: {missing.reason}', missing.hint)
    return plans


class _Converge:
    def __init__(self, context: Context) -> None:
        self.context, self.candidates, self.live = context, Candidates(context), Live(context)
        self.refusals = Refusals(context, self.candidates, self.live)

    def all(self) -> list[model.Outcome]:
        files.write(self.context.state.fastpath, None)
        self.context.tidy()
        try:
            settings = self.context.settings()
        except errors.Refused as refused:
            if not self.context.state.names():
                raise
            outcomes = self.refusals.all_kept(refused)
            self.context.leave()
            return outcomes
        self.context.state.news('settings', '')
        # First, for what is renamed wants the port that its old name still has.
        gone = [name for name in self.context.state.names() if name not in settings.unikernels]
        outcomes = [outcome for name in gone if (outcome := self.live.removed(name)) is not None]
        outcomes += [self._one(name, one, settings) for name, one in settings.unikernels.items()]
        self.context.state.forget_proofs()
        self.context.leave()
        fastpath.leave(self.context, outcomes)
        others.told(self.context, settings, outcomes)
        return outcomes

    def _one(
        self, name: str, wanted: config.Unikernel, settings: config.Settings
    ) -> model.Outcome:
        began = time.monotonic()
        key = 'no commit'  # what a failure is remembered by until the image is known
        releases = self.context.state.of(name)
        try:
            self._decide(name, releases)
            if (stopped := self.live.stopped(name, releases)) is not None:
                return stopped
            commit = self.context.commit(wanted, settings)
            key = f'commit {commit}'
            self.context.require_trust(releases, wanted, settings, commit)
            found = shared.find(self.context.repository, releases, settings, name, commit)
            self.candidates.digest_secrets(name, wanted)
            branch = self.context.branch(wanted, settings)
            revision = self.context.repository.revision(branch)
            self.context.seen.lines(revision, found.read)
            if settings.trust is not None:
                self.context.seen.commits[revision] = commit
            key = found.blob
            if (pinned := self._pinned(name, releases, wanted, found)) is not None:
                return pinned
            outcome = (
                self._unchanged(name, releases, wanted, found)
                or self._deployed(name, releases, wanted, found, settings.unpacked_limit, began)
            )
            if settings.trust is not None:
                releases.set_floor(model.Floor(branch, commit))
            return outcome
        except crashes.Waiting as waiting:
            return self.refusals.waiting(name, releases, waiting)
        except errors.Refused as refused:
            return self.refusals.failed(name, releases, wanted, key, refused)

    def _decide(self, name: str, releases: Releases) -> None:
        """Write down what a person just decided."""
        if name in self.context.intent.stopped:  # a rollback outlasts a stop
            old = releases.pin() or model.Pin()
            new = msgspec.structs.replace(old, stopped=self.context.intent.stopped[name])
            releases.set_pin(None if new == model.Pin() else new)
        if name in self.context.intent.anew:
            pin = releases.pin()
            if pin is not None and not pin.stopped:  # a stop holds until `start`
                releases.set_pin(None)
            releases.set_failure(None)

    def _pinned(
        self, name: str, releases: Releases, wanted: config.Unikernel, found: tree.Found
    ) -> model.Outcome | None:
        """The outcome while a rollback holds; None when there is none, or a newer image ends it."""
        pin, current = releases.pin(), releases.current()
        held = pin is not None and pin.blob == found.blob
        pinned = releases.release(pin.release) if pin is not None and held else None
        if pinned is None:
            releases.set_pin(None)
            return None
        if current is not None and current.number == pinned.number:
            return self.live.running(name, releases, current, wanted, 'pinned')
        try:  # the rollback was interrupted
            return self.live.returned(name, releases, wanted, pinned)
        except errors.Refused:
            releases.set_pin(None)
            raise

    def _unchanged(
        self, name: str, releases: Releases, wanted: config.Unikernel, found: tree.Found
    ) -> model.Outcome | None:
        """The outcome when the live release is the one that should run; None when it is not."""
        current = releases.current()
        if current is None or not (releases.folder(current.number) / 'image').exists():
            return None
        if not self.candidates.same(current, name, wanted, found):
            return None
        outcome = self.live.running(name, releases, current, wanted)
        releases.set_failure(None)
        return outcome

    def _deployed(
        self, name: str, releases: Releases, wanted: config.Unikernel, found: tree.Found,
        limit: int, began: float,
    ) -> model.Outcome:
        """Stage, try, switch: the new image's way to be live."""
        old = releases.current()
        refusal.not_again(releases, self.candidates.fingerprint(name, wanted), found)
        if found.notice:
            self.context.report.step(name, found.notice)
        releases.forget_console()
        new = self.candidates.staged(releases, name, wanted, found, limit)
        there = old is not None and (releases.folder(old.number) / 'image').exists()
        if old is not None and there and candidate.alike(old, new):
            return self._same_bytes(name, releases, wanted, old, new)
        serving = old if old is not None and launcher.alive(releases, old) else None
        try:
            if serving is None:
                conflicts.require_none(self.context.state, name, wanted, new)
            else:
                serving = overlap.located(releases, serving, new)
            beside = overlap.beside(serving, new, wanted)
            if not self.candidates.passed_gate(new) and trial.needed(wanted, beside):
                asked = self.candidates.requests[new.number]
                trial.held(self.context, releases, wanted, new, asked)
            self.live.switch(releases, serving, new, wanted)
        except errors.Refused as refused:
            ended.explain(refused, releases, new)
            raise
        releases.set_failure(None)
        releases.prune(wanted.keep)
        self.context.note(name, 'deployed', new, took=time.monotonic() - began)
        return model.Outcome(name, 'deployed', new)

    def _same_bytes(
        self, name: str, releases: Releases, wanted: config.Unikernel, old: model.Release,
        new: model.Release,
    ) -> model.Outcome:
        """Packed anew or under another name, the same image: what runs goes on running."""
        releases.discard(new.number)
        kept = msgspec.structs.replace(old, commit=new.commit, path=new.path, blob=new.blob)
        releases.save(kept)
        releases.set_failure(None)
        return self.live.running(name, releases, kept, wanted)
