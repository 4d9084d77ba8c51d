"""What `status --cluster` shows: every host of the cluster, and what of each unikernel is there."""

from __future__ import annotations

from typing import Any

from ..deploying import standing
from ..git.repository import Repository
from ..host import pacemaker
from ..messages import errors
from ..messages.report import age, encoded, plain, table
from ..messages.terminal import green, red, yellow
from ..state import store

Row = dict[str, Any]


def status(repository: Repository, only: str, as_json: bool) -> int:
    """Print it, of `only` one where it is named; 1 when one runs nowhere, or a host is away."""
    seen = pacemaker.seen()
    rows = found(repository, seen, only)
    if as_json:
        print(encoded({'quorum': seen.quorum, 'unikernels': rows}), flush=True)
    else:
        for row in rows:
            print('\n'.join(_lines(row)))
        if not seen.quorum:
            print(red('this part of the cluster has no quorum: it runs nothing'))
    away = any(not node.online or node.unclean for node in seen.nodes.values())
    return int(away or not seen.quorum or not all(row['active'] for row in rows))


def found(repository: Repository, seen: pacemaker.Seen, only: str) -> list[Row]:
    """What is where, as data."""
    settings = store.settings(repository.config_path(), repository.state)
    rows = []
    for name, wanted in settings.unikernels.items():
        if wanted.placed is None or only not in ('', name):
            continue
        resource = wanted.placed.called(name)
        active = sorted(seen.active.get(resource, ()))
        hosts = [_host(node, name, active) for _, node in sorted(seen.nodes.items())]
        rows.append({'name': name, 'resource': resource, 'active': active, 'hosts': hosts})
    if not rows:
        raise errors.Refused(
            f'mirage.yml has Pacemaker place no {only}' if only else
            'mirage.yml has Pacemaker place nothing',
            hint='write `placement: pacemaker` for a unikernel; see docs/several-hosts.md')
    return rows


def _host(node: pacemaker.Node, name: str, active: list[str]) -> Row:
    told = standing.read(node.told.get(name, {}))
    row: Row = {'host': node.name, 'state': node.state, 'active': node.name in active}
    if told.release:
        row |= {'release': told.release, 'commit': told.commit}
    if told.stage:
        row |= {'image': told.image, 'stage': told.stage, 'since': told.since}
    return row | ({'reason': told.reason} if told.reason else {})


def _lines(row: Row) -> list[str]:
    active = ', '.join(row['active'])
    where = green(f'runs on {active}') if active else red('runs nowhere')
    cells = [[f'  {one["host"]}', _state(one), *_release(one)] for one in row['hosts']]
    said = [f'{row["name"]}: {where}', *table(cells)]
    for one in row['hosts']:
        if one.get('stage') == 'refused':
            said.append(f'  {red("refused")} on {one["host"]} {age(one["since"])} ago: '
                        f'{plain(one["reason"])}')
        elif 'reason' in one:
            said.append(f'  {yellow(one["stage"])} on {one["host"]}: {plain(one["reason"])}')
    return said


def _state(one: Row) -> str:
    return one['state'] if one['state'] == 'online' else red(one['state'])


def _release(one: Row) -> list[str]:
    """What of it is there, by that host's own word."""
    if 'release' not in one:
        return ['nothing ready', '', '']
    since = '' if one['stage'] == 'refused' else f'since {age(one["since"])}'
    how = 'runs' if one['active'] else 'ready'
    return [f'release {one["release"]} {how}', f'commit {one["commit"][:12]}', since]
