"""The road from a tree to a running unikernel, walked the same way by every hook, cron tick and
command: what should run is worked out, what runs is asked, and the difference is made good."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import msgspec

from . import (
    config,
    errors,
    health,
    image,
    journal,
    launcher,
    model,
    settled,
    store,
    switch,
    targets,
)
from .report import Reporter
from .repository import Repository

PATIENCE = 900.0  # seconds to wait for another deployment of the same repository
BACK_OFF = (60, 3600)  # seconds before the second try after an outside cause, and the longest wait


class Wish(msgspec.Struct, frozen=True):
    """Why a converge runs. `anew` names unikernels whose pins and remembered failures are
    dropped; `pins` are a person's new decisions."""

    trigger: str
    anew: tuple[str, ...] = ()
    pins: dict[str, model.Pin | None] = {}


def converge(repository: Repository, wish: Wish, report: Reporter) -> list[model.Outcome]:
    """Make what runs equal what should run; one outcome for each unikernel. Raises Refused only
    when nothing at all can be told."""
    state = store.Store(repository.state)
    with state.lock(wish.trigger, PATIENCE, report.waiting):
        return _Converge(repository, state, wish, report).all()


def dry_run(repository: Repository) -> dict[str, model.Plan]:
    """The plan of each unikernel, with nothing started and nothing kept."""
    state = store.Store(repository.state)
    with state.lock('dry run', PATIENCE):
        converging = _Converge(repository, state, Wish('dry run'), Reporter(quiet=True))
        settings, commit = converging.wanted()
        return {name: converging.planned(name, one, commit, settings.unpacked_limit)
                for name, one in settings.unikernels.items()}


def owner(state: Path) -> str:
    """16 hex digits that tell this host's repository from every other one."""
    try:
        machine = Path('/etc/machine-id').read_text().strip()
    except OSError:
        machine = os.uname().nodename
    return hashlib.sha256(f'{machine}:{state}'.encode()).hexdigest()[:16]


