"""What is to be done about an answer that came or did not, from what was before and the clock: the
whole policy, and nothing else.

A silence is `misses` answers missing in a row. A silent release is restarted, with the pauses of
crashes, five times in eight hours; silent again after a restart it gives way to the release before,
where it is young and that one has served for a day. What is a fault of this host (`Answer.fault`)
is told and blames nobody. Three silences in a day are one notice, whatever lies between them."""

from __future__ import annotations

from typing import Literal

import msgspec

from .. import config
from ..state import watched
from ..switching import crashes

WINDOW, RESTARTS = 8 * 3600.0, 5  # seconds, and how often in them it is restarted
YOUNG = 86400.0  # seconds: an older image is not blamed, and a predecessor has served as long
DAY, FLAPS = 86400.0, 3  # seconds, and as many silences in them that are told as one

PATIENCE = 30  # answers missing in a row, after which it is no longer asked as in doubt

Kind = Literal['', 'restart', 'rollback', 'silent', 'answers', 'fault']


class Release(msgspec.Struct, frozen=True):
    """What serves: its number, its image, when (seconds since 1970) that was deployed, and when it
    was started last; for how many seconds the one before had served when it was deployed, None
    without one to go back to. Only an answer that did not come asks for more than the first two."""

    number: int
    digest: str
    since: float = 0
    started: float = 0
    before: float | None = None


class Answer(msgspec.Struct, frozen=True):
    """What came of one round of questions: what was `wrong`, '' for nothing, and in how many
    milliseconds all were answered; `fault` is what of this host kept it from telling. `down`: the
    release has ended, which is the keeper's to put right."""

    wrong: str = ''
    took: int = 1
    fault: str = ''
    down: bool = False


class Act(msgspec.Struct, frozen=True):
    """What is to be done; `quiet`: people were told enough."""

    kind: Kind = ''
    reason: str = ''
    hint: str = ''
    quiet: bool = False


class Case(msgspec.Struct, frozen=True):
    """What is known of one unikernel. Answers `missed`, `answered` and `faulted` are counted in a
    row, of one release; `heard`: it has answered at all."""

    record: watched.Record
    release: int = 0
    missed: int = 0
    answered: int = 0
    faulted: int = 0
    heard: bool = False

    @property
    def doubted(self) -> bool:
        """Whether it is to be asked again soon."""
        failed = max(self.missed, self.faulted)
        return 0 < failed < PATIENCE or (self.record.silent is not None and not failed)


NOTHING = Act()
_with = msgspec.structs.replace


def step(
    case: Case, answer: Answer, rule: config.Watch, release: Release, now: float
) -> tuple[Case, Act]:
    """What is known after `answer` of `release` at `now` (seconds since 1970), and what to do."""
    if case.release != release.number:
        case = Case(_ended(case.record, now), release.number)
    if answer.down:
        return _with(case, missed=0, answered=0, faulted=0), NOTHING
    if answer.fault:
        return _faulted(_with(case, missed=0, answered=0, faulted=case.faulted + 1), answer, rule)
    if not answer.wrong:
        return _answered(_with(case, missed=0, answered=case.answered + 1, faulted=0, heard=True),
                         rule, now)
    case = _with(case, missed=case.missed + 1, answered=0, faulted=0)
    if case.missed < rule.misses:
        return case, NOTHING
    return _silent(case, f'{answer.wrong}, {times(rule.misses)} in a row', rule, release, now)


def times(number: int) -> str:
    return {1: 'once', 2: 'twice'}.get(number, f'{number} times')


def _faulted(case: Case, answer: Answer, rule: config.Watch) -> tuple[Case, Act]:
    if case.faulted < rule.misses or case.record.fault:
        return case, NOTHING
    record = _with(case.record, fault=answer.fault)
    return _with(case, record=record), Act('fault', answer.fault, hint=(
        'nothing is done about the release: put this host right, and see mirage-hooks check'))


