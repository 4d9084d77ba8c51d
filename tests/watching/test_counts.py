"""How often things happened, as the history tells."""

from __future__ import annotations

from typing import Any

from mirage_hooks.state.journal import Entry
from mirage_hooks.watching import counts

NOW = 1_700_000_000.0


def entry(event: str, days: float = 0, **more: Any) -> Entry:
    return Entry(NOW - days * 86400, 'www', event, more.pop('trigger', 'cron by root'), **more)


def test_each_restart_has_one_reason_and_counts_for_thirty_days_as_a_late_one() -> None:
    found = counts.of([
        entry('restarted', 31, reason='it crashed'), entry('restarted', 29, reason='it crashed'),
        entry('restarted', trigger='watcher', reason='no answer'), entry('restarted'),
        entry('crashed', reason='it crashed'),
    ], NOW)
    assert found['www'].restarts == {'ended': 2, 'silent': 1, 'other': 1}
    assert found['www'].lately == {'ended': 1, 'silent': 1, 'other': 1}
    assert set(found['www'].restarts) == set(counts.REASONS)


def test_each_end_of_a_deployment_counts_once() -> None:
    found = counts.of([
        entry('deployed', took=1.5), entry('deployed', took=0.5, gap=0.2),
        entry('rolled back', gap=0.1), entry('refused', took=9, gap=9),
        entry('not rolled back'), entry('stopped'),
        Entry(NOW, 'blog', 'silent', 'watcher'),
    ], NOW)
    assert found['www'].deployments == {'deployed': 2, 'refused': 1, 'rolled_back': 1}
    assert (found['www'].took, found['www'].gap) == (0.5, 0.1)
    assert (found['blog'].deployments, found['blog'].took, found['blog'].gap) == ({}, 0, 0)
