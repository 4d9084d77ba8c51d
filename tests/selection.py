"""A pytest plugin: long tests run with `--all`, or when they are named by their own node id."""

from __future__ import annotations

import pytest

LEFT_OUT = 'left_out'  # what a worker of pytest-xdist tells of its collection


class Selection:
    """Leaves the tests marked `long` out, and says so at the end; with `--all` begins with them.
    What takes longest comes first, lest one worker ends the run alone with it."""

    def __init__(self, config: pytest.Config) -> None:
        self.everything = bool(config.getoption('all'))
        self.named = {_function(argument) for argument in config.args if '::' in argument}
        self.left_out = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        if self.everything:
            items.sort(key=lambda item: item.get_closest_marker('long') is None)
            return
        items.sort(key=lambda item: 'tests/whole/' not in item.nodeid)  # the longest of them
        out = [item for item in items
               if item.get_closest_marker('long') and _function(item.nodeid) not in self.named]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
        self.left_out = len(out)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, 'workeroutput'):
            session.config.workeroutput[LEFT_OUT] = self.left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """A worker of pytest-xdist has ended; each collected the same."""
        self.left_out = getattr(node, 'workeroutput', {}).get(LEFT_OUT, self.left_out)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.left_out:
            terminalreporter.write_line(
                f'{self.left_out} long tests are left out (Xen and systemd in QEMU, series of '
                'kills, growth, fuzz, fresh machines); all: tests/run --all'
            )


def _function(node: str) -> str:
    return node.partition('::')[2].partition('[')[0]
