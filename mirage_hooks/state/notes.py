"""What is noted of one unikernel next to its releases: what a person decided, what failed, what
crashed, who is drained, and how far trust came. Each note is a file, and gone without it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from . import files, model


class Pin(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person decided, which holds until the tree's image is no longer `blob`
    (a stop: until start)."""

    stopped: bool = False
    release: int = 0
    blob: str = ''


class Held(msgspec.Struct, frozen=True):
    """An image of `commit` that this host may not take yet, while others of its cluster do: why,
    and since when (seconds since 1970)."""

    blob: str
    commit: str
    reason: str
    at: float


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A bad image, remembered: not tried again while blob and fingerprint stay the same.
    `retry` is when (seconds since 1970) to try all the same, 0 for never."""

    blob: str
    fingerprint: str
    reason: str
    at: float
    hint: str = ''
    count: int = 1
    retry: float = 0


class Crashes(msgspec.Struct, frozen=True):
    """A release that ends by itself: how often it was restarted and when last (seconds since
    1970); `code` is how it ended, where that is known, `reason` and `hint` say so in words;
    `told`, whether people know; `final`, that it is not started again."""

    release: int
    count: int
    at: float
    boot: str
    code: int | None = None
    told: bool = False
    reason: str = ''
    hint: str = ''
    final: bool = False


class Floor(msgspec.Struct, frozen=True):
    """The commit of `branch` that was last deployed and trusted: what comes must contain it."""

    branch: str
    commit: str


class Notes:
    """The notes on one unikernel, below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def overlap(self) -> model.Overlap | None:
        return files.read(self.root / 'overlap.json', model.Overlap)

    def set_overlap(self, overlap: model.Overlap | None) -> None:
        if overlap is not None or (self.root / 'overlap.json').exists():
            files.write(self.root / 'overlap.json', overlap)

    def pin(self) -> Pin | None:
        return files.read(self.root / 'pin.json', Pin)

    def set_pin(self, pin: Pin | None) -> None:
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

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """Note, where Pacemaker looks whether it runs, that we are about to start it or to put
        something in its place. A kill or a failure leaves the note: what was begun may live."""
        if not self.placed():
            yield
            return
        files.write(self.root / 'changing.json', os.getpid())
        try:
            yield
        except BaseException:
            files.write(self.root / 'changing.json', 0)
            raise
        self.set_unchanging()

    def changing(self) -> int | None:
        """The process that began such a change; 0 where it failed, None where none is noted."""
        return files.read(self.root / 'changing.json', int)

    def set_unchanging(self) -> None:
        """Nothing that was begun is left."""
        if (self.root / 'changing.json').exists():
            files.write(self.root / 'changing.json', None)

    def held(self) -> Held | None:
        return files.read(self.root / 'held.json', Held)

    def set_held(self, held: Held | None) -> None:
        if held is not None or (self.root / 'held.json').exists():
            files.write(self.root / 'held.json', held)

    def failure(self) -> Failure | None:
        return files.read(self.root / 'failure.json', Failure)

    def failure_of(self, blob: str, fingerprint: str) -> Failure | None:
        """The failure, where it is that of `blob` with all as it was then; see Failure."""
        known = self.failure()
        same = known is not None and (known.blob, known.fingerprint) == (blob, fingerprint)
        return known if same else None

    def set_failure(self, failure: Failure | None) -> None:
        if failure is not None or (self.root / 'failure.json').exists():
            files.write(self.root / 'failure.json', failure)

    def floor(self, branch: str) -> str:
        """The commit of `branch` that was last deployed and trusted, '' when there is none."""
        floor = files.read(self.root / 'floor.json', Floor)
        return floor.commit if floor is not None and floor.branch == branch else ''

    def set_floor(self, floor: Floor) -> None:
        if floor != files.read(self.root / 'floor.json', Floor):
            files.write(self.root / 'floor.json', floor)

    def forget_floor(self) -> bool:
        """Whether there was one."""
        with files.writing(self.root):
            had = (self.root / 'floor.json').exists()
            (self.root / 'floor.json').unlink(missing_ok=True)
        return had

    def crashes(self) -> Crashes | None:
        return files.read(self.root / 'crashes.json', Crashes)

    def set_crashes(self, crashes: Crashes | None) -> None:
        if crashes is not None or (self.root / 'crashes.json').exists():
            files.write(self.root / 'crashes.json', crashes)
