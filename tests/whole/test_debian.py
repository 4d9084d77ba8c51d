"""The Debian package: built by its usual tools, clean by lintian, and enough to boot by a push."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from mirage_hooks.demo import standin
from mirage_hooks.messages.errors import Refused
from tests import fresh

pytestmark = [
    pytest.mark.long, pytest.mark.skipif(bool(fresh.lacking()), reason=fresh.lacking() or 'nothing')
]
TOOLS = ('dpkg-dev', 'build-essential', 'lintian')


@pytest.fixture(scope='module')
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ours, and with what Debian 12 lacks for it."""
    folder = tmp_path_factory.mktemp('debian')
    try:
        fresh.bare(*TOOLS)
    except Refused as refused:
        pytest.skip(f'no fresh machine can be made: {refused.reason.splitlines()[-1]}')
    with fresh.machine(folder / 'root', *TOOLS) as machine:
        done = machine.run('sh', '-euc', """
            export DEBIAN_FRONTEND=noninteractive
            apt-get update -qq
            debian/backport
            apt-get install -qq -y ./../python3-msgspec_*.deb
            apt-get build-dep -qq -y --no-install-recommends .
            dpkg-buildpackage -us -uc
            echo 'lintian:'
            lintian -EvIL +pedantic --allow-root ../mirage-hooks_*.changes
        """)
        assert done.returncode == 0, done.stdout
        said = done.stdout.rpartition('lintian:\n')[2].splitlines()
        assert [line for line in said if not line.startswith('N: ')] == []
        for package in machine.root.glob('*.deb'):
            shutil.copy(package, folder)
    return folder


@pytest.mark.parametrize('user', ['root', fresh.USER])
def test_it_installs_on_a_bare_debian_and_a_first_push_boots(
    packages: Path, user: str, tmp_path: Path
) -> None:
    with fresh.machine(tmp_path / 'root') as machine:
        for package in packages.glob('*.deb'):
            shutil.copy(package, machine.root)
        for version in (1, 2):
            (machine.root / f'image-{version}').write_bytes(standin.text(version))
        installed = machine.run('sh', '-euc', """
            apt-get update -qq
            apt-get install -qq -y --no-install-recommends ./../*.deb bubblewrap zstd
            cd / && mirage-hooks --version
        """)
        assert installed.stdout.splitlines()[-1] == 'mirage-hooks 0.1.0', installed.stdout
        done = machine.run('tests/fresh/first-push', '/image-1', '/image-2', user=user)
    home = '/root' if user == 'root' else f'/home/{user}'
    assert done.returncode == 0, done.stdout
    said = done.stdout.splitlines()
    assert said[0] == (
        f'hooks: post-merge, post-receive, post-rewrite, pre-receive in {home}/www.git/hooks')
    now = re.findall(r'^remote: www: (release \d \(.*), commit [0-9a-f]{12}\) now runs',
                     done.stdout, re.MULTILINE)
    assert now == ['release 1 (unix, 1.4 kB', 'release 2 (unix, 1.4 kB']
    assert [line for line in said if line.startswith('<h1>')] == [
        '<h1>Hello from version 1</h1>', '<h1>Hello from version 2</h1>']
