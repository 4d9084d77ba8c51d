"""What others have that is ours, told after a deployment: whenever they appeared."""

from __future__ import annotations

from .. import model
from ..report import plain
from ..switching import conflicts
from .road import Road


def told(road: Road, settings: model.Settings, outcomes: list[model.Outcome]) -> None:
    """Say who has the name or an address of what runs; under cron once for each change."""
    runs = {one.unikernel: one.running for one in outcomes if one.running is not None}
    seen = conflicts.seen_by(road.state, runs.values())
    for name, release in runs.items():
        found = conflicts.of(road.state, name, settings.unikernels.get(name), release, seen)
        news = road.state.news(f'conflict-{name}', '; '.join(one.text for one in found))
        for one in found if news or not road.report.quiet else ():
            road.report.line(f'{name}: WARNING: {plain(one.text)}')
            road.report.line(f'  hint: {plain(one.hint)}')
