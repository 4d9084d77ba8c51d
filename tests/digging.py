"""Visitors of a name server, each of whom asks all the time while a block runs: by UDP, by TCP, and
with kdig by both in turn."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE

SCRIPT = Path(__file__).parent / 'asking_dns.py'


class Visitors:
    """At `server`, from `inside` a namespace, as `ip netns exec NAME`, and from its address
    `source`, where it has several."""

    def __init__(
        self, server: str, port: int, inside: tuple[str, ...] = (), source: str = ''
    ) -> None:
        self.server, self.port, self.inside, self.source = server, port, inside, source
        self.over = threading.Event()
        self.found: dict[str, Any] = {}
        self.dug, self.undug = 0, list[str]()

    @contextlib.contextmanager
    def asking(self) -> Iterator[Visitors]:
        both = {way: self._begun(way) for way in ('udp', 'tcp')}
        digs = threading.Thread(target=self._dig, daemon=True)
        digs.start()
        try:
            yield self
        finally:
            self.over.set()
            digs.join()
            for way, process in both.items():
                said, _ = process.communicate('\n', timeout=2 * PATIENCE)
                self.found[way] = json.loads(said)

    @property
    def asked(self) -> dict[str, int]:
        return {**{way: one['asked'] for way, one in self.found.items()}, 'kdig': self.dug}

    @property
    def unanswered(self) -> list[str]:
        return [*self.undug, *(f'{way} {said}' for way, one in self.found.items()
                               for said in one['failed'])]

    @property
    def texts(self) -> set[str]:
        return {text for one in self.found.values() for text in one['texts']}

    def _begun(self, way: str) -> subprocess.Popen[str]:
        begun = subprocess.Popen(
            (*self.inside, sys.executable, '-I', str(SCRIPT), self.server, str(self.port), way,
             '3', *([self.source] if self.source else [])),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert begun.stdout is not None
        assert begun.stdout.readline() == 'asking\n'
        return begun

    def _dig(self) -> None:
        for way in itertools.cycle(('+notcp', '+tcp')):
            if self.over.wait(0.005):
                return
            self.dug += 1
            done = subprocess.run(
                (*self.inside, 'kdig', f'@{self.server}', '-p', str(self.port), way, '+retry=0',
                 '+time=60', '+short', *(['-b', self.source] if self.source else []),
                 'version.example.org', 'TXT'),
                capture_output=True, text=True)
            if done.returncode or not done.stdout.startswith('"release-'):
                self.undug.append(f'kdig {way} {done.stdout}{done.stderr}')
