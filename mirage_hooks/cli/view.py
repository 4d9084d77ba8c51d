"""What runs, and what an image is, for people and programs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from .. import config, image
from ..deploying import newer
from ..git.repository import Repository
from ..host import facts
from ..messages import errors
from ..messages.report import Reporter, age, encoded, plain
from ..messages.terminal import fitted, green, red, yellow
from ..state import pipe, proc, store
from ..state.releases import Releases
from ..switching import conflicts, crashes, launcher, leftover
from . import names as known_names


def status(repository: Repository, only: str, as_json: bool) -> int:
    """Print what runs, of `only` one where it is named; 1 when something that should run does not,
    or nobody can tell."""
    state = store.opened(repository.state)
    wrong: errors.Refused | None = None
    settings = None
    try:
        settings = store.settings(repository.config_path(), state.root)
        names = list(settings.unikernels)
    except errors.Refused as refused:
        names, wrong = [], refused
        if not state.names():
            raise
    known = list(dict.fromkeys([*names, *state.names()]))
    known_names.require(only, known)
    live = [state.of(name).current() for name in known]
    seen = conflicts.seen_by(state, filter(None, live))
    rows = [_row(state, name, seen) for name in known]
    rows = [row for row in rows if row['name'] in names or 'release' in row]
    rows = [row for row in rows if only in ('', row['name'])]
    deploying = state.holder()
    if settings is not None and not deploying:
        _wait(rows, repository, state, settings)
    left, keeper = leftover.left(state, facts.owner(state.root)), pipe.keeps(state.root)
    if as_json:
        print(encoded({'repository': str(repository.folder), 'deploying': deploying, 'left': left,
                       'keeper': keeper, 'unikernels': rows}), flush=True)
    else:
        _people(rows, deploying, keeper)
        if not rows and not wrong:
            print('mirage.yml names no unikernel: `mirage-hooks deploy` says what to add')
        if left:
            print(f'left by a deployment that was killed: {plain(", ".join(left))}')
            print('  hint: cron\'s next run takes it away, or now: mirage-hooks deploy')
    if wrong:
        Reporter(stream=sys.stderr).failure(wrong)
    return int(bool(wrong) or any(row['state'] in ('down', 'none') for row in rows))


def _wait(
    rows: list[dict[str, Any]], repository: Repository, state: store.Store,
    settings: config.Settings,
) -> None:
    """Add to `rows` the commits whose images wait to be deployed."""
    for row in rows:
        if row['name'] in settings.unikernels and (
            commit := newer.waits(repository, state.of(row['name']), settings, row['name'])
        ):
            row['newer'] = commit


def inspect(path: Path, as_json: bool) -> None:
    """Print what the image at `path` is, from its bytes."""
    if not path.is_file():
        raise errors.Refused(f'{path} is not a file')
    try:
        with path.open('rb') as stream:
            found = image.look(stream, name=str(path), limit=1 << 32)
    except OSError as error:
        raise errors.Refused(f'cannot read {path}: {error.strerror}') from None
    if as_json:
        return print(encoded(found), flush=True)
    print(f'{plain(str(path))}: {image.describe(found)}')
    if found.target == 'unix':
        print('  a program of this host, as every unix image is: its bytes do not say whether '
              'it is a unikernel')
    print(f'  sha256 {found.digest}')
    if found.compression:
        print(f'  packed with {found.compression}')


def _row(state: store.Store, name: str, seen: conflicts.Seen) -> dict[str, Any]:
    releases = state.of(name)
    release, pin, failure = releases.current(), releases.pin(), releases.failure()
    stopped = releases.stopped()
    row: dict[str, Any] = {'name': name, 'state': 'stopped' if stopped else 'none'}
    if release is not None:
        alive = launcher.alive(releases, release)
        row['state'] = 'running' if alive else 'stopped' if stopped else 'down'
        row |= {
            'release': release.number, 'commit': release.commit, 'path': release.path,
            'digest': release.digest, 'target': release.plan.target,
            'description': release.description, 'created': release.created,
            'interfaces': [tap.name for tap in release.plan.taps],
        }
        run = releases.run(release.number)
        row |= {'domain': release.plan.domain} if release.plan.domain else {}
        row |= {'pid': run.pid, 'since': proc.began(run.started)} if alive and run else {}
        crashed, hint = ('', '') if alive else crashes.explain(releases, release)
        row |= {'crashed': crashed, 'hint': hint} if crashed else {}
        restarted = crashes.restarts(releases, release)
        row |= {'restarted': restarted} if restarted else {}
    row |= _next_to(releases)
    others = conflicts.of(state, name, None, release, seen) if release is not None else []
    row |= {'conflicts': [one.text for one in others]} if others else {}
    if pin and not stopped:
        row['pinned'] = True
    if failure:
        row['refused'] = {'reason': failure.reason, 'hint': failure.hint, 'at': failure.at}
    return row


def _next_to(releases: Releases) -> dict[str, Any]:
    """The releases that keep their connections for a while."""
    overlap, current = releases.overlap(), releases.current()
    drained = [
        {'release': side.release, 'until': time.time() + side.until - proc.clock(),
         'interface': side.device}
        for side in (overlap.sides if overlap else ())
        if current is None or side.release != current.number
    ]
    return {'draining': drained} if drained else {}


def _people(rows: list[dict[str, Any]], deploying: str, keeper: bool) -> None:
    if deploying:
        print(fitted(f'a deployment runs: {plain(deploying)}'))
    for row in rows:
        print(fitted(f'{row["name"]}: {_state(row)}'))
        if 'crashed' in row:
            print(fitted(f'  {red("it ended by itself")}: {plain(row["crashed"])}'))
        elif 'restarted' in row:
            print(fitted(f'  {plain(_restarted(row["restarted"]))}'))
        if hint := row.get('hint') or row.get('restarted', {}).get('hint'):
            print(fitted(f'    hint: {plain(hint)}'))
        for text in row.get('conflicts', ()):
            print(fitted(f'  {yellow("WARNING")}: {plain(text)}'))
        for side in row.get('draining', ()):
            left = max(0, side['until'] - time.time())
            print(fitted(
                f'  release {side["release"]} keeps its connections, {left:.0f} s at most'
            ))
        if 'newer' in row:
            how = f'start {row["name"]}' if row['state'] == 'stopped' else 'deploy'
            print(fitted(f'  newer: the image of commit {row["newer"][:12]} waits: '
                         f'mirage-hooks {how}'))
        if 'refused' in row:
            refused = row['refused']
            print(fitted(
                f'  {red("refused")} {age(refused["at"])} ago: {plain(refused["reason"])}'
            ))
            if refused['hint']:
                print(fitted(f'    hint: {plain(refused["hint"])}'))
    if not keeper:
        print(fitted(
            'no keeper runs: what ends is started again by the next deploy or pull alone'
        ))


def _restarted(found: dict[str, Any]) -> str:
    last = f', last {age(found["at"])} ago' if 'at' in found else ''
    why = f': {found["reason"]}' if found['reason'] else ''
    return f'restarted {crashes.often(found["times"])}{last}{why}'


def _state(row: dict[str, Any]) -> str:
    if 'release' not in row:
        never = 'never deployed' if row['state'] == 'none' else 'stopped by hand, never deployed'
        return yellow(never)
    words = {'running': green('runs'), 'stopped': yellow('is stopped by hand'),
             'down': red('is DOWN')}
    where = f'domain {row["domain"]}' if 'domain' in row else f'process {row.get("pid", "-")}'
    when = time.strftime('%Y-%m-%d %H:%M', time.localtime(row.get('since')))
    since = f', runs since {when}' if 'since' in row else ''
    pinned = ', kept by a rollback' if 'pinned' in row else ''
    return (
        f'release {row["release"]} {words[row["state"]]}{pinned}: {plain(row["description"])}, '
        f'commit {row["commit"][:12]}, {where}{since}, deployed {age(row["created"])} ago'
    )
