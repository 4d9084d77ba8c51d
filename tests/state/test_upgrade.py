"""The state folder that 0.1.0 left is read by what comes after it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import deployment
from tests.deployment import Deployment, web

LEFT = Path(__file__).with_name('v0.1.0')
PORT = 9917  # below those that other tests take


@pytest.fixture
def upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """What 0.1.0 left after two releases, a refused one and a rollback, as after a reboot."""
    monkeypatch.setattr(deployment, 'PYTHON', '/usr/bin/python3')
    made = Deployment(tmp_path)
    made.port = PORT
    made.configure()
    pages = {'1': web('one'), '2': web('two'), '3': web('bad', before='sys.exit(2)')}
    for release, image in pages.items():
        made.publish(image, release * 40)
    made.clone()
    state = made.state().root
    shutil.copytree(LEFT, state, symlinks=True)
    state.chmod(0o700)
    for path in (*state.rglob('*.json'), state / 'settled.json'):
        path.write_text(path.read_text().replace('/FOLDER', str(tmp_path)))
    for number in ('1', '2'):
        image = state / 'unikernels/www/releases' / number / 'image'
        image.write_bytes(pages[number])
        image.chmod(0o755)
    try:
        yield made
    finally:
        made.end()


def test_the_state_of_0_1_0_deploys_on(upgraded: Deployment) -> None:
    done = upgraded.mirage('pull')
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0, 'www: release 1 (unix, 497 bytes, commit 5b05db10153d) runs again'
    )
    assert upgraded.page() == 'one'
    assert upgraded.events() == [
        ('deployed', 1), ('deployed', 2), ('refused', 0), ('rolled back', 1), ('restarted', 1)
    ]
    assert not (upgraded.state().root / 'settled.json').exists()
    done = upgraded.mirage('deploy')
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        1, 'www: release 1 (unix, 497 bytes, commit 5b05db10153d) goes on running'
    )
    assert upgraded.mirage('rollback', 'www', '2').returncode == 0
    assert upgraded.page() == 'two'
    upgraded.publish(web('four'), '4' * 40)
    done = upgraded.pull()
    assert done.returncode == 0
    assert (upgraded.page(), upgraded.current().number) == ('four', 5), done.stderr
    if os.geteuid() == 0:  # whose releases were root's own then
        assert ('www: release 5 cannot listen next to release 2: release 2 runs as another user of '
                'this host\n') in done.stderr
