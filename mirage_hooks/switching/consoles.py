"""What releases print: where it is kept, what is new in it, its last lines; kept from growing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..host import xen
from ..state import fastpath, files, model
from ..state.releases import Releases
from . import asking

CONSOLE_KEPT = 1 << 20  # bytes of a console that are left when it has grown too long


def of(releases: Releases, release: model.Release) -> Path:
    """The file that holds the console of `release`."""
    if release.plan.domain:
        return xen.console(release.plan.domain)
    return releases.folder(release.number) / files.CONSOLE


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
    path = of(releases, release)
    try:
        began = int((releases.folder(release.number) / files.BEGAN).read_text())
    except (OSError, ValueError):
        began = 0
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


def tail(path: Path, lines: int = 10, most: int = 16384) -> tuple[str, ...]:
    """The last `lines` lines of the console at `path`, from its last `most` bytes."""
    try:
        with path.open('rb') as file:
            file.seek(max(0, path.stat().st_size - most))
            text = file.read(most).decode(errors='replace')
    except OSError:
        return ()
    # A tender that is refused something says what, and then explains itself at length.
    return tuple(text.partition('\nusage: solo5-')[0].splitlines()[-lines:])
