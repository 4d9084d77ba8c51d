"""docs/several-hosts.md, as it stands: three hosts with one hub, of which one goes first."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import LOGGER, Deployment, free_port, git
from tests.patience import PATIENCE, until
from tests.site.test_publish import VARIABLES
from tests.sshd import Sshd
from tests.switching.test_load import Visitor
from tests.switching.test_next_to import TROUBLE, slow
from tests.whole.test_book import blocks

pytestmark = pytest.mark.skipif(bool(TROUBLE), reason=TROUBLE or 'nothing')
PAGE = 'several-hosts.md'


def step(*words: str) -> str:
    """The one block of the page's commands that has all `words`."""
    found = [one.commands for one in blocks(PAGE) if all(word in one.commands for word in words)]
    assert len(found) == 1, words
    return found[0]


class Host(Deployment):
    """A machine of its own, as far as a home and a port make one; the other commands than those
    of Deployment's own are typed from the page."""

    def __init__(self, folder: Path, hub: Path, tools: Path) -> None:
        folder.mkdir()
        (folder / '.gitconfig').write_text((Path.home() / '.gitconfig').read_text())
        self.folder, self.hub, self.host = folder, hub, folder / 'www-deployment'
        self.site, self.port, self.tools = folder / 'build', free_port(), tools

    def types(
        self, commands: str, other: dict[str, str] | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `commands` of the page, with what is other on this machine."""
        for this, that in {'8080': str(self.port), 'install ': 'install --no-cron ',
                           **(other or {})}.items():
            commands = commands.replace(this, that)
        done = subprocess.run(
            ('bash', '-euc', commands), cwd=self.folder, text=True, capture_output=True,
            timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False, env={
                **os.environ, 'HOME': str(self.folder), 'HUB': f'file://{self.hub}',
                'PATH': f'{self.tools}:{os.environ["PATH"]}', **environment})
        LOGGER.info('%s: %d\n%s%s', self.folder.name, done.returncode, done.stdout, done.stderr)
        return done

    def pulls(self) -> None:
        """As cron has it."""
        self.types('mirage-hooks -C ~/www-deployment pull')

    @contextlib.contextmanager
    def cron(self) -> Iterator[None]:
        over = threading.Event()

        def runs() -> None:
            while not over.wait(1):
                self.pulls()

        thread = threading.Thread(target=runs)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class Fleet:
    """Three hosts that serve the first image, and a CI; `first` goes first."""

    def __init__(self, folder: Path, sshd: Sshd) -> None:
        tools, hub = folder / 'tools', folder / 'hub.git'
        tools.mkdir(parents=True)
        (tools / 'mirage-hooks').write_text(
            f'#!/bin/sh\nexec {sys.executable} -I -m mirage_hooks "$@"\n')
        (tools / 'mirage-hooks').chmod(0o755)
        git(folder, 'init', '-q', '--bare', '-b', 'main', str(hub))
        self.sshd = sshd
        self.ci, *self.hosts = (
            Host(folder / name, hub, tools) for name in ('ci', 'www1', 'www2', 'www3'))
        self.first, *self.others = self.hosts

    def begin(self) -> None:
        """All that the page has done once."""
        git(self.ci.folder, 'init', '-q')
        self.build('one')
        assert self.ci.types('mirage-hooks publish www --to "$HUB"').returncode == 0
        for host in self.hosts:
            assert host.types(step('git clone', '~/www.yml')).returncode == 0
            assert host.page() == 'one'
        (self.first.folder / '.ssh').mkdir()
        (self.sshd.folder / 'authorized').write_text('')
        (self.first.folder / '.ssh/authorized_keys').symlink_to(self.sshd.folder / 'authorized')
        for words in (('HEAD:refs/heads/canary',), ('git switch', 'authorized_keys')):
            assert self.first.types(f'cd ~/www-deployment\n{step(*words)}').returncode == 0

    def build(self, page: str, before: str = '') -> None:
        (self.ci.folder / 'www').write_bytes(slow(page, before))
        git(self.ci.folder, 'commit', '-q', '--allow-empty', '-m', page)

    def deploys(self) -> subprocess.CompletedProcess[str]:
        """CI's deploying step, while cron pulls on the host that goes first."""
        there = self.sshd.address(Path('/~/www-deployment'))
        with self.first.cron():
            return self.ci.types(
                step('promote'),
                {'ssh://deploy@www1.example.org/~/www-deployment': there, '10m': '2s',
                 '30m': f'{PATIENCE:.0f}s'},
                CANARY_KEY=(self.first.folder / 'ci').read_text(),
                CANARY_KNOWN_HOSTS=self.sshd.known())


@pytest.fixture
def fleet(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    made = Fleet(tmp_path / 'fleet', sshd)
    try:
        made.begin()
        yield made
    finally:
        for host in made.hosts:
            host.end()


def test_a_bad_image_meets_one_host_and_a_good_one_reaches_all_without_a_lost_request(
    fleet: Fleet,
) -> None:
    with contextlib.ExitStack() as asking:
        visitors = [asking.enter_context(Visitor(host.port)) for host in fleet.hosts]
        fleet.build('two', before='sys.exit(2)')
        done = fleet.deploys()
        assert (done.returncode, done.stderr.splitlines()[-2:]) == (1, [
            'mirage-hooks: www was refused: it ended with exit code 2',
            '  hint: no branch was moved'])
        for host in fleet.others:
            host.pulls()
        assert [host.events() for host in fleet.others] == [[('deployed', 1)]] * 2
        assert {page for visitor in visitors for page in visitor.pages} == {b'one'}

        fleet.build('three')
        began = time.monotonic()
        done = fleet.deploys()
        assert done.returncode == 0, done.stderr
        branch = git(fleet.ci.hub, 'rev-parse', 'main')
        assert done.stdout.splitlines()[-1] == (
            f'main of file://{fleet.ci.hub} is {branch[:12]} now, as canary is')
        for host in fleet.others:
            host.pulls()
        LOGGER.info('three hosts in %.1f s', time.monotonic() - began)
        until(lambda: all(b'three' in visitor.pages for visitor in visitors))
    assert [(visitor.failed, visitor.requests > 0) for visitor in visitors] == [(0, True)] * 3
    assert [host.current().commit for host in fleet.hosts] == [branch] * 3
