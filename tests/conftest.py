"""Every test has a home of its own: no global git configuration, fixed names and dates."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from mirage_hooks.host import devices
from mirage_hooks.state import user
from tests import proofs, rig, selection, skips, sshd
from tests.deployment import Deployment, web
from tests.rig import build

# What a change must pass is the same for every change; new examples are sought on purpose.
settings.register_profile(
    'tests', derandomize='MIRAGE_HOOKS_FUZZ' not in os.environ,
    deadline=10_000,  # ms, for a busy machine; most examples take one
)
settings.load_profile('tests')


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--table', type=Path, metavar='FILE',
                     help='write there what the tests marked `proves` came to')
    parser.addoption('--all', action='store_true', help='run the tests marked `long`, too')


def pytest_configure(config: pytest.Config) -> None:
    # Begun in the background of a shell, all that we start would ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(selection.Selection(config))
    config.pluginmanager.register(skips.Skips())
    if table := config.getoption('table'):
        if config.getoption('numprocesses', None):
            raise pytest.UsageError('--table is written by one process: add -n 0')
        config.pluginmanager.register(proofs.Proofs(table))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the device nodes that root's releases get here, and sshd's folder, go with the tests, not
    with the boot; by the process that outlives every worker of pytest-xdist."""
    if os.geteuid() == 0 and not hasattr(session.config, 'workerinput'):
        for path in (devices.FOLDER, Path(devices.SHARED), sshd.JAIL):
            if not path.exists():
                session.config.add_cleanup(lambda path=path: _removed(path))


def _removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """An empty HOME, and git without any configuration but this. What was begun to watch for it
    ends with the test."""
    folder = move_in(tmp_path_factory.mktemp('home'), monkeypatch)
    yield folder
    monkeypatch.setenv('HOME', str(folder))
    if number := user.watcher():
        os.kill(number, signal.SIGKILL)


def move_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder` the HOME of what follows, with all that tests rely on."""
    for key, value in {
        'HOME': str(folder),
        'GIT_CONFIG_NOSYSTEM': '1',
        'GIT_AUTHOR_NAME': 'A Site', 'GIT_AUTHOR_EMAIL': 'site@example.org',
        'GIT_COMMITTER_NAME': 'A Site', 'GIT_COMMITTER_EMAIL': 'site@example.org',
        'GIT_AUTHOR_DATE': '2016-01-01T00:00:00Z', 'GIT_COMMITTER_DATE': '2016-01-01T00:00:00Z',
        'LC_ALL': 'C.UTF-8', 'USER': 'operator',
    }.items():
        monkeypatch.setenv(key, value)
    for key in ('XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'XDG_STATE_HOME', 'SUDO_USER'):
        monkeypatch.delenv(key, raising=False)
    (folder / '.gitconfig').write_text(
        '[init]\n\tdefaultBranch = master\n[protocol "file"]\n\tallow = always\n'
        '[uploadpack]\n\tallowFilter = true\n'
    )
    return folder


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    """A host's clone that serves version one."""
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    assert deployment.page() == 'one'
    return deployment


@pytest.fixture
def twice(serving: Deployment) -> Deployment:
    """One that went on to version two."""
    serving.publish(web('two'), 'b' * 40)
    serving.pull()
    assert serving.page() == 'two'
    return serving


@pytest.fixture(scope='module')
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One deployment for all tests of a module, which leave it as it was; it serves `one`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        move_in(tmp_path_factory.mktemp('home'), monkeypatch)
        made = Deployment(tmp_path_factory.mktemp('shared'))
        made.publish(web('one'), 'a' * 40)
        made.clone()
        assert made.mirage('deploy').returncode == 0
    yield made
    made.end()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A hub, a site that publishes to it, and a host's clone with hooks; ended afterwards."""
    made = Deployment(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope='session')
def xen(request: pytest.FixtureRequest) -> rig.Rig:
    """A Xen host, off between runs; skips where this machine cannot build or run one."""
    if lacking := build.lacking():
        pytest.skip(lacking)
    capture = request.config.pluginmanager.getplugin('capturemanager')
    # The first build takes a minute, and says what it does.
    with capture.global_and_fixture_disabled():
        return rig.Rig.ready()


@pytest.fixture(name='sshd')
def fixture_sshd(tmp_path: Path) -> Iterator[sshd.Sshd]:
    """A real one, for this test."""
    if lacking := sshd.lacking():
        pytest.skip(lacking)
    made = sshd.Sshd(tmp_path / 'sshd')
    try:
        yield made
    finally:
        made.end()
