"""One watcher for each user: started by cron's runs, ended with the last repository."""

from __future__ import annotations

import os
import pwd
import signal
from pathlib import Path

import pytest

from mirage_hooks.host import watcher
from mirage_hooks.installing import install, uninstall
from mirage_hooks.messages import errors
from mirage_hooks.state import user
from tests.deployment import Deployment, git, web
from tests.patience import until


def test_crons_next_run_starts_it_and_puts_it_back(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    git(deployment.folder, 'clone', '-q', f'file://{deployment.hub}', str(deployment.host))
    install.install(deployment.host, deployment.config, when='')
    assert deployment.mirage('deploy').returncode == 0
    assert user.watcher() == 0
    assert deployment.mirage('pull', '--quiet').returncode == 0
    until(user.watcher)
    first = user.watcher()
    assert deployment.mirage('pull', '--quiet').returncode == 0
    assert user.watcher() == first, 'one is enough'
    probes = deployment.state().of('www').root / 'probes'
    until(probes.exists)
    os.kill(first, signal.SIGKILL)
    until(lambda: not user.watcher())
    assert deployment.mirage('pull', '--quiet').returncode == 0
    until(lambda: user.watcher() not in (0, first))
    assert 'watcher: it is out' in uninstall.uninstall(deployment.host)
    until(lambda: not user.watcher())
    assert user.repositories() == []


@pytest.mark.skipif(os.geteuid() != 0, reason='root alone can have the HOME of another user')
def test_the_home_of_another_user_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sudo may leave it to root."""
    monkeypatch.setenv('HOME', str(tmp_path))
    assert user.folder().is_relative_to(tmp_path)
    os.chown(tmp_path, 65534, -1)
    assert user.folder() == Path(pwd.getpwuid(0).pw_dir) / '.local/state/mirage-hooks'


def test_only_one_watches(tmp_path: Path) -> None:
    held = user.hold()
    assert held is not None and user.watcher() == os.getpid()
    assert user.hold() is None
    os.close(held)
    assert user.watcher() == 0


def test_where_nothing_is_to_be_watched_none_is_started() -> None:
    watcher.ensure()
    assert user.watcher() == 0
    assert not (user.folder() / 'watcher').exists()


def test_the_list_is_believed_only_when_it_is_ours(tmp_path: Path) -> None:
    user.remember(tmp_path, True)
    assert user.repositories() == [tmp_path]
    user.folder().chmod(0o777)
    assert user.repositories() == []
    with pytest.raises(errors.Refused) as refused:
        user.hold()
    assert refused.value.reason == (
        f'{user.folder()} can be written by others: nothing in it is believed')
