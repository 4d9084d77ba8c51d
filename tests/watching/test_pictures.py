"""How something was, as shapes."""

from __future__ import annotations

from mirage_hooks.state.watched import MISSED, OURS, SILENT
from mirage_hooks.watching import pictures
from mirage_hooks.watching.pictures import Bar, Bars

HOUR = [7] * 60


def test_an_hour_is_a_bar_and_what_was_not_well_in_it_another_shape() -> None:
    minutes = [*HOUR, *[0] * 60, *[7] * 59, MISSED, *[7] * 30, *[SILENT] * 30]
    assert pictures.bars(minutes, 4, 'hour') == Bars(
        well='M0 0h180v100h-180z',
        others=(
            Bar('unknown', 240, 180, 0, '3 hours ago: nobody asked'),
            Bar('missed', 480, 180, 88, '2 hours ago: 1 min with an answer missing'),
            Bar('silent', 720, 180, 50, '1 hour ago: silent; up 50.00 %'),
        ),
        percent='83.33 %', words='83.33 %; silent in 1 of 4 hours')


def test_one_silent_minute_of_a_day_is_seen() -> None:
    (day,) = pictures.bars([*[7] * 1439, SILENT], 1, 'day').others
    assert (day.kind, day.up) == ('silent', 100 - pictures.LEAST)


def test_what_was_this_hosts_fault_was_not_asked() -> None:
    assert pictures.bars([OURS] * 60, 1, 'hour').others[0].kind == 'unknown'


def test_the_line_is_broken_where_no_answer_came() -> None:
    minutes = [10] * 2 + [20] * 2 + [SILENT, MISSED, 0, OURS] + [40] * 2
    drawn = pictures.line([*minutes, *[0] * (2 * pictures.POINTS - len(minutes))])
    assert drawn is not None
    assert (drawn.top, drawn.median, drawn.slowest) == (50, 20, 40)
    assert drawn.path == 'M5 80.0L15 60.0M45 20.0h.1', 'a point alone is a dot'
    assert drawn.area == 'M5 100L5 80.0L15 60.0V100zM45 100L45 20.0V100z'


def test_without_an_answer_there_is_no_line() -> None:
    assert pictures.line([0, SILENT, OURS, MISSED] * pictures.POINTS) is None
