"""The command `mirage-hooks`: arguments in, exit codes out, see `parser.CODES`."""

from __future__ import annotations

from pathlib import Path

from ..messages import terminal
from ..state import caller
from . import parser, running


def main(arguments: list[str] | None = None) -> int:
    """Run the command line `arguments` (sys.argv's by default); the exit code."""
    given = parser.parsed(arguments)
    terminal.colour = given.color
    caller.forget()
    caller.close_to_others()
    return running.guarded(lambda: int(given.act(given)), Path(given.repository))
