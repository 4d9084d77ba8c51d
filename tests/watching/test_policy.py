"""What is done about answers that come and do not, by a table and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from mirage_hooks import config
from mirage_hooks.state import watched
from mirage_hooks.watching import policy
from mirage_hooks.watching.policy import Act, Answer, Case, Release

T = 1_000_000_000.0
HOUR, DAY = 3600.0, 86400.0
RULE = config.Watch()
OLD = Release(7, 'seven', since=T - 90 * DAY, started=T - 90 * DAY, before=DAY)
NEW = Release(8, 'eight', since=T - HOUR, started=T - HOUR, before=3 * DAY)
MISS, FINE = Answer('http://a/ did not answer (timed out)'), Answer()
WHY = 'http://a/ did not answer (timed out), 3 times in a row'
RESTART = Act('restart', WHY)


class Clock:
    """One unikernel whose answers come every ten seconds of a clock that stands meanwhile."""

    def __init__(self, release: Release = OLD, rule: config.Watch = RULE) -> None:
        self.release, self.rule, self.now = release, rule, T
        self.case = Case(watched.Record())

    def told(self, answers: Iterable[Answer]) -> list[Act]:
        """What was to be done about `answers`."""
        acts = []
        for answer in answers:
            self.now += 10
            self.case, act = policy.step(self.case, answer, self.rule, self.release, self.now)
            acts += [act] if act.kind else []
        return acts

    def silence(self) -> list[Act]:
        """What was to be done about one that a restart ends."""
        return self.told([*[MISS] * 3, *[FINE] * 2])


@pytest.mark.parametrize(('answers', 'acts'), [
    ([FINE] * 30, []),
    ([*[FINE] * 29, MISS] * 20, []),
    ([MISS, MISS, FINE] * 20, []),
    ([MISS] * 3, [RESTART]),
    ([MISS] * 5, [RESTART]),
    ([MISS] * 6, [RESTART, RESTART]),
    ([MISS, MISS, Answer(fault='br0 is down'), MISS, MISS], []),
    ([MISS, MISS, Answer(down=True), MISS, MISS], []),
    ([Answer(down=True)] * 9, []),
], ids=['fine', 'one lost in thirty', 'two of three lost', 'three misses', 'five', 'again',
        'a fault of this host', 'ended', 'ended for long'])
def test_three_misses_in_a_row_are_a_silence(answers: list[Answer], acts: list[Act]) -> None:
    assert Clock().told(answers) == acts


def test_another_release_is_asked_from_the_beginning() -> None:
    clock = Clock()
    assert clock.told([MISS, MISS]) == []
    clock.release = NEW
    assert clock.told([MISS, MISS]) == []
    assert clock.told([MISS]) == [RESTART]
    clock.release = OLD
    assert clock.told([FINE]) == []
    assert clock.case.record.silent is None


def test_after_five_restarts_in_eight_hours_it_is_only_told_and_once() -> None:
    clock = Clock()
    acts = clock.told([MISS] * 60)
    assert acts[:-1] == [RESTART] * 5
    assert acts[-1] == Act(
        'silent', f'{WHY}; it was restarted 5 times in 8 h, and is not restarted any more',
        'see what it prints: mirage-hooks logs NAME; to restart it all the same: mirage-hooks '
        'restart NAME',
    )
    assert clock.told([FINE]) == []
    assert clock.told([FINE]) == [Act('answers', 'it answers again after 10 min')]
    clock.now += 8 * HOUR
    assert clock.told([MISS] * 3) == [RESTART]


def test_restarts_keep_the_pauses_of_crashes() -> None:
    clock = Clock(rule=config.Watch(misses=1))
    assert [act.kind for act in clock.told([MISS] * 3)] == ['restart'] * 3
    clock.now -= 9
    assert clock.told([MISS]) == [], '8 s have not passed'


def test_a_young_image_that_is_silent_again_gives_way_to_one_that_served_for_a_day() -> None:
    clock = Clock(NEW)
    assert clock.told([MISS] * 3) == [RESTART]
    clock.release = again(clock)
    assert clock.told([FINE] * 100) == []
    assert clock.told([MISS] * 3) == [Act('rollback', f'{WHY}, again after a restart')]


def again(clock: Clock) -> Release:
    """A fresh instance of NEW, started now."""
    return Release(9, 'eight', since=NEW.since, started=clock.now, before=NEW.before)


def test_a_restart_that_did_not_happen_blames_nobody() -> None:
    """As when somebody else had the lock, or it answered meanwhile."""
    clock = Clock(NEW)
    assert clock.told([MISS] * 3) == [RESTART]
    assert clock.told([*[FINE] * 10, *[MISS] * 3]) == [RESTART]


def test_a_rollback_that_was_in_vain_is_not_tried_again() -> None:
    clock = Clock(NEW)
    assert clock.told([MISS] * 3) == [RESTART]
    clock.release = again(clock)
    acts = clock.told([MISS] * 60)
    assert [act.kind for act in acts] == ['rollback', *['restart'] * 4, 'silent']


@pytest.mark.parametrize(('release', 'rule'), [
    (Release(8, 'eight', since=T - 25 * HOUR, started=T + HOUR, before=3 * DAY), RULE),
    (Release(8, 'eight', since=T - HOUR, started=T + HOUR, before=23 * HOUR), RULE),
    (Release(8, 'eight', since=T - HOUR, started=T + HOUR), RULE),
    (Release(8, 'eight', since=T - HOUR, started=T + HOUR, before=3 * DAY),
     config.Watch(heal='restart')),
], ids=['a day old', 'after one that served for less', 'the first', 'heal: restart'])
def test_any_other_image_is_restarted_again(release: Release, rule: config.Watch) -> None:
    assert Clock(release, rule).told([MISS] * 6) == [RESTART] * 2


def test_heal_never_tells_once_and_when_it_answers_again() -> None:
    clock = Clock(rule=config.Watch(heal='never'))
    assert clock.told([MISS] * 30) == [Act(
        'silent', WHY, '`heal: never` in mirage.yml leaves it so; to restart it: mirage-hooks '
        'restart NAME',
    )]
    assert clock.told([FINE, MISS, FINE, FINE]) == [Act('answers', 'it answers again after 5 min')]


def test_three_silences_in_a_day_are_one_notice_whatever_lies_between_them() -> None:
    clock, acts = Clock(), []
    for _ in range(6):
        acts += clock.silence()
        clock.now += 3 * HOUR
    notice = f'{WHY}; silent 3 times in 24 h, and no more is said of it for a day'
    assert acts == [
        RESTART, RESTART, Act('restart', notice), *[Act('restart', WHY, quiet=True)] * 3]


def test_a_fault_of_this_host_is_told_once_until_it_is_over() -> None:
    clock, fault = Clock(), Answer(fault='br0 is down')
    told = Act('fault', 'br0 is down', 'nothing is done about the release: put this host right, '
               'and see mirage-hooks check')
    assert clock.told([fault] * 2) == []
    assert clock.told([fault] * 20) == [told]
    assert clock.told([Answer(fault='so many MB are left')] * 3) == [], 'numbers change'
    assert clock.told([FINE, *[fault] * 3]) == [told]


def test_a_clock_that_is_set_back_keeps_nobody_waiting() -> None:
    clock = Clock()
    assert clock.told([MISS] * 3) == [RESTART]
    clock.now -= 30 * DAY
    assert clock.told([MISS] * 3) == [RESTART]
