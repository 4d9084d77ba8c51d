"""What is live: given way to, started again, ended."""

from __future__ import annotations

from .. import config
from ..git.repository import Repository
from ..messages import errors
from ..state import model, store
from ..state.releases import Releases
from ..switching import certified, conflicts, crashes, ended, launcher, overlap, switch
from . import changeover
from .context import Context


def died(repository: Repository) -> bool:
    """Whether a release that is to serve does not run."""
    state = store.opened(repository.state)
    return any(_died(state.of(name)) for name in state.names())


def _died(releases: Releases) -> bool:
    current = releases.current()
    if current is None or releases.stopped() or releases.placed():
        return False
    return not launcher.alive(releases, current)


def elsewhere(releases: Releases) -> bool:
    """Whether it is for Pacemaker to start it: that decides on which host it runs, and nothing runs
    here."""
    if not releases.placed():
        return False
    current = releases.current()
    return current is None or not launcher.alive(releases, current)


class Live:
    """Changes what serves, and says so."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def returned(
        self, name: str, releases: Releases, wanted: config.Unikernel, earlier: model.Release
    ) -> model.Outcome:
        """Put `earlier` in the place of what is live."""
        current = releases.current()
        serving = current if current is not None and launcher.alive(releases, current) else None
        gap = changeover.follow(self.context, releases, serving, earlier, wanted)
        reason = self.context.intent.reason
        self.context.note(name, 'rolled back', earlier, reason=reason, gap=gap)
        return model.Outcome(name, 'pinned', earlier)

    def running(
        self, name: str, releases: Releases, release: model.Release,
        wanted: config.Unikernel | None, kind: model.Kind = 'unchanged',
    ) -> model.Outcome:
        """The outcome, of `kind` when `release` ran: else it is started again, which says why, or
        stays ready for Pacemaker to start."""
        if elsewhere(releases):
            return model.Outcome(name, kind, ready=release)
        end = self.restarted(name, releases, release, wanted)
        if end is None:
            return model.Outcome(name, kind, release)
        was = 'silent' if end.reason == self.context.intent.reason else 'not running'
        reason = f'release {release.number} was {was}: {end.reason}' if end.reason else ''
        hint = f'its console may say why: mirage-hooks logs {name}' if reason else ''
        return model.Outcome(name, 'restarted', release, reason, end.hint or hint)

    def kept(self, releases: Releases) -> model.Release | None:
        """The live release, or the one that is ready, with an image that it can be started from
        again."""
        found = releases.current()
        if elsewhere(releases):
            found = releases.ready() or found
        there = found is not None and (releases.folder(found.number) / 'image').exists()
        return found if there else None

    def restarted(
        self, name: str, releases: Releases, release: model.Release,
        wanted: config.Unikernel | None,
    ) -> ended.End | None:
        """Start `release` if it does not run, or if a person wants it started anew, and see it
        serve as `wanted`; how it had ended, None when it runs."""
        alive = launcher.alive(releases, release)
        if alive and name not in self.context.restart:
            for interface in launcher.rejoin(release):
                self.context.report.step(name, f'put {interface} back on its bridge')
            return None
        with releases.change():
            return self._again(name, releases, release, wanted, alive)

    def _again(
        self, name: str, releases: Releases, release: model.Release,
        wanted: config.Unikernel | None, alive: bool,
    ) -> ended.End:
        self.context.restart.discard(name)
        end = self.stop(releases, release) if alive else self._end(releases, release)
        conflicts.require_none(self.context.state, name, wanted, release)
        before = releases.crashes()
        if name in self.context.intent.anew or name in self.context.intent.stopped:
            releases.set_crashes(None)  # a person wants it now
        else:
            crashes.count(releases, release, end)
        launcher.stop(releases, release)  # what is left of it: its tap, a crashed domain
        self.context.report.step(
            name, f'restarting release {release.number}' if alive
            else f'release {release.number} is not running: starting it'
        )
        try:
            self.start(name, releases, release, wanted)
        except errors.Unavailable:  # no crash: it must not wait once the cause is gone
            releases.set_crashes(before)
            raise
        self.context.note(name, 'restarted', release, reason=end.reason)
        return end

    def stop(self, releases: Releases, release: model.Release) -> ended.End:
        """End `release`, and at once what keeps its connections next to it."""
        others = releases.overlap()
        releases.set_overlap(None)
        self.context.switched = True
        launcher.stop(releases, release)
        for side in others.sides if others is not None and not others.bridge else ():
            kept = releases.release(side.release)
            if kept is not None and kept.number != release.number:  # it has the port
                launcher.stop(releases, kept)
        return ended.End(None, self.context.intent.reason)

    def _end(self, releases: Releases, release: model.Release) -> ended.End:
        """How `release` ended; without a reason when nobody saw it, as after a reboot."""
        code = launcher.ended(releases, release)
        end = ended.how(releases, release, code)
        return end if code is not None or end.hint else ended.End(None, '')

    def start(
        self, name: str, releases: Releases, release: model.Release,
        wanted: config.Unikernel | None,
    ) -> None:
        if wanted is not None:
            wanted = certified.starting(wanted, releases, release)
        if wanted is not None and overlap.possible(None, release, wanted):
            say = self.context.say(name)
            overlap.take_over(releases, self.context.owner, None, release, wanted, say)
        elif wanted is not None:
            switch.begin(releases, self.context.owner, release, wanted, self.context.say(name))
        else:
            launcher.start(releases, release, self.context.owner)

    def stopped(self, name: str, releases: Releases) -> model.Outcome | None:
        """The outcome while a person has stopped it, ended if need be; None when nobody has."""
        current = releases.current()
        if not releases.stopped():
            return None
        if current is None or not launcher.alive(releases, current):
            return model.Outcome(name, 'stopped')
        self.stop(releases, current)
        self.context.note(name, 'stopped', current)
        return model.Outcome(name, 'stopped', reason=f'release {current.number} was ended')

    def removed(self, name: str) -> model.Outcome | None:
        """End a unikernel that mirage.yml no longer names."""
        releases = self.context.state.of(name)
        current = releases.current()
        if releases.placed() and not elsewhere(releases):
            return model.Outcome(
                name, 'refused', current, 'Pacemaker runs it, and mirage.yml no longer names it',
                'have Pacemaker end it first, by the name that it has there, such as: '
                f'pcs resource delete {name}')
        releases.set_placed(False)
        releases.set_ready(None)
        if current is None:
            return None
        try:
            self.stop(releases, current)
            releases.unpoint()
        except errors.Refused as refused:
            return model.Outcome(name, 'refused', current, refused.reason, refused.hint)
        self.context.note(name, 'removed', current)
        return model.Outcome(name, 'removed')
