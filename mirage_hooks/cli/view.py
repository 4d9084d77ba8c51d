"""What can be asked: status, history, logs, plans and what an image is, for people and programs."""

from __future__ import annotations

import itertools
import shlex
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from .. import image
from ..git.repository import Repository
from ..host import facts, xen
from ..messages import errors
from ..messages.report import Reporter, age, encoded, plain, table
from ..state import journal, model, pipe, proc, secret, store
from ..state.releases import Releases
from ..switching import conflicts, consoles, crashes, launcher, leftover


def status(repository: Repository, as_json: bool) -> int:
    """Print what runs; 1 when something that should run does not, or nobody can tell."""
    state = store.opened(repository.state)
    wrong: errors.Refused | None = None
    try:
        names = list(store.settings(repository.config_path(), state.root).unikernels)
    except errors.Refused as refused:
        names, wrong = [], refused
        if not state.names():
            raise
    known = list(dict.fromkeys([*names, *state.names()]))
    live = [state.of(name).current() for name in known]
    seen = conflicts.seen_by(state, filter(None, live))
    rows = [_row(state, name, seen) for name in known]
    rows = [row for row in rows if row['name'] in names or row['state'] != 'none']
    deploying = state.holder()
    left, keeper = leftover.left(state, facts.owner(state.root)), pipe.keeps(state.root)
    if as_json:
        _json({'repository': str(repository.folder), 'deploying': deploying, 'left': left,
               'keeper': keeper, 'unikernels': rows})
    else:
        _people(rows, deploying, keeper)
        if not rows and not wrong:
            print('mirage.yml names no unikernel: `mirage-hooks deploy` says what to add')
        if left:
            print(f'left by a deployment that was killed: {plain(", ".join(left))}')
            print('  hint: cron\'s next run takes it away, or now: mirage-hooks deploy')
    if wrong:
        Reporter(stream=sys.stderr).refused(wrong.reason, wrong.hint)
    return int(bool(wrong) or any(row['state'] in ('down', 'none') for row in rows))


def history(repository: Repository, name: str, lines: int, as_json: bool) -> None:
    """Print the last `lines` events, of `name` or of all."""
    found = journal.entries(store.opened(repository.state).history)
    last = deque((one for one in found if name in ('', one.unikernel)), maxlen=max(lines, 0))
    if as_json:
        return _json([msgspec.to_builtins(entry) for entry in last])
    for text in table([_event(entry) for entry in last]) or ['nothing happened yet']:
        print(text)


def logs(repository: Repository, name: str, lines: int, follow: bool, failed: bool) -> None:
    """Print the end of the console of `name`; with `follow`, also what comes after."""
    releases = store.opened(repository.state).of(name)
    current = releases.current()
    if failed:
        path = releases.failed_console
    elif current is not None:
        path = consoles.of(releases, current)
    else:
        raise errors.Refused(f'{name} has no release', hint='`mirage-hooks status` lists what has')
    if not path.exists():
        domain = current is not None and current.plan.domain and not failed
        raise errors.Refused(f'{name} has no console at {path}', hint=xen.SILENT if domain else '')
    for text in consoles.tail(path, lines, 1 << 20):
        print(plain(text), flush=True)
    if follow:
        _follow(path, releases)


def plans(found: dict[str, model.Plan], as_json: bool) -> None:
    """Print what would be run."""
    if as_json:
        return _json({name: msgspec.to_builtins(secret.masked(plan))
                      for name, plan in found.items()})
    for name, plan in found.items():
        print(f'{name} ({plan.target}):')
        for text in lines_of_plan(plan):
            print(f'  {plain(text)}')


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
        return _json(msgspec.to_builtins(found))
    print(f'{plain(str(path))}: {image.describe(found)}')
    print(f'  sha256 {found.digest}')
    if found.compression:
        print(f'  packed with {found.compression}')


