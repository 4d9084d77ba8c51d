"""Debian's real cron daemon runs the line that the installer adds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment, git, web
from tests.spool import Spool, lacking

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())
MIRAGE = str(Path(sys.prefix) / 'bin' / 'mirage-hooks')


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / 'spool')


@pytest.fixture
def cron(spool: Spool) -> Iterator[subprocess.Popen[bytes]]:
    # Debian's cron calls the table 'crontabs/root' by its owner alone, and mails nobody here.
    spool.write(b'MAILTO=""\n')
    daemon = subprocess.Popen(spool.command('cron', '-f'), stdin=subprocess.DEVNULL)
    time.sleep(1.1)  # cron tells a changed table by whole seconds
    yield daemon
    daemon.terminate()
    daemon.wait(timeout=10)


def test_a_tick_of_the_installed_line_boots_what_was_published(
    deployment: Deployment, spool: Spool, cron: subprocess.Popen[bytes]
) -> None:
    deployment.publish(web('one'), '1' * 40)
    git(deployment.folder, 'clone', '-q', str(deployment.hub), str(deployment.host))
    done = spool.run(
        MIRAGE, 'install', str(deployment.host), '--config', str(deployment.config),
        '--cron', '* * * * *',
    )
    assert (done.returncode, done.stderr) == (0, '')
    deployment.publish(web('two'), '2' * 40)
    limit = time.monotonic() + 75  # cron looks once a minute
    while deployment.page() != 'two' and time.monotonic() < limit:
        assert cron.poll() is None
        time.sleep(0.5)
    assert deployment.page() == 'two'
