"""What releases print: where it is kept, whose it is, what is new in it; kept from growing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from ..host import xen
from ..state import fastpath, files, model
from ..state.releases import Releases
from . import asking

CONSOLE_KEPT = 1 << 20  # bytes of a console that are left when it has grown too long
SHOWN = 1 << 20  # bytes (and lines) of the end of a console that people are shown


class Part(msgspec.Struct, frozen=True):
    """What a release printed on its trial, since it was started first, or since it was started last
    (again): `at` is when that was, in seconds since 1970."""

    release: model.Release
    kind: Literal['on trial', 'started', 'started again']
    at: float
    lines: tuple[str, ...]


def of(releases: Releases, release: model.Release) -> Path:
    """The file that holds the console of `release`."""
    if release.plan.domain:
        return xen.console(release.plan.domain)
    return releases.folder(release.number) / files.CONSOLE


def printed(releases: Releases, release: model.Release) -> asking.Printed:
    """The end of all that `release` has printed."""
    return lambda: '\n'.join(tail(of(releases, release), SHOWN, SHOWN))


def parts(releases: Releases, release: model.Release) -> list[Part]:
    """What `release` has printed, in the order of time."""
    path, folder = of(releases, release), releases.folder(release.number)
    trial, mark = folder / files.TRIAL, folder / files.BEGAN
    end, began = size(path), _began(releases, release)
    first, found = release.created, []
    if trial.exists():
        first = trial.stat().st_mtime  # it ended then, and the start followed
        found.append(Part(release, 'on trial', first, tail(trial, SHOWN, SHOWN)))
    last = mark.stat().st_mtime if mark.exists() else first
    if not 0 < began <= end:  # a console that is shorter now was cut, or begun anew
        return [*found, Part(release, 'started', last, tail(path, SHOWN, SHOWN))]
    before, after = tail(path, SHOWN, SHOWN, began), tail(path, SHOWN, min(SHOWN, end - began))
    return [*found, Part(release, 'started', first, before),
            Part(release, 'started again', last, after)]


def set_apart(releases: Releases, release: model.Release) -> None:
    """Keep what `release` printed on its trial apart from what it prints in service. A domain's is
    xenconsoled's."""
    folder = releases.folder(release.number)
    with files.writing(folder):
        if (folder / files.CONSOLE).exists():
            (folder / files.CONSOLE).replace(folder / files.TRIAL)
    trim(folder / files.TRIAL)


def printing(path: Callable[[], Path]) -> asking.Printed:
    """What is added to the console at `path` from now on: what an earlier run of the same release,
    or of its domain, printed there proves nothing. Where the file was begun anew, all of it."""
    before = size(path())

    def printed() -> str:
        now = size(path())
        start = before if now >= before else 0
        try:
            with path().open('rb') as file:
                file.seek(max(start, now - asking.PAGE_LIMIT))
                return file.read(asking.PAGE_LIMIT).decode(errors='replace')
        except FileNotFoundError:
            return ''

    return printed


def last_words(releases: Releases, release: model.Release, lines: int) -> tuple[str, ...]:
    """The last `lines` lines that `release` printed since it was started last."""
    path, began = of(releases, release), _began(releases, release)
    now = size(path)
    # A console that is shorter now was cut, or begun anew.
    return tail(path, lines, min(16384, now - began if now >= began else now))


def trim(path: Path) -> None:
    """Leave only the end of a console that has grown beyond fastpath.CONSOLE_LIMIT: whoever writes
    to it appends, and goes on behind what is left."""
    try:
        if path.stat().st_size <= fastpath.CONSOLE_LIMIT:
            return
        with path.open('r+b') as file:
            file.seek(-CONSOLE_KEPT, os.SEEK_END)
            kept = file.read(CONSOLE_KEPT).partition(b'\n')[2]  # it may be growing meanwhile
            file.truncate(0)
        with path.open('ab') as file:
            file.write(b'--- earlier lines were dropped ---\n' + kept)
    except FileNotFoundError:
        return


def size(path: Path) -> int:
    """Its length in bytes; 0 for none."""
    return path.stat().st_size if path.exists() else 0


def tail(
    path: Path, lines: int = 10, most: int = 16384, end: int | None = None
) -> tuple[str, ...]:
    """The last `lines` lines of the console at `path`, from the last `most` bytes of it, or of what
    comes before its byte `end`."""
    try:
        with path.open('rb') as file:
            last = path.stat().st_size if end is None else end
            file.seek(max(0, last - most))
            text = file.read(min(last, most)).decode(errors='replace')
    except OSError:
        return ()
    # A tender that is refused something says what, and then explains itself at length.
    said = tuple(text.partition('\nusage: solo5-')[0].splitlines())
    return said[max(0, len(said) - lines):]


def _began(releases: Releases, release: model.Release) -> int:
    """How many bytes the console of `release` had when it was started last."""
    try:
        return int((releases.folder(release.number) / files.BEGAN).read_text())
    except (OSError, ValueError):
        return 0
