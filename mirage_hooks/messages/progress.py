"""Long work shows itself: on a terminal by a line that moves, elsewhere by one every ten seconds.
What is over sooner is not shown. There is no thread, which a fork could meet: whoever works says so
all the while."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from . import report, terminal

SHOWN, DRAWN = 0.5, 0.1  # seconds until work is shown on a terminal, and between two drawings
TOLD = 10.0  # seconds between two lines elsewhere
LONGEST, LEAST = 200, 16  # characters of a line, and of what is done in it

_held: list[str] | None = None


def hold(lines: list[str]) -> None:
    """From now on keep the lines back in `lines`: who is quiet tells them only with a change."""
    global _held
    _held = lines


@contextlib.contextmanager
def doing(what: str, within: float = 0.0) -> Iterator[Work]:
    """Show the work of the block, which has `within` seconds where there is a limit."""
    try:
        yield Work(what, within)
    finally:
        terminal.clear()


class Work:
    """Something that may take long, as whoever does it tells now and then."""

    def __init__(self, what: str, within: float) -> None:
        self.what, self.within = what, within
        self.began = time.monotonic()
        self.moves = terminal.capable(sys.stderr)
        self.due = self.began + (SHOWN if self.moves else TOLD)

    def now(self, detail: str = '') -> None:
        """It goes on: how far it is, or what it waits for."""
        if time.monotonic() >= self.due:
            self._show(detail)

    def bytes(self, done: int, total: int = 0) -> None:
        """It goes on: `done` bytes, of `total` where that is known."""
        if (now := time.monotonic()) >= self.due:
            whole = f' of {_megabytes(total)}' if total else ''
            rate = done / (now - self.began)
            self._show(f'{_megabytes(done)}{whole}, {_megabytes(rate)}/s')

    def _show(self, detail: str) -> None:
        now = time.monotonic()
        limit = f' of {self.within:.0f} s' if self.within else ''
        passed = f', {now - self.began:.0f} s{limit}'
        what, how = (report.masked(report.plain(text)) for text in (self.what, detail))
        if self.moves:
            self.due = now + DRAWN
            terminal.draw(_joined(what, how, terminal.width() - len(passed)) + passed)
        else:
            self.due = now + TOLD
            _tell(f'{report.stamp()}  {_joined(what, how, LONGEST)}{passed}')


def _joined(what: str, how: str, most: int) -> str:
    """Both in `most` characters: what changes is worth more than what it is about."""
    if not how:
        return _cut(what, most)
    return _cut(f'{_cut(what, max(most - len(how) - 2, LEAST))}: {how}', most)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f'{text[: max(most - 1, 0)]}…'


def _megabytes(amount: float) -> str:
    return f'{amount / 1e6:.1f} MB'


def _tell(line: str) -> None:
    if _held is not None:
        return _held.append(line)
    with contextlib.suppress(OSError):  # as with every line: who looked on may be gone
        print(line, file=sys.stderr, flush=True)
