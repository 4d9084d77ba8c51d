"""The releases that are there, and the two pointers to them: to the live one, and to the one that
is ready."""

from __future__ import annotations

from pathlib import Path

from ..messages import errors
from . import files, model
from .notes import Notes


class Pointers(Notes):
    """The releases of one unikernel below `root`, and which of them is live or ready."""

    def folder(self, number: int) -> Path:
        return self.root / 'releases' / str(number)

    def numbers(self) -> list[int]:
        folder = self.root / 'releases'
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        return sorted(int(name) for name in names if name.isdigit())

    def release(self, number: int) -> model.Release | None:
        return files.read(self.folder(number) / 'release.json', model.Release)

    def served(self) -> list[model.Release]:
        """Every release that has served, oldest first."""
        served = [n for n in self.numbers() if (self.folder(n) / 'served').exists()]
        return [r for n in served if (r := self.release(n)) is not None]

    def current(self) -> model.Release | None:
        """The release that should be live: one pointer, moved atomically."""
        return self._pointed('current')

    def ready(self) -> model.Release | None:
        """The release that Pacemaker is to start here, while none is live: proved, or live here
        before."""
        return self._pointed('ready')

    def point(self, number: int) -> None:
        """Make `number` the live release, and remember which one it came after; another instance of
        the same image after none of these, of which all but the last are gone one day."""
        if not (self.folder(number) / 'served').exists():
            files.write(self.folder(number) / 'served', self._before(number))
        self._point('current', number)
        self.set_ready(None)

    def set_ready(self, number: int | None) -> None:
        """Make `number` the release that is ready, and remember what served here last; None: none
        is."""
        if number is not None:
            last = self.current() or self.ready()
            if last is not None and last.number != number and not self._has_served(number):
                before = last.number if self._has_served(last.number) else self.before(last.number)
                files.write(self.folder(number) / 'follows', before)
            return self._point('ready', number)
        with files.writing(self.root):
            (self.root / 'ready').unlink(missing_ok=True)

    def unpoint(self) -> None:
        with files.writing(self.root):
            (self.root / 'current').unlink(missing_ok=True)

    def before(self, number: int) -> int:
        """The release that `number` came after when it took over, or would if it did; 0 for
        none."""
        notes = (files.read(self.folder(number) / name, int) for name in ('served', 'follows'))
        return next((one for one in notes if one is not None), 0)

    def _has_served(self, number: int) -> bool:
        return (self.folder(number) / 'served').exists()

    def _before(self, number: int) -> int:
        """The release that `number`, which is to take over, comes after; 0 for none."""
        before, new = self.current(), self.release(number)
        if before is None and self.placed():
            before = self.release(self.before(number))  # another host served meanwhile
        if before is None or new is None or not alike(before, new):
            return before.number if before is not None else 0
        return files.read(self.folder(before.number) / 'served', int) or 0

    def _pointed(self, name: str) -> model.Release | None:
        pointer = self.root / name
        try:
            return self.release(int(pointer.readlink().name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):
            raise errors.Refused(
                f'{pointer} is damaged: it is no link to a release',
                hint='move it away and run `mirage-hooks deploy`: it is made anew',
            ) from None

    def _point(self, name: str, number: int) -> None:
        with files.writing(self.root):
            fresh = self.root / f'{name}.new'
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(Path('releases') / str(number))
            fresh.replace(self.root / name)
            files.sync(self.root)


def alike(one: model.Release, other: model.Release) -> bool:
    """Whether both are the same image, started the same way."""
    return (one.digest, one.fingerprint) == (other.digest, other.fingerprint)
