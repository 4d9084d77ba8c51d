"""What the taps of releases are called."""

from __future__ import annotations

import hashlib


def name(unikernel: str, owner: str, number: int, index: int) -> str:
    """What the tap for network `index` of release `number` is called, in 15 characters, the
    kernel's limit. The release's number and not its slot: a rollback may go to a release of the
    same slot, and both run for a while."""
    return f'{_stem(unikernel, owner)}{_digit(number // 36)}{_digit(number)}{_digit(index)}'


def pattern(unikernel: str, owner: str) -> str:
    """A shell pattern of the names of the taps that are made for `unikernel`."""
    return _stem(unikernel, owner) + '[0-9a-z]' * 3


def _stem(unikernel: str, owner: str) -> str:
    # A digest, because the names of two unikernels may well begin alike.
    digest = hashlib.sha256(unikernel.encode()).hexdigest()[:3]
    return f'{unikernel[:3]}{digest}-{owner[:4]}-'


def _digit(number: int) -> str:
    return '0123456789abcdefghijklmnopqrstuvwxyz'[number % 36]
