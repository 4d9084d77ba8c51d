"""The road from a tree to a running unikernel, walked the same way by every hook, cron tick and
command: what should run is worked out, what runs is asked, and the difference is made good."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

import msgspec

from . import config, errors, image, journal, model, secret, settled, store, targets, trust
from .host import facts, network, system
from .report import Reporter
from .repository import Repository
from .switching import crashes, demands, drain, health, launcher, overlap, switch

BACK_OFF = (60, 3600)  # seconds before the second try after an outside cause, and the longest wait


class Wish(msgspec.Struct, frozen=True):
    """Why a converge runs. `anew` names unikernels whose pins and remembered failures are
    dropped; `stopped` says which ones a person stopped (True) or started."""

    trigger: str
    anew: tuple[str, ...] = ()
    stopped: dict[str, bool] = {}


def converge(repository: Repository, wish: Wish, report: Reporter) -> list[model.Outcome]:
    """Make what runs equal what should run; one outcome for each unikernel. Raises Refused only
    when nothing at all can be told."""
    state = store.Store(repository.state)
    with state.lock(wish.trigger, store.PATIENCE, report.waiting):
        return _Converge(repository, state, wish, report).all()


def prove(
    repository: Repository, pushed: dict[str, str], wish: Wish, report: Reporter
) -> list[model.Outcome]:
    """The gate: why `pushed` (the new commit of each reference, '' where it is deleted) must not be
    accepted; nothing when it would serve, or concerns nothing here. What runs is not touched."""
    settings = config.load(repository.config_path())
    concerned = {
        name: pushed[branch] for name, one in settings.unikernels.items()
        if (branch := f'refs/heads/{repository.branch(one.branch or settings.branch)}') in pushed
    }
    if not settings.gate or not concerned:
        return []
    state = store.Store(repository.state)
    with state.lock(wish.trigger, store.PATIENCE, report.waiting):
        return _Converge(repository, state, wish, report).refusals(concerned)


def rollback(
    repository: Repository, name: str, number: int | None, trigger: str, report: Reporter
) -> model.Outcome:
    """Go back to release `number` of `name` (the one before the live one by default), from local
    files alone. Raises Refused when there is no such release or it does not serve."""
    state = store.Store(repository.state)
    with state.lock(trigger, store.PATIENCE, report.waiting):
        return _Converge(repository, state, Wish(trigger), report).back(name, number)


def forget_floor(repository: Repository, trigger: str) -> list[str]:
    """Begin trust anew, as after a rewind that was meant: which unikernels had a floor."""
    state = store.Store(repository.state)
    with state.lock(trigger, store.PATIENCE):
        store.write(state.settled, None)
        had = [name for name in state.names() if state.of(name).forget_floor()]
        for name in had:
            journal.append(state.history, journal.Entry(
                at=journal.now(), unikernel=name, event='trust begun anew', trigger=trigger,
            ))
    return had


def dry_run(repository: Repository, names: tuple[str, ...]) -> dict[str, model.Plan]:
    """The plans of the unikernels `names`, with nothing started and nothing kept."""
    state = store.Store(repository.state)
    with state.lock('dry run', store.PATIENCE):
        converging = _Converge(repository, state, Wish('dry run'), Reporter(quiet=True))
        settings = converging.settings()
        return {name: converging.planned(name, settings.unikernels[name], settings)
                for name in names}


class _Converge:
    def __init__(
        self, repository: Repository, state: store.Store, wish: Wish, report: Reporter
    ) -> None:
        self.repository, self.state, self.wish, self.report = repository, state, wish, report
        self.owner = facts.owner(state.root)
        self.read: dict[str, list[str]] = {}
        self.fingerprints: dict[str, str] = {}
        self.requests: dict[int, targets.Request] = {}
        self.commits: dict[str, str] = {}
        self.switched = False

    def all(self) -> list[model.Outcome]:
        store.write(self.state.settled, None)
        self._tidy()
        try:
            settings = self.settings()
        except errors.Refused as refused:
            if not self.state.names():
                raise
            return [self._kept(name, refused) for name in self.state.names()]
        outcomes = [
            self._one(name, one, settings)
            for name, one in settings.unikernels.items()
        ]
        gone = [name for name in self.state.names() if name not in settings.unikernels]
        outcomes += [outcome for name in gone if (outcome := self._removed(name)) is not None]
        self.state.forget_proofs()
        self._drain()
        self._settle(outcomes)
        return outcomes

    def _tidy(self) -> None:
        """Make what is there equal the state, whatever was killed or has drained meanwhile."""
        try:
            for text in drain.settle(self.state, self.owner):
                self.report.step('mirage-hooks', text)
            self.state.sweep()
        except errors.Unavailable as refused:  # a stuck domain must not keep a new image away
            self.report.step('mirage-hooks', refused.reason)

    def refusals(self, pushed: dict[str, str]) -> list[model.Outcome]:
        """What refuses the commit that is `pushed` for each unikernel."""
        self._tidy()
        self.state.forget_proofs()
        settings = self.settings()
        outcomes = [
            self._refusal(name, settings, commit) for name, commit in pushed.items()
        ]
        refused = [outcome for outcome in outcomes if outcome is not None]
        if refused:
            self.state.forget_proofs()
        return refused

    def _drain(self) -> None:
        """After a switch: end what has nothing to wait for, and let a process of its own end the
        rest, for the push is not to wait. When that one is killed, the next converge ends it."""
        if self.switched:
            self._tidy()
        if drain.draining(self.state):
            system.detach((
                sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(self.repository.git_dir),
                'drain',
            ))

    def back(self, name: str, number: int | None) -> model.Outcome:
        store.write(self.state.settled, None)
        self._tidy()
        settings = self.settings()
        if name not in settings.unikernels:
            raise errors.Refused(f'mirage.yml names no unikernel {name}')
        shelf, wanted = self.state.of(name), settings.unikernels[name]
        current = shelf.current()
        earlier = shelf.release(number) if number is not None else shelf.previous()
        if earlier is None or not (shelf.folder(earlier.number) / 'image').exists():
            kept = ', '.join(str(release.number) for release in shelf.releases()) or 'none'
            which = f'release {number}' if number is not None else 'earlier release'
            raise errors.Refused(f'{name} has no {which} here', hint=f'it has: {kept}')
        if current is not None and earlier.number == current.number:
            raise errors.Refused(f'{name} is at release {earlier.number} already')
        before = shelf.pin()
        turned_down = self._turned_down(name, wanted, settings)
        shelf.set_pin(model.Pin(release=earlier.number, blob=turned_down))
        try:
            return self._returned(name, shelf, wanted, earlier)
        except errors.Refused as refused:
            shelf.set_pin(before)
            self._note(name, 'not rolled back', earlier, reason=refused.reason)
            console = launcher.tail(launcher.console(shelf, earlier))
            return self._kept(name, refused, console)
        finally:
            self._drain()

    def _returned(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, earlier: model.Release
    ) -> model.Outcome:
        """Put `earlier` in the place of what is live."""
        current = shelf.current()
        serving = current if current is not None and launcher.alive(shelf, current) else None
        self._switch(shelf, serving, earlier, wanted)
        self._note(name, 'rolled back', earlier)
        return model.Outcome(name, 'pinned', earlier)

    def _turned_down(
        self, name: str, wanted: model.Unikernel, settings: model.Settings
    ) -> str:
        """What the tree holds while a rollback holds: the rollback ends when it changes."""
        commit = ''
        try:
            commit = self._commit(wanted, settings)
            return self.repository.find(commit, name, wanted).blob
        except errors.Refused:
            return f'commit {commit}'

    def settings(self) -> model.Settings:
        return config.load(self.repository.config_path())

    def planned(
        self, name: str, wanted: model.Unikernel, settings: model.Settings
    ) -> model.Plan:
        shelf = self.state.of(name)
        found = self.repository.find(self._commit(wanted, settings), name, wanted)
        release = self._staged(shelf, name, wanted, found, settings.unpacked_limit)
        shelf.discard(release.number)
        return release.plan

    def _commit(self, wanted: model.Unikernel, settings: model.Settings) -> str:
        """The commit whose tree says what should run."""
        return self.repository.commit(self._branch(wanted, settings))

    def _branch(self, wanted: model.Unikernel, settings: model.Settings) -> str:
        return self.repository.branch(wanted.branch or settings.branch)

    def _one(
        self, name: str, wanted: model.Unikernel, settings: model.Settings
    ) -> model.Outcome:
        began = time.monotonic()
        key = 'no commit'  # what a failure is remembered by until the image is known
        shelf = self.state.of(name)
        try:
            self._decide(name, shelf)
            if (stopped := self._stopped(name, shelf)) is not None:
                return stopped
            commit = self._commit(wanted, settings)
            key = f'commit {commit}'
            self._require_trust(shelf, wanted, settings, commit)
            found = self.repository.find(commit, name, wanted)
            self._digest_secrets(name, wanted)
            branch = self._branch(wanted, settings)
            revision = self.repository.revision(branch)
            self.read.setdefault(revision, []).extend(found.read)
            if settings.trust is not None:
                self.commits[revision] = commit
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
            return self._waiting(name, shelf, waiting)
        except errors.Refused as refused:
            return self._failed(name, shelf, wanted, key, refused)

    def _waiting(
        self, name: str, shelf: store.Shelf, waiting: crashes.Waiting
    ) -> model.Outcome:
        """The outcome while a release that ended by itself is left alone; said aloud once."""
        if waiting.told:
            return model.Outcome(name, 'remembered', None, waiting.reason, waiting.hint)
        self._note(name, 'crashed', shelf.current(), reason=waiting.reason)
        current = shelf.current()
        console = launcher.tail(launcher.console(shelf, current)) if current else ()
        return model.Outcome(name, 'refused', None, waiting.reason, waiting.hint, console)

    def _digest_secrets(self, name: str, wanted: model.Unikernel) -> None:
        """Let the fingerprint of `name` change with its secrets too."""
        if wanted.secrets:
            secret.check(wanted, (self.repository.folder, self.repository.git_dir))
            secrets = secret.digest(wanted, self.state.key())
            self.fingerprints[name] = f'{wanted.fingerprint[:8]}{secrets[:8]}'

    def _same(
        self, current: model.Release, name: str, wanted: model.Unikernel, found: model.Found
    ) -> bool:
        """Whether `current` is the image that is wanted, started as it is wanted."""
        known = (current.blob, current.fingerprint)
        return known == (found.blob, self._fingerprint(name, wanted))

    def _fingerprint(self, name: str, wanted: model.Unikernel) -> str:
        return self.fingerprints.get(name, wanted.fingerprint)

    def _refusal(
        self, name: str, settings: model.Settings, commit: str
    ) -> model.Outcome | None:
        """Why `name` must not be deployed from `commit`; None when it serves or is unchanged. A
        refusal leaves nothing but a line in the history."""
        shelf, proof = self.state.of(name), self.state.proof(name)
        try:
            self._proved(name, shelf, proof, settings, commit)
        except errors.Refused as refused:
            tried = proof.release(proof.last())
            console = launcher.tail(launcher.console(proof, tried)) if tried else ()
            self._note(name, 'refused', None, reason=refused.reason)
            return model.Outcome(
                name, 'refused', shelf.current(), refused.reason, refused.hint, console
            )
        return None

    def _proved(
        self, name: str, shelf: store.Shelf, proof: store.Shelf, settings: model.Settings,
        commit: str,
    ) -> None:
        """Try what `commit` holds, on the shelf `proof`; raises Refused when it does not serve."""
        wanted = settings.unikernels[name]
        branch = self._branch(wanted, settings)
        if not commit:
            raise errors.Refused(
                f'branch {branch} is what is deployed here, and the push would delete it',
                hint='end the unikernel first: take it out of mirage.yml',
            )
        self._require_trust(shelf, wanted, settings, commit)
        found = self.repository.find(commit, name, wanted)
        self._digest_secrets(name, wanted)
        current, pin = shelf.current(), shelf.pin()
        if pin is not None and pin.blob == found.blob:
            return  # turned down by a rollback, which goes on holding
        if current is not None and self._same(current, name, wanted, found):
            return
        self._not_again(shelf, self._fingerprint(name, wanted), found)
        new = self._staged(proof, name, wanted, found, settings.unpacked_limit)
        if current is None or not _alike(current, new):
            tried = self._rehearsed(proof, wanted, new)
            self.report.step(name, 'it serves' if tried else 'it cannot be tried beside what runs')
        proof.point(new.number)

    def _require_trust(
        self, shelf: store.Shelf, wanted: model.Unikernel, settings: model.Settings, commit: str
    ) -> None:
        """Raise Refused unless all that came to `commit` since the last deployment is trusted."""
        if settings.trust is not None:
            floor = shelf.floor(self._branch(wanted, settings))
            trust.verify(self.repository, settings.trust, floor, commit, self.state.programs)

    def _decide(self, name: str, shelf: store.Shelf) -> None:
        """Write down what a person just decided."""
        if name in self.wish.stopped:  # a rollback outlasts a stop
            old = shelf.pin() or model.Pin()
            new = msgspec.structs.replace(old, stopped=self.wish.stopped[name])
            shelf.set_pin(None if new == model.Pin() else new)
        if name in self.wish.anew:
            pin = shelf.pin()
            if pin is not None and not pin.stopped:  # a stop holds until `start`
                shelf.set_pin(None)
            shelf.set_failure(None)

    def _stopped(self, name: str, shelf: store.Shelf) -> model.Outcome | None:
        pin, current = shelf.pin(), shelf.current()
        if pin is None or not pin.stopped:
            return None
        if current is None or not launcher.alive(shelf, current):
            return model.Outcome(name, 'stopped')
        shelf.set_overlap(None)
        self.switched = True
        launcher.stop(shelf, current)
        self._note(name, 'stopped', current)
        return model.Outcome(name, 'stopped', reason=f'release {current.number} was ended')

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
            restarted = self._revived(name, shelf, current, wanted)
            return model.Outcome(name, 'restarted' if restarted else 'pinned', current)
        try:  # the rollback was interrupted
            return self._returned(name, shelf, wanted, pinned)
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
        if not self._same(current, name, wanted, found):
            return None
        restarted = self._revived(name, shelf, current, wanted)
        shelf.set_failure(None)
        return model.Outcome(name, 'restarted' if restarted else 'unchanged', current)

    def _deployed(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, found: model.Found,
        limit: int, began: float,
    ) -> model.Outcome:
        """Stage, try, switch: the new image's way to be live."""
        old = shelf.current()
        self._not_again(shelf, self._fingerprint(name, wanted), found)
        if found.notice:
            self.report.step(name, found.notice)
        shelf.forget_console()
        new = self._staged(shelf, name, wanted, found, limit)
        if old is not None and _alike(old, new) and (shelf.folder(old.number) / 'image').exists():
            return self._same_bytes(name, shelf, wanted, old, new)
        serving = old if old is not None and launcher.alive(shelf, old) else None
        try:
            if not self._passed_gate(new) and not self._beside(old, new, wanted):
                self._rehearsed(shelf, wanted, new)
            self._switch(shelf, serving, new, wanted)
        except errors.Refused:
            shelf.fail(new.number, launcher.console(shelf, new))
            raise
        shelf.set_failure(None)
        shelf.prune(wanted.keep)
        self._note(name, 'deployed', new, took=time.monotonic() - began)
        return model.Outcome(name, 'deployed', new)

    def _not_again(
        self, shelf: store.Shelf, fingerprint: str, found: model.Found
    ) -> None:
        known = shelf.failure()
        if known is None or (known.blob, known.fingerprint) != (found.blob, fingerprint):
            return
        # The clock may have been set back since: then nobody knows how long ago that was.
        if not known.retry or known.at - 1 <= time.time() < known.retry:
            raise _Remembered(known)

    def _staged(
        self, shelf: store.Shelf, name: str, wanted: model.Unikernel, found: model.Found,
        limit: int,
    ) -> model.Release:
        """A new release, unpacked and planned; nothing of it remains when it is refused."""
        number = shelf.begin(self.state.of(name).last())
        try:
            folder = shelf.folder(number)
            took = self._taken(name, folder, found, limit)
            _expect(took.target, wanted, name)
            old = self.state.of(name).current()
            slot: model.Slot = 'green' if old is not None and old.slot == 'blue' else 'blue'
            request = self._request(name, number, slot, folder, wanted, took)
            release = model.Release(
                unikernel=name, number=number, commit=found.commit, path=found.path,
                blob=found.blob, digest=took.digest, size=took.size,
                description=image.describe(took),
                fingerprint=self._fingerprint(name, wanted), slot=slot,
                created=journal.now(),
                plan=targets.plan(request), network=wanted.alone,
            )
            shelf.save(release)
        except BaseException:
            shelf.discard(number)
            raise
        return release

    def _request(
        self, name: str, number: int, slot: model.Slot, folder: Path, wanted: model.Unikernel,
        took: image.Image,
    ) -> targets.Request:
        """What its target is asked to plan, once this host is seen to have what it takes."""
        places = (self.repository.folder, self.repository.git_dir)
        request = targets.Request(
            name, number, slot, str(folder), wanted, took.target, self.owner, took.style,
            took.devices, host=facts.look(), program=demands.tender(took.target, wanted, took.abi),
            largest=demands.disks(name, wanted, places),
        )
        targets.plan(request)  # what does not fit is refused before the image is asked
        request = msgspec.structs.replace(request, options=demands.options(request))
        demands.owned(request)
        demands.side_by_side(name, wanted)
        self.requests[number] = request
        return request

    def _taken(self, name: str, folder: Path, found: model.Found, limit: int) -> image.Image:
        """The image, unpacked into `folder`, or moved there when the gate has unpacked it."""
        proof = self.state.proof(name)
        passed = proof.current()
        with store.writing(folder):
            if passed is not None and passed.blob == found.blob:
                ready = proof.folder(passed.number) / 'image'
                if ready.exists():
                    ready.replace(folder / 'image')
                    identity = image.identify(folder / 'image', name=found.path)
                    return image.Image(
                        digest=passed.digest, size=passed.size, **msgspec.structs.asdict(identity)
                    )
            self.report.step(name, f'unpacking {found.path} of commit {found.commit[:12]}')
            return image.take(
                self.repository.open(found.blob), folder / 'image', name=found.path,
                limit=limit * 1024 * 1024,
            )

    def _passed_gate(self, new: model.Release) -> bool:
        """Whether the push of `new` was accepted because it served."""
        passed = self.state.proof(new.unikernel).current()
        return passed is not None and _alike(passed, new)

    def _switch(
        self, shelf: store.Shelf, old: model.Release | None, new: model.Release,
        wanted: model.Unikernel,
    ) -> None:
        """Side by side where both can be, one after the other elsewhere."""
        self.switched = True
        if self._beside(old, new, wanted):
            mode = overlap.take_over
        else:
            mode = switch.replace
            if shelf.overlap() is not None:
                shelf.set_overlap(None)
                self._tidy()
        mode(shelf, self.owner, old, new, wanted, self._say(new.unikernel))

    def _rehearsed(self, shelf: store.Shelf, wanted: model.Unikernel, new: model.Release) -> bool:
        """Try the new image while the old one serves: on a spare port, or at its own address on a
        stage; False where neither can be. Raises Refused when it does not serve there."""
        asked, say = self.requests[new.number], self._say(new.unikernel)
        # systemd would start what ends again, and a trial is to be seen ending.
        asked = msgspec.structs.replace(asked, host=msgspec.structs.replace(asked.host, systemd=''))
        if isinstance(wanted.network, model.Socket) and wanted.port is not None:
            spare = switch.spare_port()
            own = msgspec.structs.replace(wanted.network, port=spare)
            moved = msgspec.structs.replace(wanted, network=own)
            plan = targets.plan(msgspec.structs.replace(asked, wanted=moved))
            switch.rehearse(shelf, new, plan, health.at_port(wanted, spare), say)
        elif self._beside(None, new, wanted):
            trial = msgspec.structs.replace(new, plan=targets.plan(asked))
            overlap.rehearse(shelf, self.owner, trial, wanted, say)
        else:
            return False
        return True

    def _beside(
        self, old: model.Release | None, new: model.Release, wanted: model.Unikernel
    ) -> bool:
        """Whether `new` can be proved and serve beside `old`."""
        alone = all(release is None or release.network for release in (old, new))
        return alone and overlap.possible(wanted)

    def _same_bytes(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, old: model.Release,
        new: model.Release,
    ) -> model.Outcome:
        """Packed anew or under another name, the same image: what runs goes on running."""
        shelf.discard(new.number)
        kept = msgspec.structs.replace(old, commit=new.commit, path=new.path, blob=new.blob)
        shelf.save(kept)
        shelf.set_failure(None)
        restarted = self._revived(name, shelf, kept, wanted)
        return model.Outcome(name, 'restarted' if restarted else 'unchanged', kept)

    def _revived(
        self, name: str, shelf: store.Shelf, release: model.Release,
        wanted: model.Unikernel | None,
    ) -> bool:
        """Start `release` if it does not run, and see it serve as `wanted`; whether it had to."""
        if launcher.alive(shelf, release):
            for interface in launcher.mend(release):
                self.report.step(name, f'put {interface} back on its bridge')
            return False
        if name in self.wish.anew or name in self.wish.stopped:
            shelf.set_crashes(None)  # a person wants it now
        else:
            crashes.count(shelf, release, launcher.ended(shelf, release))
        launcher.stop(shelf, release)  # what is left of it: its tap, a crashed domain
        self.report.step(name, f'release {release.number} is not running: starting it')
        if wanted is not None and release.network and overlap.possible(wanted):
            overlap.take_over(shelf, self.owner, None, release, wanted, self._say(name))
        elif wanted is not None:
            switch.begin(shelf, self.owner, release, wanted, self._say(name))
        else:
            launcher.start(shelf, release, self.owner)
        self._note(name, 'restarted', release)
        return True

    def _failed(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, key: str,
        refused: errors.Refused,
    ) -> model.Outcome:
        """Remember the bad image, keep what serves, say why."""
        if isinstance(refused, _Remembered):
            return self._kept(name, refused)
        known = shelf.failure()
        fingerprint = self._fingerprint(name, wanted)
        again = known is not None and (known.blob, known.fingerprint) == (key, fingerprint)
        outside = isinstance(refused, errors.Unavailable)
        found = not key.startswith(('commit ', 'no commit'))
        if known and again and not found and not outside and known.reason == refused.reason:
            return self._kept(name, _Remembered(known))  # found out anew, but told before
        count = known.count + 1 if known and again else 1
        wait = min(BACK_OFF[0] * 2 ** (count - 1), BACK_OFF[1]) if outside else 0
        with contextlib.suppress(errors.Unavailable):  # a full disk: what serves comes first
            shelf.set_failure(model.Failure(
                blob=key, fingerprint=fingerprint, reason=refused.reason, at=journal.now(),
                hint=refused.hint, count=count, retry=time.time() + wait if wait else 0,
            ))
        self._note(name, 'refused', None, reason=refused.reason)
        return self._kept(name, refused, launcher.tail(shelf.failed_console) if found else ())

    def _kept(
        self, name: str, refused: errors.Refused, console: tuple[str, ...] = ()
    ) -> model.Outcome:
        """The outcome of a refusal: whatever was live goes on, or is brought back."""
        shelf = self.state.of(name)
        current, pin = shelf.current(), shelf.pin()
        kind: model.Kind = 'remembered' if isinstance(refused, _Remembered) else 'refused'
        reason = refused.reason
        if current is not None and not (pin and pin.stopped):
            try:
                if self._revived(name, shelf, current, None):  # a change, so never silent
                    kind = 'refused'
                    reason += f'; release {current.number} had ended, and was started again'
            except errors.Refused as worse:
                reason = f'{refused.reason}; and release {current.number} does not start: {worse}'
                reason = refused.reason if worse.reason == refused.reason else reason
                return model.Outcome(name, 'refused', None, reason, worse.hint, console)
        elif pin and pin.stopped:
            current = None
        return model.Outcome(name, kind, current, reason, refused.hint, console)

    def _removed(self, name: str) -> model.Outcome | None:
        """End a unikernel that mirage.yml no longer names."""
        shelf = self.state.of(name)
        current = shelf.current()
        if current is None:
            return None
        try:
            shelf.set_overlap(None)
            self.switched = True
            launcher.stop(shelf, current)
            shelf.unpoint()
        except errors.Refused as refused:
            return model.Outcome(name, 'refused', current, refused.reason, refused.hint)
        self._note(name, 'removed', current)
        return model.Outcome(name, 'removed')

    def _settle(self, outcomes: list[model.Outcome]) -> None:
        """Let the next hook go home at once when all is well and nothing changed since."""
        runs, consoles, secrets = [], [], []
        ports: dict[str, str] = {}
        if drain.draining(self.state):
            return
        for outcome in outcomes:
            release = outcome.running
            if outcome.failed or (release is not None and release.plan.domain):
                return  # only the long way can tell
            run = self.state.of(outcome.unikernel).run(release.number) if release else None
            if release is not None and run is None:
                return
            runs += [(run.pid, run.started, run.boot)] if run else []
            if release is not None:
                consoles.append(launcher.console(self.state.of(outcome.unikernel), release))
                secrets += [Path(one.file) for one in release.plan.secrets.values()]
                ports |= {t.name: network.bridge_of(t.name) for t in release.plan.taps}
        named = self.repository.setting('mirage.config')
        path = self.repository.config_path()
        head = self.repository.head()
        facts = settled.facts(
            path, named, head, self.read, runs, consoles, secrets, ports, self.commits
        )
        store.write(self.state.settled, facts)

    def _say(self, name: str) -> switch.Say:
        return lambda text: self.report.step(name, text)

    def _note(
        self, name: str, event: str, release: model.Release | None, reason: str = '',
        took: float = 0,
    ) -> None:
        entry = journal.Entry(
            at=journal.now(), unikernel=name, event=event, trigger=self.wish.trigger,
            release=release.number if release else 0, commit=release.commit if release else '',
            digest=release.digest if release else '', reason=reason, took=round(took, 3),
        )
        try:
            journal.append(self.state.history, entry)
        except errors.Unavailable as refused:  # a full disk undoes nothing of what was done
            self.report.step(name, f'{event}, but not in the history: {refused.reason}')


class _Remembered(errors.Refused):
    """A failure that is already known, and not tried again."""

    def __init__(self, known: model.Failure) -> None:
        super().__init__(known.reason, known.hint)


def _expect(target: str, wanted: model.Unikernel, name: str) -> None:
    if target not in targets.TABLE:
        raise errors.Refused(
            f'the image is built for {target}, which mirage-hooks does not launch',
            hint=f'build it for one of {", ".join(targets.TABLE)}',
        )
    if wanted.target not in (None, target):
        raise errors.Refused(
            f'the image is built for {target}, but {name}.target is {wanted.target}',
            hint=f'rebuild it with `mirage configure -t {wanted.target}`, or mend `target:` in '
            'mirage.yml',
        )


def _alike(old: model.Release, new: model.Release) -> bool:
    return (old.digest, old.fingerprint) == (new.digest, new.fingerprint)
