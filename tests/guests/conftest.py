from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import guests
from tests.guests import peer
from tests.guests.peer import Boot, Peer
from tests.guests.scene import CACHE, Namespace, Start
from tests.patience import until


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command with its output in `console`; ends it with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*command: str) -> subprocess.Popen[bytes]:
        with (tmp_path / 'console').open('wb') as console:
            running.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
                )
            )
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def console(tmp_path: Path) -> Callable[[], str]:
    # a serial line ends its lines in CR LF
    return lambda: (tmp_path / 'console').read_bytes().decode().replace('\r', '')


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace(f'guest{os.getpid()}') as namespace:
        yield namespace


@pytest.fixture
def boot(namespace: Namespace, start: Start, console: Callable[[], str]) -> Boot:
    """Starts a guest with these options, and a neighbour of its."""

    def booted(*options: str, **defined: int) -> Peer:
        image = str(guests.build('direct', CACHE, **defined))
        start(*namespace.inside, image, '--interface=tap7', '--mac=02:00:00:00:00:aa', *options)
        until(lambda: 'listening' in console() and peer.passes(namespace, 'tap7'))
        return Peer(namespace)

    return booted
