"""Files that the watcher keeps fresh, each by a command of its own: what that imports and holds is
gone with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ..host import children
from ..messages import errors
from ..messages.report import plain
from ..state import files, user

EVERY = 60.0  # seconds


class Fresh:
    """Writes the files of `user.fresh()`; tells `say` what goes wrong, once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._begun: dict[str, tuple[Path, children.Child]] = {}
        self._due: dict[str, float] = {}
        self._said: dict[str, list[str]] = {}

    def look(self, now: float) -> None:
        """Take in what has ended, begin what is due at `now` (seconds on any clock)."""
        kept = user.fresh()
        for kind, (path, child) in list(self._begun.items()):
            if child.ended():
                del self._begun[kind]
                self._tell(kind, child.said())
                if kept.get(kind) != path:  # it was to be kept no longer while that wrote it
                    self._take_away(kind, path)
        for kind, path in kept.items():
            if kind not in self._begun and self._due.get(kind, now) <= now:
                self._due[kind] = now + EVERY
                self._begin(kind, path)

    def _begin(self, kind: str, path: Path) -> None:
        try:
            self._begun[kind] = path, children.Child(
                (sys.executable, '-I', '-m', 'mirage_hooks', kind, '--to', str(path)))
        except OSError as error:  # no memory, no process
            self._tell(kind, [f'cannot be started: {error.strerror}'])

    def _take_away(self, kind: str, path: Path) -> None:
        try:
            with files.writing(path):
                path.unlink(missing_ok=True)
        except errors.Unavailable as refused:
            self._tell(kind, [refused.reason])

    def _tell(self, kind: str, lines: list[str]) -> None:
        if lines != self._said.get(kind, []):
            for line in lines:
                self.say(f'{kind}: {plain(line)}')
        self._said[kind] = lines
