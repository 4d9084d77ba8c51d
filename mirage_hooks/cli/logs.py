"""What unikernels print: release by release, and on as it grows."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

from ..git.repository import Repository
from ..host import xen
from ..messages import errors
from ..messages.report import plain
from ..state import model, store
from ..state.releases import Releases
from ..switching import consoles
from . import names


def logs(repository: Repository, name: str, lines: int, follow: bool) -> None:
    """Print the last `lines` lines of `name`, or of each unikernel; with `follow`, also what comes
    after."""
    _open()
    state = store.opened(repository.state)
    chosen = _chosen(repository, state, name)
    several = not name
    for one in chosen:
        for text in _last(one, state.of(one), lines, several):
            print(text, flush=True)
    if follow:
        _follow([Followed(one, state.of(one), several) for one in chosen])


def failed(repository: Repository, name: str, lines: int) -> None:
    """Print the last `lines` lines of the image of `name` that was refused last, or of each."""
    _open()
    state = store.opened(repository.state)
    names.require(name, names.known(repository, state))
    there = {one: state.of(one).failed_console for one in ([name] if name else state.names())
             if state.of(one).failed_console.exists()}
    if not there:
        raise errors.Refused(
            f'no console of a refused image{f" of {name}" if name else ""} is kept',
            hint='`mirage-hooks status` says why something is refused',
        )
    for one, path in there.items():
        when = time.strftime('%Y-%m-%d %H:%M', time.localtime(path.stat().st_mtime))
        print(f'— {one}, refused image, {when} —')
        for text in consoles.tail(path, lines, consoles.SHOWN):
            print(plain(text), flush=True)
        if not path.stat().st_size:
            print('it printed nothing', flush=True)


class Followed:
    """The growing console of one unikernel; it goes over to that of each newer release."""

    def __init__(self, name: str, releases: Releases, several: bool) -> None:
        self.name, self.releases, self.several = name, releases, several
        self.number = 0
        self.file: BinaryIO = io.BytesIO()
        if self._newer() is not None:
            self.file.seek(0, os.SEEK_END)

    def news(self) -> Iterator[str]:
        """The lines that came since it was asked last."""
        while True:
            while text := self.file.readline():
                shown = plain(text.decode(errors='replace').rstrip('\n'))
                yield f'{self.name}: {shown}' if self.several else shown
            newer = self._newer()
            if newer is None:
                return
            part = consoles.parts(self.releases, newer)[-1]
            yield _headline(self.name, part, self.several)

    def _newer(self) -> model.Release | None:
        """The release that is current now, with its console open; None when it was before."""
        now = self.releases.current()
        if now is None or now.number == self.number:
            return None
        path = consoles.of(self.releases, now)
        if not path.exists():  # it is just being started
            return None
        self.file.close()
        self.number, self.file = now.number, path.open('rb')
        return now


def _open() -> None:
    """Print the — of a headline in every locale, as far as it goes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')


def _chosen(repository: Repository, state: store.Store, name: str) -> list[str]:
    """`name`, or each unikernel that has a release; raises Refused when there is none."""
    names.require(name, names.known(repository, state))
    chosen = [one for one in ([name] if name else state.names()) if state.of(one).served()]
    if not chosen:
        raise errors.Refused(f'{name} has no release' if name else 'no unikernel has a release',
                             hint='`mirage-hooks status` says what runs')
    current = state.of(name).current() if name else None
    if current is not None and not consoles.of(state.of(name), current).exists():
        raise errors.Refused(
            f'{name} has no console at {consoles.of(state.of(name), current)}',
            hint=xen.SILENT if current.plan.domain else '',
        )
    return chosen


def _last(name: str, releases: Releases, lines: int, several: bool) -> list[str]:
    """The last `lines` lines of `name`, each release's below a headline."""
    shown: list[str] = []
    for part in reversed(_parts(releases)):
        if lines <= 0:
            break
        kept = part.lines[-lines:]
        lines -= len(kept)
        shown = [_headline(name, part, several), *map(plain, kept), *shown]
    return shown


def _parts(releases: Releases) -> list[consoles.Part]:
    """All that is kept of what was printed, in the order of time."""
    found = [part for release in releases.served() for part in consoles.parts(releases, release)]
    return sorted((part for part in found if part.lines), key=lambda part: part.at)


def _headline(name: str, part: consoles.Part, several: bool) -> str:
    when = time.strftime('%Y-%m-%d %H:%M', time.localtime(part.at))
    whose = f'{name}, ' if several else ''
    return (f'— {whose}release {part.release.number}, {part.kind} {when}, '
            f'image {part.release.digest[:8]} —')


def _follow(followed: list[Followed]) -> None:
    while True:
        for one in followed:
            for text in one.news():
                print(text, flush=True)
        time.sleep(0.2)
