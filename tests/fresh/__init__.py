"""A Debian 12 in a folder that has never seen this project: what passes there passes for strangers.

Only what the README asks for is installed, HOME is empty, and the device nodes are those of a
kernel without udev (`enter`). It has mounts, processes, IPC and a host name of its own, and goes
with the run. It shares the kernel and the network, through which packages come."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.rig import steps, wheels

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / '.cache' / 'fresh'
PACKAGES = ('git', 'python3', 'python3-venv', 'ca-certificates')
USER = 'person'
TOOLS = ('mmdebstrap', 'unshare', 'setpriv', 'pivot_root')

# How this machine reaches its package registries, and nothing else of it.
PIP = Path('/etc/pip.conf')
COPIED = (PIP, *map(Path, (
    '/etc/apt/sources.list', '/etc/apt/sources.list.d', '/etc/apt/apt.conf.d',
    '/etc/apt/auth.conf.d', '/etc/apt/keyrings', '/etc/apt/trusted.gpg.d',
    '/etc/ssl/certs', '/usr/local/share/ca-certificates', '/etc/resolv.conf', '/etc/hosts',
)))
PASSED = re.compile(r'PIP_(?!CACHE_DIR)|SSL_CERT_|(REQUESTS|CURL)_CA_BUNDLE$|(?i:\w+_proxy$)')


class Machine(msgspec.Struct, frozen=True):
    """One copy of the bare system, with the project's source at /src."""

    root: Path

    def run(
        self, *command: str, user: str = 'root', timeout: float = 3600
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` in /src as `user` (root or USER), with both outputs in `stdout`."""
        subprocess.run(('chroot', self.root, 'chown', '-R', f'{user}:{user}', '/src'), check=True)
        return subprocess.run(
            # setpriv: a killed test must not leave a machine running
            ('setpriv', '--pdeathsig=KILL', 'unshare', '--mount', '--pid', '--ipc', '--uts',
             '--propagation=private', '--fork', '--kill-child', 'sh', HERE / 'enter', self.root,
             user, *command),
            env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors='replace', timeout=timeout, check=False,
        )

    def left(self, user: str) -> list[str]:
        """What lies in the home of `user` and in the temporary folders, but for shells' own."""
        home = self.root / ('root' if user == 'root' else f'home/{user}')
        return sorted(
            str(path.relative_to(self.root))
            for folder in (home, self.root / 'tmp', self.root / 'var/tmp')
            for path in folder.iterdir() if path.name not in ('.bashrc', '.profile', '.bash_logout')
        )


def lacking() -> str:
    """What keeps this machine from having such a machine, or ''."""
    if os.geteuid() != 0:
        return 'a fresh machine needs root, for mounts and device nodes'
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f'a fresh machine needs {", ".join(absent)}' if absent else ''


@contextlib.contextmanager
def machine(root: Path, *more: str) -> Iterator[Machine]:
    """One at `root`, which is made and removed, with the packages `more` in it. Raises Refused when
    no Debian packages come."""
    subprocess.run(('cp', '-a', '--reflink=auto', bare(*more), root), check=True)
    try:
        for path in filter(Path.exists, COPIED):
            _copy(path, root)
        _clone(root / 'src')
        (root / 'binds').write_text(''.join(f'{path}\n' for path in bound()))
        yield Machine(root)
    finally:
        shutil.rmtree(root)


def bare(*more: str) -> Path:
    """The system that each starts from; the first call makes it, in about a minute."""
    packages = (*PACKAGES, *more)
    done = CACHE / hashlib.sha256(repr(packages).encode()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            unfinished = CACHE / 'unfinished'
            shutil.rmtree(unfinished, ignore_errors=True)
            steps.debian(unfinished, 'minbase', packages)
            subprocess.run(('chroot', unfinished, 'useradd', '--create-home', USER), check=True)
            unfinished.rename(done)
    return done


def environment() -> dict[str, str]:
    """What a command is given of this machine's environment: the way to the package index."""
    return {**_passed(), 'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
            'LANG': 'C.UTF-8', 'TERM': 'dumb'}


def _passed() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if PASSED.match(key)}


def bound() -> list[Path]:
    """The files and folders of this machine that pip's settings name: seen there, read-only."""
    settings = [*_passed().values(), *(path.read_text() for path in (PIP,) if path.exists())]
    named = {Path(path) for text in settings
             for path in re.findall(r'(?:^|[\s=]|file://)(/\S+)', text)}
    return sorted(path for path in named if path.exists()
                  and not any(path.is_relative_to(copied) for copied in COPIED))


def _clone(folder: Path) -> None:
    """A repository of one commit at `folder`: the project's source as it is now."""
    wheels.source(folder)
    git = ('git', '-C', folder, '-c', 'user.name=fresh', '-c', 'user.email=fresh@localhost')
    for command in (('init', '-q'), ('add', '-A'), ('commit', '-q', '-m', 'the source')):
        subprocess.run((*git, *command), check=True)


def _copy(path: Path, root: Path) -> None:
    """Put this machine's `path` in the place of what is there."""
    target = root / path.relative_to('/')
    subprocess.run(('rm', '-rf', target), check=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(('cp', '-aL', path, target), check=True)
