"""How well something was reached, from what is kept of each minute."""

from __future__ import annotations

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
    known = [one for one in minutes if one not in (0, watched.OURS)]
    if not known:
        return Piece(None)
    silent, missed = known.count(watched.SILENT), known.count(watched.MISSED)
    return Piece((len(known) - silent) / len(known), missed)
