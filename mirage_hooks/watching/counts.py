"""How often things happened to each unikernel, from the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..state import journal

MONTH = 30 * 86400.0  # seconds
WHY = {'silent': 'silent', 'ended': 'ended by itself', 'other': 'by hand or after a boot'}
"""Why something is started again, in words."""

REASONS = tuple(WHY)
RESULTS = {'deployed': 'deployed', 'refused': 'refused', 'rolled back': 'rolled_back'}
"""What the history calls the ends of a deployment, and what they are called here."""


class Counts:
    """Of one unikernel: `restarts` by reason, in all and in the last 30 days; `deployments` by
    result; seconds that the last one `took` that came to serve, and in which nobody did at the
    last switch (`gap`); 0 before one did."""

    def __init__(self) -> None:
        self.restarts, self.lately = Counter[str](), Counter[str]()
        self.deployments = Counter[str]()
        self.took = self.gap = 0.0


def of(entries: Iterable[journal.Entry], now: float) -> dict[str, Counts]:
    """Of each unikernel that `entries`, the history until `now` (seconds since 1970), tell of."""
    found: dict[str, Counts] = {}
    for entry in entries:
        counts = found.setdefault(entry.unikernel, Counts())
        if entry.event == 'restarted':
            why = 'ended' if entry.reason else 'other'
            why = 'silent' if entry.trigger == 'watcher' else why
            counts.restarts[why] += 1
            counts.lately[why] += now - entry.at < MONTH
        elif entry.event in RESULTS:
            counts.deployments[RESULTS[entry.event]] += 1
            counts.took = entry.took if entry.event == 'deployed' else counts.took
            counts.gap = entry.gap if entry.event != 'refused' else counts.gap
    return found
