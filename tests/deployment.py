"""A whole deployment in a folder: real git, real hooks, a web server as the image."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import yaml

from mirage_hooks.host import processes
from mirage_hooks.state import journal, model, store
from tests.patience import PATIENCE, until

ROOT = Path(__file__).parent.parent
LOGGER = logging.getLogger(__name__)

# What a sandbox shows: an environment of the tests' own is not part of the system.
PYTHON = shutil.which('python3', path='/usr/bin:/bin') or sys.executable

# A stand-in for a unix/socket image: MirageOS's flags and console lines, one page.
WEB = """#!{python} -IS
import socket, sys
port = 8080
for argument in sys.argv[1:]:
    key, _, value = argument.partition('=')
    if key == '--port':
        port = int(value)
    elif key not in ('--ipv4', '--message'):
        sys.exit(64)
{before}
server = socket.create_server(('127.0.0.1', port))
print('listening on %d/TCP' % port, flush=True)
while True:
    visitor, _ = server.accept()
    with visitor:
        if visitor.recv(4096):
            visitor.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n{page}')
"""


def web(page: str, before: str = '') -> bytes:
    """An image that serves `page`; `before` is Python run before it listens."""
    return WEB.format(python=PYTHON, page=page, before=before).encode()


def called(number: int, image: bytes, commit: str) -> str:
    """What a release of a web image is called in what is printed."""
    return f'release {number} (unix, {len(image)} bytes, commit {commit[:12]})'


WORKER = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
MANY = 300
PORTS = itertools.cycle(range(3000 + WORKER * MANY, 3000 + (WORKER + 1) * MANY))


def free_port() -> int:
    """A port of 127.0.0.1 that nothing holds, and that nobody else will be given: no other worker
    of pytest-xdist, no trial (they are above 10000), no outgoing connection. Until an image takes
    it, minutes may pass."""
    for port in itertools.islice(PORTS, MANY):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(('127.0.0.1', port))
            return port
    raise AssertionError(f'none of {MANY} ports is free')


class Deployment:
    """`hub` is the bare remote, `site` publishes to it, `host` is the deployment clone."""

    def __init__(self, folder: Path, bare: bool = False) -> None:
        self.folder = folder
        self.hub, self.site, self.host = folder / 'hub.git', folder / 'site', folder / 'host'
        self.port = free_port()
        self.config = folder / 'mirage.yml'
        git(folder, 'init', '-q', '--bare', '-b', 'master', str(self.hub))
        git(folder, 'init', '-q', '-b', 'master', str(self.site))
        git(self.site, 'remote', 'add', 'origin', str(self.hub))
        self.configure()

    def configure(self, text: str = '', **keys: Any) -> None:
        """Write mirage.yml: `text` whole, or www with `keys` over the usual ones."""
        top = {key: keys.pop(key) for key in ('branch', 'rewound', 'unpacked_limit') if key in keys}
        www = {'image': 'xen/latest', 'network': {'mode': 'socket', 'port': self.port},
               'confirm': '100ms', **keys}
        self.config.write_text(text or yaml.safe_dump({**top, 'unikernels': {'www': www}}))

    def publish(
        self, image: bytes, release: str = '1' * 40, name: str = 'www', pointer: bool = True,
        push: bool = True, mode: int = 0o755,
    ) -> None:
        """Commit `image` as the original's CI did, and push it."""
        folder = self.site / 'xen' / release
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image)
        (folder / name).chmod(mode)
        (folder / 'config.ml').write_text('let () = ()\n')
        if pointer:
            (self.site / 'xen' / 'latest').write_text(f'{release}\n')
        self.commit(f'adding {release} for unix', push)

    def commit(self, message: str, push: bool = True) -> None:
        git(self.site, 'add', '-A')
        git(self.site, 'commit', '-q', '--allow-empty', '-m', message)
        if push:
            git(self.site, 'push', '-q', 'origin', '+HEAD:master')

    def clone(self, *options: str) -> None:
        """Make the host's clone with hooks and configuration."""
        git(self.folder, 'clone', '-q', *options, f'file://{self.hub}', str(self.host))
        self.hooks(self.host / '.git')

    def hooks(self, git_dir: Path, *names: str) -> None:
        """Put the project's hooks into `git_dir`, as the installer does."""
        git(git_dir, 'config', 'mirage.config', str(self.config))
        git(git_dir, 'config', 'mirage.cron', 'none')
        for name in names or ('post-merge', 'post-receive', 'post-rewrite', 'pre-receive'):
            text = (ROOT / 'hooks' / name).read_text()
            hook = git_dir / 'hooks' / name
            hook.write_text(text.replace('#!/usr/bin/env python3', f'#!{sys.executable} -I', 1))
            hook.chmod(0o755)

    def pull(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The operator's (or an old cron line's) plain `git pull`."""
        return run('git', 'pull', '-q', *arguments, cwd=self.host)

    def mirage(self, *arguments: str, repository: Path | None = None) -> Any:
        """Run the command `mirage-hooks` on the host's clone."""
        return run(*self.command(*arguments, repository=repository), cwd=self.folder)

    def command(self, *arguments: str, repository: Path | None = None) -> tuple[str, ...]:
        """The command line of `mirage-hooks` for the host's clone."""
        return (sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(repository or self.host),
                *arguments)

    def page(self, port: int = 0, path: str = '/') -> str:
        """What the site answers now; '' when nobody does."""
        try:
            url = f'http://127.0.0.1:{port or self.port}{path}'
            with urllib.request.urlopen(url, timeout=60) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ''

    def state(self, git_dir: Path | None = None) -> store.Store:
        return store.Store((git_dir or self.host / '.git').resolve() / 'mirage-hooks')

    def history(self, git_dir: Path | None = None) -> list[journal.Entry]:
        return list(journal.entries(self.state(git_dir).history))

    def processes(self, git_dir: Path | None = None) -> list[tuple[Path, psutil.Process]]:
        """Every living process of a release, its sandbox aside, with the release's folder."""
        return [(folder, process) for folder, process in processes.marked(self.state(git_dir).root)
                if process.name() != 'bwrap']

    def current(self, name: str = 'www', git_dir: Path | None = None) -> model.Release:
        """The live release of `name`."""
        found = self.state(git_dir).of(name).current()
        assert found is not None
        return found

    def events(self) -> list[tuple[str, int]]:
        """What happened to the host's clone, as (event, release)."""
        return [(entry.event, entry.release) for entry in self.history()]

    def crash(self) -> None:
        """End what runs behind mirage-hooks' back, as a crash or a reboot does, and the keeper
        first, so that whatever is asked next sees it."""
        self.dismiss()
        processes.end([process for _, process in self.processes()])
        until(lambda: not list(processes.marked(self.state().root)))  # its walls report it

    def keepers(self) -> list[psutil.Process]:
        """The keeper of any repository of this deployment, and what it has begun."""
        return [process for process in psutil.process_iter() if _keeps(process, self.folder)]

    def drained(self, git_dir: Path | None = None) -> None:
        """Wait until one release of www is alone, and nobody changes anything."""
        state = self.state(git_dir)
        until(lambda: state.of('www').overlap() is None and not state.holder())

    def dismiss(self) -> None:
        """End the keeper at once: it starts nothing again."""
        while found := self.keepers():
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(found, timeout=PATIENCE)

    def hold_port(self, port: int = 0) -> socket.socket:
        """A TCP port of 127.0.0.1 (any by default) that another program holds until this is
        closed."""
        held = socket.socket()
        held.bind(('127.0.0.1', port))
        held.listen()
        return held

    def end(self) -> None:
        """End every process that this deployment started."""
        self.dismiss()
        for git_dir in (self.host / '.git', self.host, self.hub, self.folder / 'bare.git'):
            processes.end([process for _, process in processes.marked(self.state(git_dir).root)])


def _keeps(process: psutil.Process, folder: Path) -> bool:
    try:
        words = process.cmdline()
        if process.status() == psutil.STATUS_ZOMBIE or not any(
            word.startswith(f'{folder}/') for word in words
        ):
            return False
    except psutil.Error:
        return False
    return 'mirage_hooks.keeper' in words or words[-1] in ('keep', 'drain')


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder`; its output. Raises CalledProcessError with what it said."""
    done = run('git', *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run(*command: str, cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end with the test's environment; a failing test shows what it said."""
    done = subprocess.run(
        command, cwd=cwd, text=True, errors='replace', capture_output=True, timeout=PATIENCE,
        env=dict(os.environ), stdin=subprocess.DEVNULL, check=False, **more,
    )
    LOGGER.info('%s: %d\n%s%s', command[-4:], done.returncode, done.stdout, done.stderr)
    return done
