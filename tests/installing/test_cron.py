"""Debian's real cron daemon runs the line that the installer adds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.deployment import Deployment, git, web
from tests.patience import until
from tests.spool import Spool, lacking

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())
MIRAGE = str(Path(sys.prefix) / 'bin' / 'mirage-hooks')


def test_a_cron_run_of_the_installed_line_boots_what_was_published(
    deployment: Deployment, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / 'spool')
    deployment.publish(web('one'), '1' * 40)
    git(deployment.folder, 'clone', '-q', str(deployment.hub), str(deployment.host))
    with spool.cron() as cron:
        done = spool.run(
            MIRAGE, 'install', str(deployment.host), '--config', str(deployment.config),
            '--cron', '* * * * *',
        )
        assert (done.returncode, done.stderr) == (0, '')
        deployment.publish(web('two'), '2' * 40)
        until(lambda: cron.poll() is not None or deployment.page() == 'two', pause=0.5)
        assert cron.poll() is None
