"""The releases of one unikernel: begun, kept, discarded, gone back to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from . import files, model
from .pointers import Pointers, alike

if TYPE_CHECKING:
    from .. import config

XEN_CONSOLE_KEPT = 1 << 20  # bytes of a refused image's console


class Releases(Pointers):
    """The releases of one unikernel below `root`, with the notes on it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.failed_console = root / 'failed.log'

    def last(self) -> int:
        """The number that was given last, 0 before the first."""
        return max([files.read(self.root / 'counter', int) or 0, *self.numbers()])

    def begin(self, after: int = 0, kept: bool = True) -> int:
        """The number of a new release, above `after` and never used before, with its folder. Where
        it is not `kept`, the next one may have it too."""
        with files.writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            number = max(self.last(), after) + 1
            if kept:
                files.write(self.root / 'counter', number)
            self.folder(number).mkdir(parents=True)
        return number

    def save(self, release: model.Release) -> None:
        files.write(self.folder(release.number) / 'release.json', release)

    def unfinished(self) -> list[int]:
        """Those that never served and are not to: a kill left them."""
        kept = {one.number for one in (self.current(), self.ready()) if one is not None}
        return [number for number in self.numbers()
                if number not in kept and not (self.folder(number) / 'served').exists()]

    def sweep(self) -> None:
        for number in self.unfinished():
            self.discard(number)
        with files.writing(self.root):
            for path in self.root.rglob('*.new'):
                path.unlink()

    def discard(self, number: int) -> None:
        with files.writing(self.root):
            shutil.rmtree(self.folder(number), ignore_errors=False)

    def fail(self, number: int, console: Path) -> None:
        """Discard a release that did not serve; only its `console` stays, as failed.log."""
        with files.writing(self.root):
            if console.exists() and console.is_relative_to(self.root):
                console.replace(self.failed_console)
            else:  # xenconsoled's own
                self.keep_failed(console)
        self.discard(number)

    def keep_failed(self, console: Path) -> None:
        """Keep the end of `console`, which stays where it is, as failed.log."""
        with files.writing(self.root):
            if console.exists():
                self.root.mkdir(parents=True, exist_ok=True)
                fresh = self.root / 'failed.log.new'
                fresh.write_bytes(console.read_bytes()[-XEN_CONSOLE_KEPT:])
                fresh.replace(self.failed_console)

    def forget_console(self) -> None:
        with files.writing(self.root):
            self.failed_console.unlink(missing_ok=True)

    def previous(self) -> model.Release | None:
        """The release that a rollback goes to: the last one before the current that was another
        image or started otherwise."""
        current = self.current() or self.ready()
        return self.earlier(current) if current is not None else None

    def earlier(self, than: model.Release) -> model.Release | None:
        """The last release before `than` that was another image or started otherwise."""
        found, seen = self.release(than.number), set[int]()
        while found is not None and found.number not in seen:
            if not alike(found, than):
                return found
            seen.add(found.number)
            found = self.release(self.before(found.number))
        return None

    def prune(self, keep: int) -> list[int]:
        """Discard all but the live release and the `keep` newest before it, of each image one."""
        current = self.current() or self.ready()
        if current is None:
            return []
        images = {(r.digest, r.fingerprint): r.number for r in self.served()
                  if r.number < current.number and not alike(r, current)}
        previous = self.previous()
        kept = set(sorted(images.values())[-keep:]) | {current.number}
        kept |= {previous.number} if previous else set()
        kept |= {release.number for release in (*self.wanted(), self.ready()) if release}
        gone = [number for number in self.numbers() if number not in kept]
        for number in gone:
            self.discard(number)
        return gone

    def wanted(self) -> list[model.Release]:
        """What may run: the live release, and those that keep their connections for a while."""
        current, overlap = self.current(), self.overlap()
        if current is None:
            return []
        next_to = [side.release for side in overlap.sides] if overlap else []
        others = [self.release(number) for number in next_to if number != current.number]
        return [current, *(release for release in others if release is not None)]

    def run(self, number: int) -> model.Run | None:
        return files.read(self.folder(number) / files.RUN, model.Run)

    def set_run(self, number: int, run: model.Run | None) -> None:
        files.write(self.folder(number) / files.RUN, run)


def as_wanted(wanted: config.Unikernel, release: model.Release) -> bool:
    """Whether `release` was started as it is `wanted` now: else, as after a refusal or a rollback,
    its address and port may be others than those that would be asked."""
    # Behind these 8 characters may come a digest of the secrets.
    return release.fingerprint[:8] == wanted.fingerprint[:8]


def shared(folder: Path) -> model.Shared | None:
    """What the release in `folder` shares of its ports; None of an older version's."""
    return files.read(folder / files.SHARED, model.Shared)


def set_shared(folder: Path, found: model.Shared) -> None:
    files.write(folder / files.SHARED, found)


def began(folder: Path) -> float:
    """When the release in `folder` was started last (seconds since 1970), but by systemd; 0 where
    that is not known."""
    try:
        return (folder / files.BEGAN).stat().st_mtime
    except OSError:
        return 0
