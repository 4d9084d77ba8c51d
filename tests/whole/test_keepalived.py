"""One address on two hosts, by the recipe of docs/several-hosts.md and Debian's keepalived. Each
host is a network namespace on the same wire, as is a visitor, who asks the address all the time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import LOGGER, ROOT, Deployment, run
from tests.guests.scene import needs
from tests.patience import PATIENCE, until
from tests.switching.test_next_to import slow

pytestmark = [pytest.mark.long, needs('ip', 'keepalived', root=True)]
ADDRESS, PORT = '192.0.2.10', 8080

# Asks every 10 ms, each time for a second at most, until its standard input has a line or ends.
VISITOR = """
import json, select, socket, sys, time
found = {'requests': 0, 'failed': 0, 'gap': 0.0, 'pages': {}}
answered = time.monotonic()
over = False
while not over:
    over = select.select([sys.stdin], [], [], 0.01)[0]
    found['requests'] += 1
    try:
        with socket.create_connection(('ADDRESS', PORT), 1) as connection:
            connection.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
            page = b''
            while piece := connection.recv(4096):
                page += piece
        page = page.rpartition(b'\\r\\n\\r\\n')[2].decode() or '?'
    except OSError:
        found['failed'] += 1
        continue
    now = time.monotonic()
    found['gap'], answered = max(found['gap'], now - answered), now
    found['pages'][page] = found['pages'].get(page, 0) + 1
