"""The road from a tree to a running unikernel, walked the same way by every hook, cron tick and
command: what should run is worked out, what runs is asked, and the difference is made good."""

from __future__ import annotations

import time

import msgspec

from . import config, errors, journal, model, store
from .deploying import candidate, ended, others, own, refusal, shortcut, trial
from .deploying.candidate import Candidates
from .deploying.gate import Gate
from .deploying.live import Live
from .deploying.refusal import Refusals
from .deploying.road import Road, Wish
from .deploying.rollback import Rollback
from .report import Reporter
from .repository import Repository
from .switching import conflicts, crashes, launcher, overlap

__all__ = ['Wish', 'converge', 'died', 'dry_run', 'forget_floor', 'prove', 'rollback']


def converge(repository: Repository, wish: Wish, report: Reporter) -> list[model.Outcome]:
    """Make what runs equal what should run; one outcome for each unikernel. Raises Refused only
    when nothing at all can be told."""
    state = store.opened(repository.state)
    with state.lock(wish.trigger, store.PATIENCE, report.waiting):
        return _Converge(Road(repository, state, wish, report)).all()


def died(repository: Repository) -> bool:
    """Whether a release that is to serve does not run."""
    state = store.opened(repository.state)
    return any(_died(state.of(name)) for name in state.names())


def _died(shelf: store.Shelf) -> bool:
    pin, current = shelf.pin(), shelf.current()
    if current is None or (pin is not None and pin.stopped):
        return False
    return not launcher.alive(shelf, current)


def prove(
    repository: Repository, pushed: dict[str, str], wish: Wish, report: Reporter
) -> list[model.Outcome]:
    """The gate: why `pushed` (the new commit of each reference, '' where it is deleted) must not be
    accepted; nothing when it would serve, or concerns nothing here. What runs is not touched."""
    settings = config.trusted(repository.config_path())
    concerned = {
        name: pushed[branch] for name, one in settings.unikernels.items()
        if (branch := f'refs/heads/{repository.branch(one.branch or settings.branch)}') in pushed
    }
    if not settings.gate or not concerned:
        return []
    state = store.opened(repository.state)
    with state.lock(wish.trigger, store.PATIENCE, report.waiting):
        return Gate(Road(repository, state, wish, report)).refusals(concerned)


def rollback(
    repository: Repository, name: str, number: int | None, trigger: str, report: Reporter
) -> model.Outcome:
    """Go back to release `number` of `name` (the one before the live one by default), from local
    files alone. Raises Refused when there is no such release or it does not serve."""
    state = store.opened(repository.state)
    with state.lock(trigger, store.PATIENCE, report.waiting):
        return Rollback(Road(repository, state, Wish(trigger), report)).back(name, number)


def forget_floor(repository: Repository, trigger: str) -> list[str]:
    """Begin trust anew, as after a rewind that was meant: which unikernels had a floor."""
    state = store.opened(repository.state)
    with state.lock(trigger, store.PATIENCE):
        store.write(state.settled, None)
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
        road = Road(repository, state, Wish('dry run'), Reporter(quiet=True))
        settings, candidates = road.settings(), Candidates(road)
        plans = {name: candidates.planned(name, settings.unikernels[name], settings)
                 for name in names}
    for name, missing in candidates.lacking.items():
        report.refused(f'{name} cannot run here yet: {missing.reason}', missing.hint)
    return plans


