"""What each skipped test is for, by the reason it gives: told at the end of a run, and the table of
docs/testing.md. A reason that is not here fails the run."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import pytest


class Skip(NamedTuple):
    """`reason` finds the words of a skipped test; `lacks` is what it lacks, `untried` what goes
    untried without, `get` how to have it."""

    reason: str
    lacks: str
    untried: str
    get: str


TABLE = (
    Skip('SOLO5_TESTS|solo5-', "Solo5's tenders and built tests",
         'spt and hvt kernels under their own tenders; reading their manifests',
         'build Solo5 (it is in no package registry); its tenders on PATH, the folder of its built '
         'tests in SOLO5_TESTS'),
    Skip('/dev/kvm', 'KVM that runs guests', 'hvt next to other targets; QEMU accelerated by KVM',
         'a machine whose kernel offers /dev/kvm'),
    Skip('no fresh machine can be made|no Python packages come', 'a Debian mirror, a package index',
         'the demo and tests on a machine that has never seen the project',
         'the mirror of /etc/apt and the index of pip must answer'),
    Skip(r'nobody may not read', 'a clone that everybody may read',
         "sudo's lines, as an ordinary user", 'clone to a folder that is not below a closed home'),
    Skip('knows the names of', 'an x86-64 or 64-bit ARM processor',
         "an image for the host's own processor", 'another machine'),
    Skip('no chromium', 'Chromium', 'the page in a browser: that nothing in it runs or is fetched',
         'apt install chromium'),
    Skip(r'\broot\b', 'root', 'bridges, taps, namespaces, mounts, cron, Xen, other users',
         'run tests/run as root'),
    Skip(r'is missing|missing: |not installed|needs ', 'a program that the reason names',
         'what that program does in the test', 'as root on Debian, tests/run installs it'),
)


def row(reason: str) -> Skip | None:
    return next((one for one in TABLE if re.search(one.reason, reason)), None)


def markdown() -> str:
    """TABLE, as docs/testing.md has it."""
    lines = ['| lacks | goes untried | how to have it |', '|---|---|---|']
    return '\n'.join([*lines, *(f'| {" | ".join(one[1:])} |' for one in TABLE), ''])


class Skips:
    """A pytest plugin: says at the end what the skipped tests lacked."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            self.reasons[str(report.longrepr[2]).removeprefix('Skipped: ')] += 1

    def unknown(self) -> list[str]:
        return sorted(reason for reason in self.reasons if row(reason) is None)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unknown() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        counts: Counter[Skip] = Counter()
        for reason, number in self.reasons.items():
            if found := row(reason):
                counts[found] += number
        for found, number in counts.items():
            terminalreporter.write_line(
                f'{number} skipped for want of {found.lacks}. Untried: {found.untried}. '
                f'To have it: {found.get}')
        for reason in self.unknown():
            terminalreporter.write_line(
                f'FAILED: a skip that tests/skips.py does not know: {reason}')
