"""What is known of repositories and their unikernels, as one page for a browser. It asks nothing of
anybody else, runs no script, and whatever is put into it is made harmless, see `_harmless`."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import jinja2
import markupsafe
import msgspec

from .. import __version__, config
from ..git import web
from ..git.repository import Repository
from ..messages import errors, report
from ..state import journal, store, watched
from ..switching import consoles
from . import counts, pictures, rows

EVERY = 60  # seconds after which a browser asks for it again
EVENTS = 200  # that are listed
CONSOLE, LONG = 12, 240  # lines of a refused image's console, and characters of each

Mark = Literal['well', 'warn', 'bad', 'off', 'again', 'back']
"""How something is, or what became of it: each has a shape and a colour."""

EVENT: dict[str, Mark] = {
    'deployed': 'well', 'answers again': 'well', 'restarted': 'again', 'rolled back': 'back',
    'refused': 'bad', 'silent': 'bad', 'crashed': 'bad', 'not started': 'bad',
    'not rolled back': 'bad', 'not watched': 'warn',
}


class Event(msgspec.Struct, frozen=True):
    """One line of the history; `of` is the mark of its unikernel, '' for none that is known."""

    mark: Mark
    entry: journal.Entry
    of: str
    link: str


class Unikernel(msgspec.Struct, frozen=True):
    """One unikernel: `at` is where it stands in the page, `words` say how it is; `console` is that
    of the image that was refused last, `ran` when (seconds since 1970; 0: nothing is shown)."""

    at: str
    row: rows.Row
    mark: Mark
    words: str
    where: str
    link: str
    pictures: tuple[tuple[str, pictures.Bars, pictures.Line | None], ...] = ()
    console: tuple[str, ...] = ()
    ran: float = 0
    withheld: bool = False


class Shown(msgspec.Struct, frozen=True):
    """One repository; without `fields` it could not be read. `wrong` is what is wrong with it."""

    folder: str
    wrong: errors.Refused | None
    fields: dict[str, Any] = {}
    unikernels: tuple[Unikernel, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def troubles(self) -> list[str]:
        """What is wrong with the whole of it, that does not keep it from serving."""
        fetch, left = self.fields.get('fetch_failed'), self.fields.get('left')
        found = [f'the last fetch failed: {fetch}'] if fetch else []
        if not self.fields.get('keeper', True):
            found.append('no keeper runs: what ends is started again by the next deploy or pull '
                         'alone')
        if left:
            found.append(f'left by a deployment that was killed: {", ".join(left)}')
        return found


def text(folders: Iterable[Path]) -> str:
    """The page of the repositories `folders`. What cannot be read says so, and leaves the others
    alone."""
    now = time.time()
    shown = [_repository(folder, f'r{number}', now) for number, folder in enumerate(folders, 1)]
    everything = [one for repository in shown for one in repository.unikernels]
    # The last one first, also of two in one millisecond: the history has them in order.
    events = sorted((one for repository in shown for one in repository.events),
                    key=lambda one: one.entry.at)[::-1]
    made: str = _environment().get_template('page.html.jinja').render(
        now=now, every=EVERY, version=__version__, host=os.uname().nodename, repositories=shown,
        bad=[one for one in everything if one.mark == 'bad'],
        warned=[one for one in everything if one.mark == 'warn'],
        wrong=[one for one in shown if one.wrong or one.troubles], total=len(everything),
        days=[(day, list(of)) for day, of in itertools.groupby(
            events[:EVENTS], lambda one: time.strftime('%A, %d %B', time.localtime(one.entry.at)))],
        more=len(events) > EVENTS, why=counts.WHY,
    )
    # Whatever the locale that it is written or printed in.
    return made.encode('ascii', 'xmlcharrefreplace').decode() + '\n'


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_harmless)
    made.filters |= {
        'age': report.age, 'local': lambda at: time.strftime('%d %b %H:%M', time.localtime(at)),
        'clock': lambda at: time.strftime('%H:%M', time.localtime(at)), 'utc': _utc,
        'zoned': lambda at: time.strftime('%Y-%m-%d %H:%M:%S %Z', time.localtime(at)),
    }
    return made


def _harmless(value: Any) -> Any:
    """What the template puts into the page, but what it has made itself: nothing that a browser or
    a terminal would obey, and no password of a URL. jinja2 escapes it after that."""
    if isinstance(value, markupsafe.Markup) or not isinstance(value, str):
        return value
    return report.masked(report.plain(value))


def _utc(at: float) -> str:
    return time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(at))


def _repository(folder: Path, at: str, now: float) -> Shown:
    try:
        repository = Repository(folder)
        found = rows.found(repository, '')
        state = store.opened(repository.state)
    except errors.Refused as refused:
        return Shown(str(folder), refused)
    link = _commits(repository, state)
    entries = [one for one in journal.entries(state.history) if now - one.at < watched.KEPT]
    unikernels = tuple(
        _unikernel(f'{at}-{number}', row, state, found.wanted.get(row['name']), link, now)
        for number, row in enumerate(found.rows, 1))
    places = {one.row['name']: one.at for one in unikernels}
    return Shown(
        str(repository.folder), found.wrong, found.fields, unikernels,
        tuple(Event(EVENT.get(one.event, 'off'), one, places.get(one.unikernel, ''),
                    _commit(link, one.commit)) for one in entries[-EVENTS - 1:]))


def _unikernel(
    at: str, row: rows.Row, state: store.Store, wanted: config.Unikernel | None, link: str,
    now: float,
) -> Unikernel:
    releases = state.of(row['name'])
    minutes = watched.probes(releases.root, now)
    day = minutes[-rows.DAY:]
    drawn = (('24 hours', pictures.bars(day, 24, 'hour'), pictures.line(day)),
             ('30 days', pictures.bars(minutes, 30, 'day'), pictures.line(minutes)))
    console, ran = releases.failed_console, 0.0
    if 'refused' in row and console.exists():
        ran = console.stat().st_mtime
    # What an image prints may hold what it was told.
    withheld = bool(ran) and (
        wanted is None or bool(wanted.secrets) or wanted.certificate is not None)
    mark, words = _how(row)
    return Unikernel(
        at, row, mark, words, _where(row), _commit(link, row.get('commit', '')),
        drawn if any(minutes) else (),
        () if withheld or not ran else tuple(
            line[:LONG] for line in consoles.tail(console, CONSOLE)), ran, withheld)


def _how(row: rows.Row) -> tuple[Mark, str]:
    """How a unikernel is, at one glance."""
    health = row.get('health', {})
    if row['state'] == 'stopped':
        return 'off', 'stopped by hand'
    if row['state'] == 'ready':
        return 'off', 'ready; Pacemaker does not run it here'
    if row['state'] == 'none':
        return 'bad', 'never deployed'
    if row['state'] == 'down':
        return 'bad', 'is down'
    if 'wrong' in health:
        return 'bad', 'does not answer'
    certificate = row.get('certificate', {})
    if certificate.get('days', 1) < 0:
        return 'bad', 'its certificate has expired'
    words = f'answers in {health["ms"]} ms' if health else 'runs'
    if 'silent' in row:
        return 'warn', f'{words}; was silent'
    if 'refused' in row:
        return 'warn', f'{words}; an image was refused'
    if 'conflicts' in row:
        return 'warn', f'{words}; a conflict'
    if 'wrong' in certificate:
        ends = 'its certificate ends soon' if 'names' in certificate else 'no certificate yet'
        return 'warn', f'{words}; {ends}'
    return 'well', words


def _where(row: rows.Row) -> str:
    """Its address, where a browser can follow it."""
    url = str(row.get('url', ''))
    return url if re.match('https?://', url) else ''


def _commits(repository: Repository, state: store.Store) -> str:
    """Where a browser finds the commits of what is pulled; '' where nobody knows."""
    last = store.last_settings(state)
    try:
        remote = repository.remote(repository.branch(last.branch if last else '')) or 'origin'
        return web.commits(repository.setting(f'remote.{remote}.url'))
    except errors.Refused:  # on no branch
        return ''


def _commit(link: str, commit: str) -> str:
    return f'{link}{commit}' if link and re.fullmatch('[0-9a-f]{40,64}', commit) else ''
