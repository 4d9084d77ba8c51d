"""What is live: given way to, started again, ended."""

from __future__ import annotations

from .. import errors, model, store
from ..switching import conflicts, crashes, ended, launcher, overlap, switch
from .road import Road


class Live:
    """Changes what serves, and says so on the road."""

    def __init__(self, road: Road) -> None:
        self.road = road

    def switch(
        self, shelf: store.Shelf, old: model.Release | None, new: model.Release,
        wanted: model.Unikernel,
    ) -> None:
        """Side by side where both can be, one after the other elsewhere."""
        self.road.switched = True
        if overlap.beside(old, new, wanted):
            mode = overlap.take_over
        else:
            mode = switch.replace
            if shelf.overlap() is not None:
                shelf.set_overlap(None)
                self.road.tidy()
        mode(shelf, self.road.owner, old, new, wanted, self.road.say(new.unikernel))

    def returned(
        self, name: str, shelf: store.Shelf, wanted: model.Unikernel, earlier: model.Release
    ) -> model.Outcome:
        """Put `earlier` in the place of what is live."""
        current = shelf.current()
        serving = current if current is not None and launcher.alive(shelf, current) else None
        self.switch(shelf, serving, earlier, wanted)
        self.road.note(name, 'rolled back', earlier)
        return model.Outcome(name, 'pinned', earlier)

    def running(
        self, name: str, shelf: store.Shelf, release: model.Release,
        wanted: model.Unikernel, kind: model.Kind = 'unchanged',
    ) -> model.Outcome:
        """The outcome, of `kind` when `release` ran: else it is started again, which says why."""
        end = self.restarted(name, shelf, release, wanted)
        if end is None:
            return model.Outcome(name, kind, release)
        reason = f'release {release.number} was not running: {end.reason}' if end.reason else ''
        return model.Outcome(name, 'restarted', release, reason, end.hint)

    def restarted(
        self, name: str, shelf: store.Shelf, release: model.Release,
        wanted: model.Unikernel | None,
    ) -> ended.End | None:
        """Start `release` if it does not run, and see it serve as `wanted`; how it had ended, None
        when it runs."""
        if launcher.alive(shelf, release):
            for interface in launcher.mend(release):
                self.road.report.step(name, f'put {interface} back on its bridge')
            return None
        conflicts.require_none(self.road.state, name, wanted, release)
        before, end = shelf.crashes(), self._end(shelf, release)
        if name in self.road.wish.anew or name in self.road.wish.stopped:
            shelf.set_crashes(None)  # a person wants it now
        else:
            crashes.count(shelf, release, end)
        launcher.stop(shelf, release)  # what is left of it: its tap, a crashed domain
        self.road.report.step(name, f'release {release.number} is not running: starting it')
        try:
            self._start(name, shelf, release, wanted)
        except errors.Unavailable:  # no crash: it must not wait once the cause is gone
            shelf.set_crashes(before)
            raise
        self.road.note(name, 'restarted', release, reason=end.reason)
        return end

    def _end(self, shelf: store.Shelf, release: model.Release) -> ended.End:
        """How `release` ended; without a reason when nobody saw it, as after a reboot."""
        code = launcher.ended(shelf, release)
        end = ended.how(shelf, release, code)
        return end if code is not None or end.hint else ended.End(None, '')

    def _start(
        self, name: str, shelf: store.Shelf, release: model.Release,
        wanted: model.Unikernel | None,
    ) -> None:
        if wanted is not None and overlap.beside(None, release, wanted):
            overlap.take_over(shelf, self.road.owner, None, release, wanted, self.road.say(name))
        elif wanted is not None:
            switch.begin(shelf, self.road.owner, release, wanted, self.road.say(name))
        else:
            launcher.start(shelf, release, self.road.owner)

    def stopped(self, name: str, shelf: store.Shelf) -> model.Outcome | None:
        """The outcome while a person has stopped it, ended if need be; None when nobody has."""
        pin, current = shelf.pin(), shelf.current()
        if pin is None or not pin.stopped:
            return None
        if current is None or not launcher.alive(shelf, current):
            return model.Outcome(name, 'stopped')
        shelf.set_overlap(None)
        self.road.switched = True
        launcher.stop(shelf, current)
        self.road.note(name, 'stopped', current)
        return model.Outcome(name, 'stopped', reason=f'release {current.number} was ended')

    def removed(self, name: str) -> model.Outcome | None:
        """End a unikernel that mirage.yml no longer names."""
        shelf = self.road.state.of(name)
        current = shelf.current()
        if current is None:
            return None
        try:
            shelf.set_overlap(None)
            self.road.switched = True
            launcher.stop(shelf, current)
            shelf.unpoint()
        except errors.Refused as refused:
            return model.Outcome(name, 'refused', current, refused.reason, refused.hint)
        self.road.note(name, 'removed', current)
        return model.Outcome(name, 'removed')
