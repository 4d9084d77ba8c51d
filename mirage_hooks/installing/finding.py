"""What `check` says of one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from .. import config
from ..git.repository import Repository
from ..messages import errors
from ..state import store


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `problem`: a push would not end well before somebody does what
    `hint` says; `note`: worth knowing, and nothing fails without it."""

    subject: str
    level: Literal['ok', 'note', 'problem']
    text: str
    hint: str = ''


class Place(msgspec.Struct, frozen=True):
    """What is checked: a repository, what its mirage.yml says, and what its state knows."""

    repository: Repository
    settings: config.Settings
    state: store.Store


Found = Iterator[Finding]


def fine(subject: str, text: str) -> Finding:
    return Finding(subject, 'ok', text)


def note(subject: str, text: str, hint: str = '') -> Finding:
    return Finding(subject, 'note', text, hint)


def problem(subject: str, text: str, hint: str) -> Finding:
    return Finding(subject, 'problem', text, hint)


def refused(subject: str, why: errors.Refused) -> Finding:
    return problem(subject, why.reason, why.hint)


def looked(subject: str, text: str, look: Callable[[], object]) -> Finding:
    """`text` where `look` finds nothing to refuse."""
    try:
        look()
    except errors.Refused as why:
        return refused(subject, why)
    return fine(subject, text)
