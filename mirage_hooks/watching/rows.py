"""What is known of each unikernel of a repository, as data: what `status --json` prints."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from .. import config
from ..git import newer
from ..git.repository import Repository
from ..host import facts
from ..messages import errors, nearest, report
from ..state import journal, model, pipe, proc, store, watched
from ..state.releases import Releases, as_wanted, began
from ..switching import asked, conflicts, crashes, health, launcher, leftover
from . import counts, rounds, uptime

DAY = 24 * 60  # minutes
QUICK = config.Watch(timeout='2s')  # a person waits for it

Row = dict[str, Any]


class Found(msgspec.Struct, frozen=True):
    """What `status` found; `wrong` is what is wrong with mirage.yml, whose unikernels are `wanted`,
    `counted` how often things happened to each."""

    fields: dict[str, Any]
    wrong: errors.Refused | None
    counted: dict[str, counts.Counts] = {}
    wanted: dict[str, config.Unikernel] = {}

    @property
    def rows(self) -> list[Row]:
        rows: list[Row] = self.fields['unikernels']
        return rows

    @property
    def well(self) -> bool:
        """Whether all that should serve does, as far as anybody can tell."""
        return self.wrong is None and not any(
            row['state'] in ('down', 'none') or row.get('health', {}).get('wrong')
            for row in self.rows)


def found(repository: Repository, only: str) -> Found:
    """Everything, or `only` one; raises Refused where nothing is known."""
    state = store.opened(repository.state)
    settings, wrong = config.Settings(unikernels={}), None
    try:
        settings = store.settings(repository.config_path(), state.root)
    except errors.Refused as refused:
        wrong = refused
        if not state.names():
            raise
    wanted = settings.unikernels
    known = list(dict.fromkeys([*wanted, *state.names()]))
    nearest.require(only, known)
    live = {name: state.of(name).current() for name in known}
    seen = conflicts.seen_by(state, filter(None, live.values()))
    rows = [_row(state, name, seen) for name in known if only in ('', name)]
    rows = [row for row in rows if row['name'] in wanted or 'release' in row]
    counted = counts.of(journal.entries(state.history), time.time())
    _reached(state, rows, wanted, counted)
    if not (deploying := state.holder()):
        _wait(rows, repository, state, settings)
    return Found({
        'repository': str(repository.folder), 'deploying': deploying,
        'left': leftover.left(state, facts.owner(state.root)), 'keeper': pipe.keeps(state.root),
        'cron': state.last_run(), 'cron_succeeded': state.last_run(well=True),
        'fetch_failed': state.trouble('pull'), 'unikernels': rows,
    }, wrong, counted, wanted)


def url(wanted: config.Unikernel, release: model.Release) -> str:
    """Where a browser finds it: what it is asked for, else its address and port; '' where nobody
    knows."""
    if asked_for := [one.http for one in wanted.health if one.http]:
        return report.masked(asked_for[0])
    if wanted.port is not None:
        return f'http://{health.host(wanted)}:{wanted.port}/'
    own = asked.addresses(release)
    port = asked.named_port(wanted)
    return f'http://{health.bracketed(own[0])}{f":{port}" if port else ""}/' if own else ''


def _row(state: store.Store, name: str, seen: conflicts.Seen) -> Row:
    releases = state.of(name)
    release, pin, failure = releases.current(), releases.pin(), releases.failure()
    stopped = releases.stopped()
    row: Row = {'name': name, 'state': 'stopped' if stopped else 'none'}
    if release is not None:
        row |= _live(releases, release)
    if releases.placed():
        row |= _placed(releases, row)
    row |= _next_to(releases)
    others = conflicts.of(state, name, None, release, seen) if release is not None else []
    row |= {'conflicts': [one.text for one in others]} if others else {}
    if pin and not stopped:
        row['pinned'] = True
    if failure:
        row['refused'] = {'reason': failure.reason, 'hint': failure.hint, 'at': failure.at}
    return row


def _live(releases: Releases, release: model.Release) -> Row:
    """What is live, and how it is."""
    alive, run = launcher.alive(releases, release), releases.run(release.number)
    row: Row = {
        'state': 'running' if alive else 'stopped' if releases.stopped() else 'down',
        'release': release.number, 'commit': release.commit, 'path': release.path,
        'digest': release.digest, 'target': release.plan.target,
        'description': release.description, 'created': release.created,
        'interfaces': [tap.name for tap in release.plan.taps],
    }
    row |= {'domain': release.plan.domain} if release.plan.domain else {}
    if alive:
        row |= {'pid': run.pid} if run else {}
        row |= {'since': since} if (since := _since(releases, release, run)) else {}
    crashed, hint = ('', '') if alive else crashes.explain(releases, release)
    row |= {'crashed': crashed, 'hint': hint} if crashed else {}
    restarted = crashes.restarts(releases, release)
    return row | ({'restarted': restarted} if restarted else {})


def _placed(releases: Releases, row: Row) -> Row:
    """Where Pacemaker decides: what it may start here, and that nothing is wrong while it does
    not."""
    ready = releases.ready()
    placed: Row = {'placed': 'pacemaker'}
    if held := releases.held():
        placed['held'] = {'commit': held.commit, 'reason': held.reason, 'at': held.at}
    if ready is None:
        return placed
    placed |= {'ready': {
        'release': ready.number, 'commit': ready.commit, 'digest': ready.digest,
        'description': ready.description, 'created': ready.created,
    }}
    return placed | ({'state': 'ready'} if row['state'] == 'none' else {})


def _since(releases: Releases, release: model.Release, run: model.Run | None) -> float:
    """When what runs of `release` was started (seconds since 1970); 0 where nobody knows."""
    if run is None:
        return began(releases.folder(release.number))
    return round(proc.since(run.started), 1)


def _next_to(releases: Releases) -> Row:
    """The releases that keep their connections for a while."""
    overlap, current = releases.overlap(), releases.current()
    drained = [
        {'release': side.release, 'until': time.time() + side.until - proc.clock(),
         'interface': side.device}
        for side in (overlap.sides if overlap else ())
        if current is None or side.release != current.number
    ]
    return {'draining': drained} if drained else {}


def _reached(
    state: store.Store, rows: list[Row], wanted: dict[str, config.Unikernel],
    counted: dict[str, counts.Counts],
) -> None:
    """Add to `rows` how each is reached: asked now, and how it was, as the watcher kept it."""
    under_way: dict[str, rounds.Round] = {}
    for row in rows:
        name, releases = row['name'], state.of(row['name'])
        release, now = releases.current(), time.time()
        if name not in wanted or release is None:
            continue
        row |= {'url': where} if (where := url(wanted[name], release)) else {}
        known = as_wanted(wanted[name], release) and asked.lasting(wanted[name], release)
        if row['state'] == 'running' and known:
            under_way[name] = rounds.round_of(wanted[name], QUICK, release, heard=True)
        minutes = watched.probes(releases.root, now)
        row |= {'uptime': {
            'day': _uptime(minutes[-DAY:], 24), 'month': _uptime(minutes, 30),
        }} if any(minutes) else {}
        record = watched.read(releases.root)
        if record.silent is not None:
            row['silent'] = {'at': record.silent.at, 'reason': record.silent.reason}
        lately = +counted[name].lately if name in counted else {}
        row |= {'restarts': dict(lately)} if lately else {}
    answers = rounds.answers(under_way)
    for row in rows:
        if answer := answers.get(row['name']):
            wrong = answer.wrong or answer.fault
            row['health'] = {'wrong': wrong} if wrong else {'ms': answer.took}


def _wait(
    rows: list[Row], repository: Repository, state: store.Store, settings: config.Settings
) -> None:
    """Add to `rows` what their branches hold, and the commits whose images wait to be deployed."""
    for row in rows:
        if row['name'] not in settings.unikernels:
            continue
        tip = newer.tip(repository, state.of(row['name']), settings, row['name'])
        if tip is not None:
            row['tip'] = msgspec.structs.asdict(tip)
            row |= {'newer': tip.commit} if tip.image == 'waits' and 'release' in row else {}


def _uptime(minutes: list[int], pieces: int) -> dict[str, Any]:
    found = uptime.shares(minutes, pieces)
    return {'up': uptime.share(minutes).up, 'pieces': [one.up for one in found],
            'missed': [one.missed for one in found]}
