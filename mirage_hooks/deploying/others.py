"""What others have that is ours, told after a deployment: whenever they appeared."""

from __future__ import annotations

from .. import model
from ..report import plain
from ..switching import conflicts
from .road import Road

ANSWER = 0.1  # seconds that an answer to ARP may take here: a push waits for it


def told(road: Road, settings: model.Settings, outcomes: list[model.Outcome]) -> None:
    """Say who has the name or an address of what runs; under cron once for each change."""
    for outcome in outcomes:
        release = outcome.running
        if release is None:
            continue
        name, wanted = outcome.unikernel, settings.unikernels.get(outcome.unikernel)
        found = conflicts.of(road.state, name, wanted, release, ANSWER)
        news = road.state.news(f'conflict-{name}', '; '.join(one.text for one in found))
        for one in found if news or not road.report.quiet else ():
            road.report.line(f'{name}: WARNING: {plain(one.text)}')
            road.report.line(f'  hint: {plain(one.hint)}')
