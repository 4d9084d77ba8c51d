"""What is noted of one unikernel next to its releases: what a person decided, what failed, what
crashed, who is drained, and how far trust came. Each note is a file, and gone without it."""

from __future__ import annotations

from pathlib import Path

from . import files, model


class Notes:
    """The notes on one unikernel, below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def overlap(self) -> model.Overlap | None:
        return files.read(self.root / 'overlap.json', model.Overlap)

    def set_overlap(self, overlap: model.Overlap | None) -> None:
        if overlap is not None or (self.root / 'overlap.json').exists():
            files.write(self.root / 'overlap.json', overlap)

    def pin(self) -> model.Pin | None:
        return files.read(self.root / 'pin.json', model.Pin)

    def set_pin(self, pin: model.Pin | None) -> None:
        files.write(self.root / 'pin.json', pin)

    def stopped(self) -> bool:
        """Whether a person stopped it, and nobody started it since."""
        pin = self.pin()
        return pin is not None and pin.stopped

    def placed(self) -> bool:
        """Whether Pacemaker decides if it runs here: nobody else starts it."""
        return (self.root / 'placed').exists()

    def set_placed(self, placed: bool) -> None:
        if placed != self.placed():
            files.write(self.root / 'placed', 'pacemaker' if placed else None)

    def held(self) -> model.Held | None:
        return files.read(self.root / 'held.json', model.Held)

    def set_held(self, held: model.Held | None) -> None:
        if held is not None or (self.root / 'held.json').exists():
            files.write(self.root / 'held.json', held)

    def failure(self) -> model.Failure | None:
        return files.read(self.root / 'failure.json', model.Failure)

    def failure_of(self, blob: str, fingerprint: str) -> model.Failure | None:
        """The failure, where it is that of `blob` with all as it was then; see model.Failure."""
        known = self.failure()
        same = known is not None and (known.blob, known.fingerprint) == (blob, fingerprint)
        return known if same else None

    def set_failure(self, failure: model.Failure | None) -> None:
        if failure is not None or (self.root / 'failure.json').exists():
            files.write(self.root / 'failure.json', failure)

    def floor(self, branch: str) -> str:
        """The commit of `branch` that was last deployed and trusted, '' when there is none."""
        floor = files.read(self.root / 'floor.json', model.Floor)
        return floor.commit if floor is not None and floor.branch == branch else ''

    def set_floor(self, floor: model.Floor) -> None:
        if floor != files.read(self.root / 'floor.json', model.Floor):
            files.write(self.root / 'floor.json', floor)

    def forget_floor(self) -> bool:
        """Whether there was one."""
        with files.writing(self.root):
            had = (self.root / 'floor.json').exists()
            (self.root / 'floor.json').unlink(missing_ok=True)
        return had

    def crashes(self) -> model.Crashes | None:
        return files.read(self.root / 'crashes.json', model.Crashes)

    def set_crashes(self, crashes: model.Crashes | None) -> None:
        if crashes is not None or (self.root / 'crashes.json').exists():
            files.write(self.root / 'crashes.json', crashes)
