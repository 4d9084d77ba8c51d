"""What the tests of the guests share: waiting, asking, a network of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable

import pytest

from tests import guests
from tests.patience import PATIENCE

CACHE = guests.SOURCES.parents[1] / '.cache' / 'guests'
SBIN = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'
Start = Callable[..., 'subprocess.Popen[bytes]']


def fetch(url: str, *inside: str) -> str:
    """Body and status, tried until it answers; `inside` is what enters the namespace."""
    command = (*inside, 'curl', '--silent', '--max-time', '60', '--write-out', '%{http_code}', url)
    end = time.monotonic() + PATIENCE
    while True:
        got = subprocess.run(command, capture_output=True, text=True)
        if got.returncode == 0 or time.monotonic() > end:
            assert got.returncode == 0, got
            return got.stdout
        time.sleep(0.05)


def needs(*commands: str, root: bool = False) -> pytest.MarkDecorator:
    missing = [c for c in commands if shutil.which(c, path=SBIN) is None]
    missing += ['root'] if root and os.geteuid() != 0 else []
    return pytest.mark.skipif(bool(missing), reason=f'needs {" and ".join(missing)}')


class Namespace:
    """A network namespace with a bridge (10.99.0.1/24) and a ready tap on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inside = ('ip', 'netns', 'exec', name)

    def __enter__(self) -> Namespace:
        run('ip', 'netns', 'add', self.name)
        try:
            for line in (
                'link set lo up',
                'link add br0 type bridge',
                'link set br0 address 02:00:00:00:00:01 up',
                'address add 10.99.0.1/24 dev br0',
                'tuntap add dev tap7 mode tap user root',
                'link set tap7 master br0 up',
            ):
                run('ip', '-n', self.name, *line.split())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        run('ip', 'netns', 'del', self.name)

    def fetch(self, url: str) -> str:
        return fetch(url, *self.inside)


def run(*command: str) -> str:
    """What it prints."""
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, 'PATH': SBIN}
    ).stdout
