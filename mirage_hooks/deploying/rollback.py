"""Back to an earlier release, from local files alone."""

from __future__ import annotations

import msgspec

from .. import config
from ..git.repository import Repository
from ..messages import errors
from ..messages.report import Reporter
from ..state import files, journal, model, notes, store
from ..state.releases import Releases
from ..switching import consoles
from .candidate import Candidates
from .context import Context, Intent
from .live import Live
from .refusal import Refusals


def rollback(
    repository: Repository, name: str, number: int | None, trigger: str, report: Reporter
) -> model.Outcome:
    """Go back to release `number` of `name` (the one before the live one by default), from local
    files alone. Raises Refused when there is no such release or it does not serve."""
    state = store.opened(repository.state)
    with state.lock(trigger, store.PATIENCE, report.waiting):
        return Rollback(Context(repository, state, Intent(trigger), report)).back(name, number)


def turned_down(
    context: Context, name: str, releases: Releases, current: model.Release, reason: str,
    hint: str, earlier: int | None = None,
) -> model.Outcome:
    """Back to release `earlier`, or the one before `current`, whose image is remembered like any
    bad one."""
    outcome = Rollback(context).back(name, earlier)
    if outcome.failed:
        return outcome
    releases.set_failure(notes.Failure(
        blob=current.blob, fingerprint=current.fingerprint, reason=reason, at=journal.now(),
        hint=hint,
    ))
    context.note(name, 'refused', current, reason=reason)
    return msgspec.structs.replace(outcome, reason=reason, hint=hint)


class Rollback:
    """A person turns down what the tree holds."""

    def __init__(self, context: Context) -> None:
        self.context, self.live = context, Live(context)
        self.refusals = Refusals(context, Candidates(context), self.live)

    def back(self, name: str, number: int | None) -> model.Outcome:
        """Make release `number`, or the one before, live, and pin it; raises Refused when there is
        none. What serves goes on when it does not."""
        files.write(self.context.state.fastpath, None)
        self.context.tidy()
        settings = self._settings()
        if name not in settings.unikernels:
            raise errors.Refused(f'mirage.yml names no unikernel {name}')
        releases, wanted = self.context.state.of(name), settings.unikernels[name]
        current = releases.current()
        earlier = releases.release(number) if number is not None else releases.previous()
        if earlier is None or not (releases.folder(earlier.number) / 'image').exists():
            raise _none(name, number, releases)
        if current is not None and earlier.number == current.number:
            raise errors.Refused(f'{name} is at release {earlier.number} already')
        before = releases.pin()
        turned_down = self._turned_down(name, wanted, settings)
        releases.set_pin(notes.Pin(release=earlier.number, blob=turned_down))
        try:
            return self.live.returned(name, releases, wanted, earlier)
        except errors.Refused as refused:
            releases.set_pin(before)
            self.context.note(name, 'not rolled back', earlier, reason=refused.reason)
            console = consoles.tail(consoles.of(releases, earlier))
            return self.refusals.kept(name, refused, console, f'mirage-hooks logs {name}')
        finally:
            self.context.leave()

    def _settings(self) -> config.Settings:
        """What mirage.yml says; where it is refused, that is told, and it is what it said last."""
        try:
            return self.context.settings()
        except errors.Refused as refused:
            last = store.last_settings(self.context.state)
            if last is None:
                raise
            self.context.report.refused(refused.reason, refused.hint)
            return last

    def _turned_down(
        self, name: str, wanted: config.Unikernel, settings: config.Settings
    ) -> str:
        """What the tree holds while a rollback holds: the rollback ends when it changes."""
        commit = ''
        try:
            commit = self.context.commit(wanted, settings)
            return self.context.repository.find(
                commit, name, wanted, settings.unpacked_limit << 20
            ).blob
        except errors.Refused:
            return f'commit {commit}'


def _none(name: str, number: int | None, releases: Releases) -> errors.Refused:
    """That there is no release to go back to, and which can be had."""
    current = releases.current()
    live = current.number if current else 0
    others = [str(one.number) for one in releases.served() if one.number != live]
    if number is not None:
        what = f'release {number} of {name} is not kept here'
    elif live:
        what = f'{name} has no release before {live}, which is live'
    else:
        what = f'{name} was never deployed: there is no release to go back to'
    if others:
        return errors.Refused(what, hint=f'kept besides it: {", ".join(others)}; to go to one: '
                              f'mirage-hooks rollback {name} {others[-1]}')
    return errors.Refused(what, hint='no other release is kept here; `mirage-hooks history` says '
                          'what was deployed')
