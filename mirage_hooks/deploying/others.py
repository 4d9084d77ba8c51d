"""What others have that is ours, told after a deployment: whenever they appeared."""

from __future__ import annotations

from .. import config
from ..messages.report import plain
from ..state import model
from ..switching import conflicts
from .context import Context


def told(context: Context, settings: config.Settings, outcomes: list[model.Outcome]) -> None:
    """Say who has the name or an address of what runs; under cron once for each change."""
    runs = {one.unikernel: one.running for one in outcomes if one.running is not None}
    seen = conflicts.seen_by(context.state, runs.values())
    for name, release in runs.items():
        found = conflicts.of(context.state, name, settings.unikernels.get(name), release, seen)
        news = context.state.news(f'conflict-{name}', '; '.join(one.text for one in found))
        for one in found if news or not context.report.quiet else ():
            context.report.line(f'{name}: WARNING: {plain(one.text)}')
            context.report.line(f'  hint: {plain(one.hint)}')
