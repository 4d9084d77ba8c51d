"""The table of what was really tested: every target and network, by the tests marked `proves`."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

TARGETS = ('unix/socket', 'unix/direct', 'spt', 'hvt', 'virtio', 'xen PV', 'xen PVH')
COMMAND = 'tests/run --all -n 0 -m proves --table=docs/tested.md'
HEAD = f"""# What was really tested

Each line is a test that boots such an image for real and asks it, from `git push` or a command of
the project unless `how` says otherwise. Made by `{COMMAND}`, as root, with
Solo5's tenders on PATH and the folder of Solo5's built tests in SOLO5_TESTS.
"""
TITLES = ('target', 'network', 'how', 'result', 'test')


class Proofs:
    """A pytest plugin: collects what the marked tests came to, and writes the table at the end."""

    def __init__(self, table: Path) -> None:
        self.table = table
        self.rows: dict[str, tuple[str, ...]] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item):  # type: ignore[no-untyped-def]
        report = (yield).get_result()
        # Set-up and tear-down that passed say nothing of the test.
        if report.when == 'call' or not report.passed:
            for mark in item.iter_markers('proves'):
                self.rows[f'{item.nodeid} {mark.args}'] = (
                    *said(item, mark), result(report), _called(item))

    def pytest_sessionfinish(self) -> None:
        self.table.write_text(written(self.rows.values()))


def said(item: pytest.Item, mark: pytest.Mark) -> tuple[str, ...]:
    """The mark's words; {name} in them is the test's parameter of this name."""
    call = getattr(item, 'callspec', None)
    return tuple(word.format(**(call.params if call else {})) for word in mark.args)


def result(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return f'skipped: {report.longrepr[2].removeprefix("Skipped: ")}'
    return 'passed' if report.passed else 'FAILED'


def written(rows: Iterable[tuple[str, ...]]) -> str:
    """The page, in the order of TARGETS."""
    ranked = sorted(rows, key=lambda row: (TARGETS.index(row[0]), row[1:]))
    lines = [f'| {" | ".join(cells)} |' for cells in (TITLES, ('---',) * len(TITLES), *ranked)]
    release = platform.release().partition('-')[0]
    where = f'{time.strftime("%Y-%m-%d")}, Linux {release} on {platform.machine()}.'
    return '\n'.join([HEAD, where, '', *lines, ''])


def _called(item: pytest.Item) -> str:
    name = item.name.removeprefix('test_').replace('_', ' ').replace('|', r'\|')
    return f'`{item.nodeid.partition("::")[0]}`: {name}'
