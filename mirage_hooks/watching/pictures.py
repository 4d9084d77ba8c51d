"""How something was, as shapes: numbers for the paths of an SVG, and nothing else. All are 100
units high, and WIDTH wide."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Literal

import msgspec

from ..state import watched
from . import uptime

WIDTH, HEIGHT = 960, 100
GAP = 0.25  # of a bar's place
LEAST = 12  # units: a silence is seen, however short
POINTS = 96  # of a line

Kind = Literal['up', 'missed', 'silent', 'unknown']


class Bar(msgspec.Struct, frozen=True):
    """Some time in which not all was well: its place, in how much of it `up` was, in words."""

    kind: Kind
    x: float
    width: float
    up: float
    words: str


class Bars(msgspec.Struct, frozen=True):
    """`well` is one path for all of the time that was; `percent` of all."""

    well: str
    others: tuple[Bar, ...]
    percent: str
    words: str


class Line(msgspec.Struct, frozen=True):
    """`path` are medians, `area` what is below, from 0 to `top` ms; `median` and `slowest` of all
    (ms)."""

    path: str
    area: str
    top: int
    median: int
    slowest: int


def bars(minutes: list[int], pieces: int, unit: str) -> Bars:
    """`minutes` (watched.probes) in as many `pieces`, each of which is a `unit` of time."""
    found, size = uptime.shares(minutes, pieces), WIDTH / pieces
    well, others = list[str](), list[Bar]()
    for number, piece in enumerate(found):
        x, width = round(number * size, 1), round(size * (1 - GAP), 1)
        kind = _kind(piece)
        if kind == 'up':
            well.append(f'M{x:g} 0h{width:g}v{HEIGHT}h-{width:g}z')
            continue
        up = 0 if piece.up is None else min(piece.up * HEIGHT, HEIGHT - LEAST)
        ago = pieces - number
        when = f'{ago} {unit}{"s" * (ago > 1)} ago'
        others.append(Bar(kind, x, width, round(up, 1), f'{when}: {_words(piece)}'))
    share = uptime.share(minutes)
    troubles = sum(one.kind == 'silent' for one in others)
    words = f'{uptime.percent(share.up)}; silent in {troubles} of {pieces} {unit}s'
    return Bars(''.join(well), tuple(others), uptime.percent(share.up), words)


def line(minutes: list[int]) -> Line | None:
    """The response time in `minutes` (watched.probes); None where there was no answer."""
    answers = [one for one in minutes if 0 < one <= watched.SLOWEST]
    if not answers:
        return None
    size = len(minutes) // POINTS
    points = [_median(minutes[begin:begin + size]) for begin in range(0, size * POINTS, size)]
    top = max(10, round(1.25 * max(one for one in points if one is not None)))
    path, area = list[str](), list[str]()
    for piece in _connected(points):
        placed = [f'{_x(at):g} {HEIGHT * (1 - ms / top):.1f}' for at, ms in piece]
        # A point alone is seen as a dot: a line of no length with round ends.
        path.append(f'M{"L".join(placed)}' + 'h.1' * (len(placed) == 1))
        area.append(f'M{_x(piece[0][0]):g} {HEIGHT}L{"L".join(placed)}V{HEIGHT}z')
    return Line(''.join(path), ''.join(area), top, round(statistics.median(answers)), max(answers))


def _connected(points: list[float | None]) -> Iterable[list[tuple[int, float]]]:
    """The pieces of a line that is broken where nothing is known."""
    piece = list[tuple[int, float]]()
    for at, one in enumerate((*points, None)):
        if one is not None:
            piece.append((at, one))
        elif piece:
            yield piece
            piece = []


def _x(point: int) -> float:
    return (point + 0.5) * WIDTH / POINTS


def _median(minutes: list[int]) -> float | None:
    answers = [one for one in minutes if 0 < one <= watched.SLOWEST]
    return statistics.median(answers) if answers else None


def _kind(piece: uptime.Piece) -> Kind:
    if piece.up is None:
        return 'unknown'
    if piece.up < 1:
        return 'silent'
    return 'missed' if piece.missed else 'up'


def _words(piece: uptime.Piece) -> str:
    if piece.up is None:
        return 'nobody asked'
    if piece.up < 1:
        return f'silent; up {uptime.percent(piece.up)}'
    return f'{piece.missed} min with an answer missing'
