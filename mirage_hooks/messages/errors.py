"""What can go wrong, in words for a person: a reason, and what to do about it."""

from __future__ import annotations

import shlex


class Refused(Exception):
    """Bad input or a failed act: exit code 1. `reason` says what is wrong, `hint` what to do."""

    def __init__(self, reason: str, hint: str = '') -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.lines: tuple[str, ...] = (reason,)


class Unavailable(Refused):
    """Refused for a cause outside the image and its configuration: worth another try later."""


class Mistakes(Refused):
    """All that is wrong in `file`, a line each, which begins with its place; `reason` is the
    first."""

    def __init__(self, file: str, lines: tuple[str, ...]) -> None:
        hint = f'more is wrong in it: mirage-hooks check {shlex.quote(file)}'
        super().__init__(lines[0], hint if len(lines) > 1 else '')
        self.lines = lines


class Usage(Exception):
    """The command line cannot be understood: exit code 2."""
