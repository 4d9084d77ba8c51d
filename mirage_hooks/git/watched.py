"""What a git command says while it runs: how far it is, to be shown, and all else, to be kept."""

from __future__ import annotations

import os
import re
import selectors
from collections.abc import Callable
from typing import Any

LOOK = 0.1  # seconds between two looks at what says nothing
SAID = 1 << 20  # bytes of its words that are kept

# As `git --progress` has it, ours and the other side's.
PROGRESS = re.compile(
    rb'(remote: )?[A-Z][a-z ]+: +(\d+% \(\d+/\d+\).*|\d+(, done\.)?) *'
)
SUMS = re.compile(rb'(remote: )?(Total \d+ \(delta \d+\), .*|Delta compression using .*)')
ERASED = b'\x1b[K'  # what git puts after each line of the other side's

Tell = Callable[[str], None]


def read(process: Any, tell: Tell) -> tuple[bytes, bytes]:
    """What `process`, a Popen with two pipes, prints, and what it says beside its progress. `tell`
    hears its last words, again and again until it ends."""
    printed, words = bytearray(), _Words()
    takers = {process.stdout: printed.extend, process.stderr: words.take}
    with selectors.DefaultSelector() as open_pipes:
        for pipe, take in takers.items():
            open_pipes.register(pipe, selectors.EVENT_READ, take)
        while open_pipes.get_map():
            ready = open_pipes.select(LOOK)
            if not ready and process.poll() is not None:
                break  # what it has left behind, as ssh's master, may hold its pipes for hours
            for key, _ in ready:
                if part := os.read(key.fd, 1 << 16):
                    key.data(part)
                else:
                    open_pipes.unregister(key.fileobj)
            tell(words.last)
    return bytes(printed), words.kept()


class _Words:
    """What is said in pieces: the last of it, and what is kept."""

    def __init__(self) -> None:
        self.last = ''
        self._kept, self._rest = bytearray(), b''

    def take(self, part: bytes) -> None:
        *whole, self._rest = re.split(b'[\r\n]', self._rest + part)
        self._rest = self._rest[-SAID:]
        for line in whole:
            text = line.rstrip().removesuffix(ERASED)
            if not text or SUMS.fullmatch(text):
                continue
            self.last = ' '.join(os.fsdecode(text).split())
            if not PROGRESS.fullmatch(text) and len(self._kept) < SAID:
                self._kept += text + b'\n'

    def kept(self) -> bytes:
        """All but the progress, and no more of it than is asked for."""
        return bytes(self._kept + self._rest)[:SAID]
