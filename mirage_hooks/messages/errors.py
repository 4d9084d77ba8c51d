"""What can go wrong, in words for a person: a reason, and what to do about it."""

from __future__ import annotations


class Refused(Exception):
    """Bad input or a failed act: exit code 1. `reason` says what is wrong, `hint` what to do."""

    def __init__(self, reason: str, hint: str = '') -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class Unavailable(Refused):
    """Refused for a cause outside the image and its configuration: worth another try later."""


class Usage(Exception):
    """The command line cannot be understood: exit code 2."""
