"""A real pseudo-terminal, as the standard error or output of a test, and what stands on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from typing import TextIO


class Screen:
    """A terminal of `columns`: `stream` is written to, `drawn` is all that came."""

    def __init__(self, columns: int) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
        self.stream: TextIO = os.fdopen(slave, 'w')

    def drawn(self) -> str:
        """What was written since the last time, as it was."""
        self.stream.flush()
        raw = b''
        while select.select((self.master,), (), (), 0.05)[0]:
            raw += os.read(self.master, 1 << 16)
        return raw.decode().replace('\r\n', '\n')

    def frames(self) -> list[str]:
        """What a line showed, one after the other; '' when it was taken away."""
        return [frame.rstrip(' ') for frame in re.split('\r+', self.drawn())[1:]]


@contextlib.contextmanager
def screen(columns: int = 80) -> Iterator[Screen]:
    made = Screen(columns)
    try:
        yield made
    finally:
        made.stream.close()
        os.close(made.master)