class _Converge:
    def __init__(self, road: Road) -> None:
        self.road, self.candidates, self.live = road, Candidates(road), Live(road)
        self.refusals = Refusals(road, self.candidates, self.live)

    def all(self) -> list[model.Outcome]:
        store.write(self.road.state.settled, None)
        self.road.tidy()
        try:
            settings = self.road.settings()
        except errors.Refused as refused:
            if not self.road.state.names():
                raise
            outcomes = self.refusals.all_kept(refused)
            self.road.leave()
            return outcomes
        self.road.state.news('settings', '')
        # First, for what is renamed wants the port that its old name still has.
        gone = [name for name in self.road.state.names() if name not in settings.unikernels]
        outcomes = [outcome for name in gone if (outcome := self.live.removed(name)) is not None]
        outcomes += [self._one(name, one, settings) for name, one in settings.unikernels.items()]
        self.road.state.forget_proofs()
        self.road.leave()
        shortcut.leave(self.road, outcomes)
        others.told(self.road, settings, outcomes)
        return outcomes

    def _one(
        self, name: str, wanted: model.Unikernel, settings: model.Settings
    ) -> model.Outcome:
        began = time.monotonic()
        key = 'no commit'  # what a failure is remembered by until the image is known
        shelf = self.road.state.of(name)
        try:
            self._decide(name, shelf)
            if (stopped := self.live.stopped(name, shelf)) is not None:
                return stopped
            commit = self.road.commit(wanted, settings)
            key = f'commit {commit}'
            self.road.require_trust(shelf, wanted, settings, commit)
            found = own.find(self.road.repository, shelf, settings, name, commit)
            self.candidates.digest_secrets(name, wanted)
            branch = self.road.branch(wanted, settings)
            revision = self.road.repository.revision(branch)
            self.road.seen.lines(revision, found.read)
            if settings.trust is not None:
                self.road.seen.commits[revision] = commit
            key = found.blob
            if (pinned := self._pinned(name, shelf, wanted, found)) is not None:
                return pinned
            outcome = (
                self._unchanged(name, shelf, wanted, found)
                or self._deployed(name, shelf, wanted, found, settings.unpacked_limit, began)
            )
            if settings.trust is not None:
                shelf.set_floor(model.Floor(branch, commit))
            return outcome
        except crashes.Waiting as waiting:
            return self.refusals.waiting(name, shelf, waiting)
        except errors.Refused as refused:
            return self.refusals.failed(name, shelf, wanted, key, refused)

    def _decide(self, name: str, shelf: store.Shelf) -> None:
        """Write down what a person just decided."""
        if name in self.road.wish.stopped:  # a rollback outlasts a stop
            old = shelf.pin() or model.Pin()
            new = msgspec.structs.replace(old, stopped=self.road.wish.stopped[name])
            shelf.set_pin(None if new == model.Pin() else new)
        if name in self.road.wish.anew:
            pin = shelf.pin()
            if pin is not None and not pin.stopped:  # a stop holds until `start`
                shelf.set_pin(None)
            shelf.set_failure(None)

    def _pinned(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, found: model.Found
    ) -> model.Outcome | None:
        """The outcome while a rollback holds; None when there is none, or a newer image ends it."""
        pin, current = shelf.pin(), shelf.current()
        pinned = shelf.release(pin.release) if pin is not None and pin.blob == found.blob else None
        if pinned is None:
            shelf.set_pin(None)
            return None
        if current is not None and current.number == pinned.number:
            return self.live.running(name, shelf, current, wanted, 'pinned')
        try:  # the rollback was interrupted
            return self.live.returned(name, shelf, wanted, pinned)
        except errors.Refused:
            shelf.set_pin(None)
            raise

    def _unchanged(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, found: model.Found
    ) -> model.Outcome | None:
        """The outcome when the live release is the one that should run; None when it is not."""
        current = shelf.current()
        if current is None or not (shelf.folder(current.number) / 'image').exists():
            return None
        if not self.candidates.same(current, name, wanted, found):
            return None
        outcome = self.live.running(name, shelf, current, wanted)
        shelf.set_failure(None)
        return outcome

    def _deployed(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, found: model.Found,
        limit: int, began: float,
    ) -> model.Outcome:
        """Stage, try, switch: the new image's way to be live."""
        old = shelf.current()
        refusal.not_again(shelf, self.candidates.fingerprint(name, wanted), found)
        if found.notice:
            self.road.report.step(name, found.notice)
        shelf.forget_console()
        new = self.candidates.staged(shelf, name, wanted, found, limit)
        there = old is not None and (shelf.folder(old.number) / 'image').exists()
        if old is not None and there and candidate.alike(old, new):
            return self._same_bytes(name, shelf, wanted, old, new)
        serving = old if old is not None and launcher.alive(shelf, old) else None
        try:
            if serving is None:
                conflicts.require_none(self.road.state, name, wanted, new)
            else:
                serving = overlap.located(shelf, serving, new)
            beside = overlap.beside(serving, new, wanted)
            if not self.candidates.passed_gate(new) and trial.needed(wanted, beside):
                asked = self.candidates.requests[new.number]
                trial.held(self.road, shelf, wanted, new, asked)
            self.live.switch(shelf, serving, new, wanted)
        except errors.Refused as refused:
            ended.explain(refused, shelf, new)
            raise
        shelf.set_failure(None)
        shelf.prune(wanted.keep)
        self.road.note(name, 'deployed', new, took=time.monotonic() - began)
        return model.Outcome(name, 'deployed', new)

    def _same_bytes(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, old: model.Release,
        new: model.Release,
    ) -> model.Outcome:
        """Packed anew or under another name, the same image: what runs goes on running."""
        shelf.discard(new.number)
        kept = msgspec.structs.replace(old, commit=new.commit, path=new.path, blob=new.blob)
        shelf.save(kept)
        shelf.set_failure(None)
        return self.live.running(name, shelf, kept, wanted)
