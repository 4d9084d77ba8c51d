"""What a deployment would do, for people and programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from ..deploying.foreseen import Foreseen
from ..messages.report import encoded, plain
from ..state import model

NOTHING = {
    'nothing': 'release {} runs, nothing to do',
    'start again': 'release {} does not run: it would be started again',
    'remove': 'release {} would be ended: mirage.yml no longer names it',
    'stay ready': 'release {} is ready here, nothing to do',
    'stay stopped': 'stopped, nothing to do until `mirage-hooks start {name}`',
}


def show(found: dict[str, Foreseen], as_json: bool) -> None:
    """Print the difference between what runs and what would run."""
    if as_json:
        return print(encoded(found), flush=True)
    for name, one in found.items():
        for text in _lines(name, one):
            print(plain(text))
    if not found:
        print('mirage.yml names no unikernel: nothing to do')


def _lines(name: str, one: Foreseen) -> Iterator[str]:
    if one.would in NOTHING:
        yield f'{name}: {NOTHING[one.would].format(one.running, name=name)}'
        return
    what = f'({one.description}, commit {one.commit[:12]})'
    if one.refused:
        yield f'{name}: what follows was refused before: {one.refused}'
    if one.plan is not None and one.would == 'start':
        yield f'{name}: a first release {what} would be started:'
        yield from (f'  {text}' for text in _of_plan(one.plan))
        return
    if one.would == 'make ready':
        yield f'{name}: a release {what} would be made ready: Pacemaker decides where it runs'
        return
    yield f'{name}: release {one.running} would be replaced by a new one {what}:'
    for change in one.changes:
        yield from [f'  - {change.what}: {change.before}'] if change.before else []
        yield from [f'  + {change.what}: {change.after}'] if change.after else []


def _of_plan(plan: model.Plan) -> list[str]:
    """A plan as a person would type it."""
    made = [
        f'# {tap.name} on {tap.bridge}, {tap.mac}' if tap.ours else f'# {tap.name}, which is there'
        for tap in plan.taps
    ]
    files = [f'# {name}: {line}' for name, text in plan.files.items() for line in text.splitlines()]
    return [*made, *files, shlex.join(plan.command)]