def _row(state: store.Store, name: str, seen: conflicts.Seen) -> dict[str, Any]:
    releases = state.of(name)
    release, pin, failure = releases.current(), releases.pin(), releases.failure()
    row: dict[str, Any] = {'name': name, 'state': 'none'}
    if release is not None:
        alive = launcher.alive(releases, release)
        row['state'] = 'running' if alive else 'stopped' if pin and pin.stopped else 'down'
        row |= {
            'release': release.number, 'commit': release.commit, 'path': release.path,
            'digest': release.digest, 'target': release.plan.target,
            'description': release.description, 'created': release.created,
            'interfaces': [tap.name for tap in release.plan.taps],
        }
        run = releases.run(release.number)
        row |= {'domain': release.plan.domain} if release.plan.domain else {}
        row |= {'pid': run.pid} if alive and run else {}
        crashed, hint = ('', '') if alive else crashes.explain(releases, release)
        row |= {'crashed': crashed, 'hint': hint} if crashed else {}
        restarted = crashes.restarts(releases, release)
        row |= {'restarted': restarted} if restarted else {}
    row |= _next_to(releases)
    others = conflicts.of(state, name, None, release, seen) if release is not None else []
    row |= {'conflicts': [one.text for one in others]} if others else {}
    if pin and not pin.stopped:
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
        print(f'a deployment runs: {plain(deploying)}')
    for row in rows:
        print(f'{row["name"]}: {_state(row)}')
        if 'crashed' in row:
            print(f'  it ended by itself: {plain(row["crashed"])}')
        elif 'restarted' in row:
            print(f'  {plain(_restarted(row["restarted"]))}')
        if hint := row.get('hint') or row.get('restarted', {}).get('hint'):
            print(f'    hint: {plain(hint)}')
        for text in row.get('conflicts', ()):
            print(f'  WARNING: {plain(text)}')
        for side in row.get('draining', ()):
            left = max(0, side['until'] - time.time())
            print(f'  release {side["release"]} keeps its connections, {left:.0f} s at most')
        if 'refused' in row:
            refused = row['refused']
            print(f'  refused {age(refused["at"])} ago: {plain(refused["reason"])}')
            if refused['hint']:
                print(f'    hint: {plain(refused["hint"])}')
    if not keeper:
        print('no keeper runs: what ends is started again by the next deploy or pull alone')


def _restarted(found: dict[str, Any]) -> str:
    last = f', last {age(found["at"])} ago' if 'at' in found else ''
    why = f': {found["reason"]}' if found['reason'] else ''
    return f'restarted {crashes.often(found["times"])}{last}{why}'


def _state(row: dict[str, Any]) -> str:
    if row['state'] == 'none':
        return 'never deployed'
    words = {'running': 'runs', 'stopped': 'is stopped by hand', 'down': 'is DOWN'}
    where = f'domain {row["domain"]}' if 'domain' in row else f'process {row.get("pid", "-")}'
    pinned = ', kept by a rollback' if 'pinned' in row else ''
    return (
        f'release {row["release"]} {words[row["state"]]}{pinned}: {plain(row["description"])}, '
        f'commit {row["commit"][:12]}, {where}, deployed {age(row["created"])} ago'
    )


def _event(entry: journal.Entry) -> list[str]:
    when = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(entry.at))
    release = f'release {entry.release}' if entry.release else ''
    took = f'in {entry.took:.2f} s' if entry.took else ''
    what = plain(entry.reason) or ' '.join(filter(None, [entry.commit[:12], took]))
    return [when, entry.unikernel, entry.event, release, what, f'({plain(entry.trigger)})']


def _follow(path: Path, releases: Releases) -> None:
    """Print what is added to `path`, and go over to the console of each newer release."""
    current = releases.current()
    file = path.open('rb')
    file.seek(0, 2)
    for _ in itertools.count():
        text = file.readline()
        if text:
            print(plain(text.decode(errors='replace').rstrip('\n')), flush=True)
            continue
        now = releases.current()
        if now is not None and current is not None and now.number != current.number:
            file.close()
            current, file = now, consoles.of(releases, now).open('rb')
            print(f'--- release {now.number} ---', flush=True)
        time.sleep(0.2)


def _json(value: Any) -> None:
    sys.stdout.write(f'{encoded(value)}\n')
    sys.stdout.flush()


def lines_of_plan(plan: model.Plan) -> list[str]:
    """A plan as a person would type it, without its secrets."""
    plan = secret.masked(plan)
    made = [
        f'# {tap.name} on {tap.bridge}, {tap.mac}' if tap.ours else f'# {tap.name}, which is there'
        for tap in plan.taps
    ]
    files = [f'# {name}: {line}' for name, text in plan.files.items() for line in text.splitlines()]
    return [*made, *files, shlex.join(plan.command)]