print(json.dumps(found))
""".replace('ADDRESS', ADDRESS).replace('PORT', str(PORT))


def recipe() -> str:
    """keepalived.conf as the page has it."""
    text = (ROOT / 'docs/several-hosts.md').read_text()
    found, = re.findall(r'^```\n(global_defs.*?)^```$', text, re.MULTILINE | re.DOTALL)
    return str(found)


def act(*command: str) -> None:
    done = run(*command, cwd=Path('/'))
    assert done.returncode == 0, (command, done.stderr)


class Host(Deployment):
    """A namespace with an address of its own, the unikernel that says `page`, and keepalived."""

    def __init__(self, folder: Path, wire: Wire, page: str, priority: int) -> None:
        folder.mkdir()
        super().__init__(folder)
        self.inside = wire.join(page, f'192.0.2.{priority}')
        self.keepalived: subprocess.Popen[bytes] | None = None
        self.configure(network={'mode': 'socket', 'port': PORT},
                       health={'http': f'http://127.0.0.1:{PORT}/'})
        self.publish(slow(page, '', '', '0.0.0.0'))
        self.clone()
        assert self.mirage('deploy').returncode == 0
        tool = folder / 'mirage-hooks'
        tool.write_text(f'#!/bin/sh\nexec {sys.executable} -I -m mirage_hooks "$@"\n')
        text = recipe()
        for this, that in {
            '/usr/local/bin/mirage-hooks': f'/bin/sh {tool}',  # below /tmp it would run nothing
            '/srv/www-deployment': str(self.host), 'priority 100': f'priority {priority}',
        }.items():
            assert text.count(this) == 1
            text = text.replace(this, that)
        (folder / 'keepalived.conf').write_text(text)

    def command(self, *arguments: str, repository: Path | None = None) -> tuple[str, ...]:
        return (*self.inside, *super().command(*arguments, repository=repository))

    def joins(self) -> None:
        with (self.folder / 'keepalived.log').open('wb') as log:
            self.keepalived = subprocess.Popen(
                (*self.inside, 'keepalived', '--dont-fork', '--log-console', '--use-file',
                 str(self.folder / 'keepalived.conf'), '--pid', str(self.folder / 'pid'),
                 '--vrrp_pid', str(self.folder / 'vrrp_pid')),
                stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, 'PATH': f'{os.environ["PATH"]}:/usr/sbin:/sbin'})

    def leaves(self) -> None:
        """keepalived is killed; it says nothing to the other."""
        if self.keepalived is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.keepalived.pid, signal.SIGKILL)
            self.keepalived.wait()
            LOGGER.info('%s', (self.folder / 'keepalived.log').read_text())
            self.keepalived = None

    def end(self) -> None:
        self.leaves()
        super().end()


class Wire:
    """A bridge in a namespace of its own, and those that join it."""

    def __init__(self) -> None:
        self.name = f'mhw{os.getpid()}'
        self.joined: list[str] = []
        act('ip', 'netns', 'add', self.name)
        act('ip', '-n', self.name, 'link', 'add', 'br0', 'up', 'type', 'bridge')

    def join(self, name: str, address: str) -> tuple[str, ...]:
        """What runs a command in the namespace of `name`, which has `address` on its eth0."""
        space = f'{self.name}{name}'
        act('ip', 'netns', 'add', space)
        self.joined.append(space)
        for line in (f'-n {self.name} link add to-{name} master br0 type veth '
                     f'peer name eth0 netns {space}', f'-n {self.name} link set to-{name} up',
                     f'-n {space} link set lo up',
                     f'-n {space} addr add {address}/24 dev eth0',
                     f'-n {space} link set eth0 up'):
            act('ip', *line.split())
        return ('ip', 'netns', 'exec', space)

    def cut(self, name: str) -> None:
        act('ip', '-n', self.name, 'link', 'set', f'to-{name}', 'down')

    def end(self) -> None:
        for space in (*self.joined, self.name):
            run('ip', 'netns', 'delete', space, cwd=Path('/'))


class Visitor:
    """Asks the address from its own namespace while the block runs."""

    def __init__(self, inside: tuple[str, ...]) -> None:
        self.inside = inside
        self.found: dict[str, Any] = {}

    def page(self) -> str:
        """Who answers now."""
        said = run(*self.inside, sys.executable, '-Ic', VISITOR, cwd=Path('/')).stdout
        return ''.join(json.loads(said)['pages'])

    @contextlib.contextmanager
    def asking(self, what: str) -> Iterator[None]:
        process = subprocess.Popen(
            (*self.inside, sys.executable, '-Ic', VISITOR), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        try:
            yield
        finally:
            said, _ = process.communicate('\n', timeout=PATIENCE)
        self.found = json.loads(said)
        LOGGER.info('%s: %s', what, said)


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def hosts(tmp_path: Path, wire: Wire) -> Iterator[list[Host]]:
    made: list[Host] = []
    try:
        for page, priority in (('a', 100), ('b', 90)):
            made.append(Host(tmp_path / page, wire, page, priority))
        for host in made:
            host.joins()
        yield made
    finally:
        for host in made:
            host.end()


def test_the_address_is_where_the_unikernel_answers(wire: Wire, hosts: list[Host]) -> None:
    a, b = hosts
    visitor = Visitor(wire.join('v', '192.0.2.9'))
    until(lambda: visitor.page() == 'a', pause=0.2)

    with visitor.asking('the unikernel of one host ends'):
        a.crash()
        until(lambda: visitor.page() == 'b', pause=0.2)
    assert set(visitor.found['pages']) == {'a', 'b'}
    assert visitor.found['failed'] > 0

    with visitor.asking('it is back'):
        assert a.mirage('deploy').returncode == 0
        until(lambda: visitor.page() == 'a', pause=0.2)
    assert set(visitor.found['pages']) == {'a', 'b'}

    with visitor.asking('a new release on it'):
        a.publish(slow('c', '', '', '0.0.0.0'), 'b' * 40)
        assert a.mirage('pull').returncode == 0
        until(lambda: visitor.page() == 'c', pause=0.2)
    assert (set(visitor.found['pages']), visitor.found['failed']) == ({'a', 'c'}, 0)

    with visitor.asking('that host dies'):
        wire.cut('a')
        a.leaves()
        a.crash()
        until(lambda: visitor.page() == 'b', pause=0.2)
    assert set(visitor.found['pages']) <= {'b', 'c'}
    assert b.mirage('probe', 'www').returncode == 0
