"""Back to an earlier release, from local files alone."""

from __future__ import annotations

from .. import errors, model, store
from ..switching import launcher
from .candidate import Candidates
from .live import Live
from .refusal import Refusals
from .road import Road


class Rollback:
    """A person turns down what the tree holds."""

    def __init__(self, road: Road) -> None:
        self.road, self.live = road, Live(road)
        self.refusals = Refusals(road, Candidates(road), self.live)

    def back(self, name: str, number: int | None) -> model.Outcome:
        """Make release `number`, or the one before, live, and pin it; raises Refused when there is
        none. What serves goes on when it does not."""
        store.write(self.road.state.settled, None)
        self.road.tidy()
        settings = self.road.settings()
        if name not in settings.unikernels:
            raise errors.Refused(f'mirage.yml names no unikernel {name}')
        shelf, wanted = self.road.state.of(name), settings.unikernels[name]
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
            return self.live.returned(name, shelf, wanted, earlier)
        except errors.Refused as refused:
            shelf.set_pin(before)
            self.road.note(name, 'not rolled back', earlier, reason=refused.reason)
            console = launcher.tail(launcher.console(shelf, earlier))
            return self.refusals.kept(name, refused, console)
        finally:
            self.road.leave()

    def _turned_down(
        self, name: str, wanted: model.Unikernel, settings: model.Settings
    ) -> str:
        """What the tree holds while a rollback holds: the rollback ends when it changes."""
        commit = ''
        try:
            commit = self.road.commit(wanted, settings)
            return self.road.repository.find(
                commit, name, wanted, settings.unpacked_limit << 20
            ).blob
        except errors.Refused:
            return f'commit {commit}'
