"""How well something was reached, from what is kept of each minute."""

from __future__ import annotations

import math

import msgspec

from ..state import watched


class Piece(msgspec.Struct, frozen=True):
    """Some time: `up`, the share (0 to 1) of its minutes in which it was not silent, None where
    nobody asked; `missed` are minutes with an answer that did not come."""

    up: float | None
    missed: int = 0


def shares(minutes: list[int], pieces: int) -> list[Piece]:
    """`minutes` (watched.probes), in as many `pieces` of the same length."""
    size = len(minutes) // pieces
    return [share(minutes[begin:begin + size]) for begin in range(0, size * pieces, size)]


def share(minutes: list[int]) -> Piece:
    """All of `minutes`. What was this host's own fault counts as not asked, an answer that did not
    come as asked: one alone says nothing."""
    known = len(minutes) - minutes.count(0) - minutes.count(watched.OURS)
    if not known:
        return Piece(None)
    silent, missed = minutes.count(watched.SILENT), minutes.count(watched.MISSED)
    return Piece((known - silent) / known, missed)


def percent(up: float | None) -> str:
    """Rounded down: 100 % is never silent."""
    if up is None:
        return '-'
    return '100 %' if up == 1 else f'{math.floor(up * 10_000) / 100:.2f} %'