def _answered(case: Case, rule: config.Watch, now: float) -> tuple[Case, Act]:
    if case.record.fault:
        case = _with(case, record=_with(case.record, fault=''))
    silent = case.record.silent
    if silent is None or case.answered < rule.answers:
        return case, NOTHING
    case = _with(case, record=_ended(case.record, now))
    if not silent.told:
        return case, NOTHING
    return case, Act('answers', f'it answers again after {_span(now - silent.at)}')


def _silent(
    case: Case, reason: str, rule: config.Watch, release: Release, now: float
) -> tuple[Case, Act]:
    record = case.record
    if record.silent is None:
        one = watched.Silence(now, release.number, reason)
        record = _with(record, silences=(*record.silences, one), fault='')
    waiting = _with(case, record=record)
    record, reason, quiet = _flapping(record, reason, now)
    case = _with(case, record=record)
    healed = [one for one in record.healed if one.act == 'restart']
    if rule.heal == 'rollback' and _to_blame(record.healed, release, now):
        return _healed(case, 'rollback', f'{reason}, again after a restart', quiet, release, now)
    recent = [one for one in healed if now - one.at < WINDOW]
    if rule.heal == 'never':
        return _told(case, reason, '`heal: never` in mirage.yml leaves it so; to restart it: '
                     'mirage-hooks restart NAME', quiet)
    if len(recent) >= RESTARTS:
        return _told(case, f'{reason}; it was restarted {times(len(recent))} in 8 h, and is not '
                     'restarted any more', 'see what it prints: mirage-hooks logs NAME; to restart '
                     'it all the same: mirage-hooks restart NAME', quiet)
    if recent and 0 <= now - recent[-1].at < crashes.pause(len(recent)):
        return waiting, NOTHING
    return _healed(case, 'restart', reason, quiet, release, now)


def _to_blame(healed: tuple[watched.Healed, ...], release: Release, now: float) -> bool:
    """Whether the image is so new that it is the cause, it was indeed started again since it was
    silent, and there is one to go back to, which was not tried in vain."""
    lately = [one for one in healed if one.digest == release.digest and now - one.at < YOUNG]
    again = any(one.act == 'restart' and one.at <= release.started for one in lately)
    tried = any(one.act == 'rollback' for one in lately)
    proved = release.before is not None and release.before >= YOUNG
    return again and not tried and now - release.since < YOUNG and proved


def _flapping(
    record: watched.Record, reason: str, now: float
) -> tuple[watched.Record, str, bool]:
    """Whether people know already that it is silent again and again; else they are told once."""
    lately = sum(now - one.at < DAY for one in record.silences)
    if lately < FLAPS:
        return record, reason, False
    if 0 <= now - record.flapping < DAY:
        return record, reason, True
    reason = f'{reason}; silent {times(lately)} in 24 h, and no more is said of it for a day'
    return _with(record, flapping=now), reason, False


def _healed(
    case: Case, act: watched.Act, reason: str, quiet: bool, release: Release, now: float
) -> tuple[Case, Act]:
    """Written down before it is done: a kill in between must not make it endless."""
    one = watched.Healed(now, act, release.number, release.digest, reason)
    record = _with(case.record, healed=(*case.record.healed, one))
    return _with(case, record=record, missed=0), Act(act, reason, quiet=quiet)


def _told(case: Case, reason: str, hint: str, quiet: bool) -> tuple[Case, Act]:
    silent = case.record.silent
    if silent is None or silent.told:
        return case, NOTHING
    silences = (*case.record.silences[:-1], _with(silent, told=True))
    record = _with(case.record, silences=silences)
    return _with(case, record=record), Act('silent', reason, hint, quiet)


def _ended(record: watched.Record, now: float) -> watched.Record:
    silent = record.silent
    if silent is None:
        return record
    return _with(record, silences=(*record.silences[:-1], _with(silent, ended=now)))


def _span(seconds: float) -> str:
    return f'{seconds / 60:.0f} min' if seconds >= 120 else f'{seconds:.0f} s'
