"""A command that is run next to what we do meanwhile."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import IO

from . import programs

SAID = 65536  # bytes of what it says that are kept, its last ones


class Child:
    """A command under way, in a session of its own: it goes on when we are killed."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT,
            cwd='/', env={**os.environ, 'PATH': programs.PATH}, start_new_session=True,
        )

    def ended(self) -> bool:
        return self._process.poll() is not None

    def said(self) -> list[str]:
        """The lines that it said, once it has ended."""
        with self._output as output:
            size = output.seek(0, os.SEEK_END)
            output.seek(max(0, size - SAID))
            return output.read().decode(errors='replace').splitlines()