class _Converge:
    def __init__(
        self, repository: Repository, state: store.Store, wish: Wish, report: Reporter
    ) -> None:
        self.repository, self.state, self.wish, self.report = repository, state, wish, report
        self.owner = owner(state.root)
        self.read: list[str] = []

    def all(self) -> list[model.Outcome]:
        store.write(self.state.settled, None)
        for text in launcher.reap(self.state, self.owner):
            self.report.step('mirage-hooks', text)
        try:
            settings, commit = self.wanted()
        except errors.Refused as refused:
            if not self.state.names():
                raise
            return [self._kept(name, refused) for name in self.state.names()]
        outcomes = [
            self._one(name, one, commit, settings.unpacked_limit)
            for name, one in settings.unikernels.items()
        ]
        gone = [name for name in self.state.names() if name not in settings.unikernels]
        outcomes += [outcome for name in gone if (outcome := self._removed(name)) is not None]
        self._settle(settings, outcomes)
        return outcomes

    def wanted(self) -> tuple[model.Settings, str]:
        """The configuration, and the commit that should run."""
        settings = config.load(self.repository.config_path())
        return settings, self.repository.commit(self.repository.branch(settings.branch))

    def planned(self, name: str, wanted: model.Unikernel, commit: str, limit: int) -> model.Plan:
        shelf = self.state.of(name)
        found = self.repository.find(commit, name, wanted)
        release = self._staged(shelf, name, wanted, found, limit, shelf.current())
        shelf.discard(release.number)
        return release.plan

    def _one(self, name: str, wanted: model.Unikernel, commit: str, limit: int) -> model.Outcome:
        began = time.monotonic()
        key = f'commit {commit}'  # what a failure is remembered by until the image is known
        shelf = self.state.of(name)
        try:
            self._decide(name, shelf)
            if (stopped := self._stopped(name, shelf)) is not None:
                return stopped
            found = self.repository.find(commit, name, wanted)
            self.read += found.read
            key = found.blob
            outcome = self._unchanged(name, shelf, wanted, found)
            return outcome or self._deployed(name, shelf, wanted, found, limit, began)
        except errors.Refused as refused:
            return self._failed(name, shelf, wanted, key, refused)

    def _decide(self, name: str, shelf: store.Shelf) -> None:
        """Write down what a person just decided."""
        if name in self.wish.pins:
            shelf.set_pin(self.wish.pins[name])
        if name in self.wish.anew:
            shelf.set_pin(None)
            shelf.set_failure(None)

    def _stopped(self, name: str, shelf: store.Shelf) -> model.Outcome | None:
        pin, current = shelf.pin(), shelf.current()
        if pin is None or not pin.stopped:
            return None
        if current is None or not launcher.alive(shelf, current):
            return model.Outcome(name, 'stopped')
        launcher.stop(shelf, current)
        self._note(name, 'stopped', current)
        return model.Outcome(name, 'stopped', reason=f'release {current.number} was ended')

    def _unchanged(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, found: model.Found
    ) -> model.Outcome | None:
        """The outcome when the live release is the one that should run; None when it is not."""
        current, pin = shelf.current(), shelf.pin()
        if pin is not None and pin.blob != found.blob:
            shelf.set_pin(None)  # a newer image ends a rollback
            pin = None
        if current is None or not (shelf.folder(current.number) / 'image').exists():
            return None
        same = (current.blob, current.fingerprint) == (found.blob, wanted.fingerprint)
        if not same and pin is None:
            return None
        restarted = self._revived(name, shelf, current)
        if pin is None:
            shelf.set_failure(None)
        kind: model.Kind = 'restarted' if restarted else 'pinned' if pin else 'unchanged'
        return model.Outcome(name, kind, current, 'it was not running' if restarted else '')

    def _deployed(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, found: model.Found,
        limit: int, began: float,
    ) -> model.Outcome:
        """Stage, try, switch: the new image's way to be live."""
        old = shelf.current()
        self._not_again(shelf, wanted, found)
        if found.notice:
            self.report.step(name, found.notice)
        new = self._staged(shelf, name, wanted, found, limit, old)
        if old is not None and _alike(old, new):
            return self._same_bytes(name, shelf, old, new)
        serving = old if old is not None and launcher.alive(shelf, old) else None
        try:
            self._tried(shelf, wanted, new)
            switch.replace(
                shelf, self.owner, serving, new, wanted, lambda text: self.report.step(name, text)
            )
        except errors.Refused:
            shelf.fail(new.number)
            raise
        shelf.set_failure(None)
        shelf.prune(wanted.keep)
        self._note(name, 'deployed', new, took=time.monotonic() - began)
        return model.Outcome(name, 'deployed', new)

    def _not_again(
        self, shelf: store.Shelf, wanted: model.Unikernel, found: model.Found
    ) -> None:
        known = shelf.failure()
        if known and (known.blob, known.fingerprint) == (found.blob, wanted.fingerprint):
            if not known.retry or time.time() < known.retry:
                raise _Remembered(known)

    def _staged(
        self, shelf: store.Shelf, name: str, wanted: model.Unikernel, found: model.Found,
        limit: int, old: model.Release | None,
    ) -> model.Release:
        """A new release, unpacked and planned; nothing of it remains when it is refused."""
        number = shelf.begin()
        try:
            folder = shelf.folder(number)
            self.report.step(name, f'unpacking {found.path} of commit {found.commit[:12]}')
            with store.writing(folder):
                unpacked = image.unpack(
                    self.repository.open(found.blob), folder / 'image', found.path,
                    limit * 1024 * 1024,
                )
            identity = image.identify(folder / 'image', found.path)
            slot: model.Slot = 'green' if old is not None and old.slot == 'blue' else 'blue'
            plan = targets.plan(self._request(name, number, slot, folder, wanted, identity))
            release = model.Release(
                unikernel=name, number=number, commit=found.commit, path=found.path,
                blob=found.blob, digest=unpacked.digest, size=unpacked.size,
                description=image.describe(identity, unpacked),
                fingerprint=wanted.fingerprint, slot=slot, created=journal.now(), plan=plan,
            )
            shelf.save(release)
        except BaseException:
            shelf.discard(number)
            raise
        return release
