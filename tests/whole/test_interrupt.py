"""A run of several workers that is ended from outside leaves nothing of its tests behind."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.deployment import ROOT
from tests.patience import PATIENCE, until

pytest_plugins = ['pytester']


@pytest.mark.long
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_each_worker_takes_down_what_its_test_set_up(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    pytester.makeconftest("""
        from tests.conftest import pytest_addoption, pytest_configure
    """)
    pytester.makepyfile("""
        import pathlib, time, pytest
        @pytest.fixture
        def thing(request):
            path = pathlib.Path(request.config.rootpath, request.node.name)
            path.touch()
            yield
            time.sleep(1)
            path.rename(f'{path}.gone')
        def test_a(thing): time.sleep(3600)
        def test_b(thing): time.sleep(3600)
    """)
    with subprocess.Popen(
        (sys.executable, '-m', 'pytest', '-n', '2', '-p', 'no:cacheprovider'), cwd=pytester.path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as leading:
        names = [pytester.path / 'test_a', pytester.path / 'test_b']
        until(lambda: all(name.exists() for name in names))
        leading.send_signal(number)
        leading.wait(PATIENCE)
    until(lambda: all(name.with_name(f'{name.name}.gone').exists() for name in names))
