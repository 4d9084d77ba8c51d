"""The watcher: asks all that serves, many at once, and has healed what is silent. It holds no lock,
and may be killed at any moment: what it must not forget is written down before it acts."""

from __future__ import annotations

import contextlib
import select
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from .. import config
from ..host import children, forked
from ..messages import errors
from ..messages.report import plain
from ..state import model, user, watched
from ..state.releases import as_wanted
from ..switching import asked
from . import policy, rounds
from .fresh import Fresh
from .policy import Act, Answer, Case
from .watched import Known, Watched

LONGEST = 10.0  # seconds between two looks at what there is to watch
LATE = 3.0  # seconds by which we may be late before an answer that did not come is our own fault
ASLEEP = 1.0  # seconds that the host was suspended, after which the same holds

Say = Callable[[str], None]


class One:
    """One unikernel that is watched: what is known of it, and what is under way."""

    def __init__(self, of: Watched, due: float) -> None:
        self.of, self.due = of, due
        self.case = Case(watched.read(of.releases.root))
        self.release: model.Release | None = None
        self.round: rounds.Round | None = None
        self.step: rounds.Step | None = None
        self.healing: children.Child | None = None
        self.asleep = 0.0
        self.said = ''


class Watcher:
    """Watches the repositories `always` and those of the user's list; tells `say` what it sees.
    Without `acts` it changes nothing, keeps nothing, and only shows what it sees."""

    def __init__(self, always: tuple[Path, ...], say: Say, acts: bool) -> None:
        self.always, self.say, self.acts = always, say, acts
        self.known = Known()
        self.ones: dict[tuple[Path, str], One] = {}
        self.fresh = Fresh(say)
        self.version = _version()

    def watch(self) -> None:
        """Until there is nothing to watch, or we were replaced by another version."""
        while self._look():
            began = time.monotonic()
            if self.acts:
                self.fresh.look(began)
            while (left := began + LONGEST - time.monotonic()) > 0:
                self._turn(left)

    def _look(self) -> bool:
        """Read what is to be watched; whether there may be anything."""
        folders = (*self.always, *user.repositories())
        found = {one.key: one for one in self.known.all(folders)}
        for key in set(self.ones) - set(found):
            if step := self.ones.pop(key).step:
                forked.end(step.asked)
        for key, one in found.items():
            if key in self.ones:
                self.ones[key].of = one
            else:
                self.ones[key] = One(one, time.monotonic())
        return bool(folders) and _version() == self.version

    def _turn(self, left: float) -> None:
        """Begin what is due, take in what has come; wait for at most `left` seconds."""
        now = time.monotonic()
        busy = sum(one.step is not None for one in self.ones.values())
        waiting = [one for one in self.ones.values() if one.step is None and one.healing is None]
        for one in sorted(waiting, key=lambda one: one.due):
            if one.due <= now and busy < rounds.AT_ONCE:
                self._begin(one, now)
                busy += one.step is not None
        _wait(self.ones.values(), left, busy)
        for one in self.ones.values():
            self._take(one)

    def _begin(self, one: One, now: float) -> None:
        """Begin a round, where there is something to be asked."""
        one.due = now + config.seconds(one.of.rule.every)
        try:
            one.release = one.of.release()
            if one.release is None or not asked.lasting(one.of.asked(one.release), one.release):
                return
            if not as_wanted(one.of.wanted, one.release):
                return self._tell(one, 'is not asked: mirage.yml wants it started otherwise now')
            if one.of.down(one.release):
                return self._came(one, one.release, Answer(down=True))
        except errors.Refused:
            return  # damaged or not ours: whoever converges says so
        one.asleep = _asleep()
        one.round = rounds.round_of(one.of.asked(one.release), one.of.rule, one.release,
                                    one.case.heard and one.case.release == one.release.number)
        self._go_on(one, None)

    def _take(self, one: One) -> None:
        if one.healing is not None and one.healing.ended():
            for line in one.healing.said():
                self.say(f'  {line}')
            one.healing, one.due = None, time.monotonic()
        step = one.step
        if step is None:
            return
        came = bool(select.select((step.asked.reading,), (), (), 0)[0])
        late = time.monotonic() - step.asked.until
        if came or late >= 0:
            answer = step.heard()
            slept = _asleep() - one.asleep > ASLEEP
            if answer and (slept or late > LATE):
                one.round = one.step = None
                why = 'this host was suspended' if slept else 'this host was too busy to listen'
                self._note(one, watched.OURS, f'{why}: it is asked again')
                one.due = time.monotonic() + LATE
            else:
                self._go_on(one, answer)

    def _go_on(self, one: One, answer: str | None) -> None:
        """Take the next step of the round, or what came of it."""
        if one.round is None or one.release is None:
            return
        try:
            one.step = one.round.send(answer) if answer is not None else next(one.round)
        except StopIteration as end:
            one.round = one.step = None
            self._came(one, one.release, end.value)

    def _came(self, one: One, release: model.Release, answer: Answer) -> None:
        now, rule, before = time.time(), one.of.rule, one.case
        known = one.of.facts(release) if answer.wrong else policy.Release(
            release.number, release.digest)
        one.case, act = policy.step(before, answer, rule, known, now)
        doubted = one.case.doubted
        if act.kind and _heals(self.ones.values(), one.of.repository):
            one.case, act, doubted = before, policy.NOTHING, True  # its turn comes
        value = min(answer.took, watched.SLOWEST)
        if answer.fault:
            value = watched.OURS
        elif answer.wrong or answer.down:
            silent = answer.down or one.case.record.silent is not None
            value = watched.SILENT if silent else watched.MISSED
        self._note(one, value, _words(answer))
        if doubted:
            doubt = min(config.seconds(rule.doubt), config.seconds(rule.every))
            one.due += doubt - config.seconds(rule.every)
        if self.acts and one.case.record != before.record:
            try:
                watched.write(one.of.releases.root, one.case.record, now)
            except errors.Unavailable as full:  # a full disk: what cannot be counted is not begun
                one.case = before
                return self.say(f'{one.of.name}: {full.reason}')
        if act.kind and self.acts:
            self._act(one, act, release)

    def _act(self, one: One, act: Act, release: model.Release) -> None:
        what = act.kind if act.kind in ('restart', 'rollback') else 'told'
        self.say(f'{one.of.name}: {plain(act.reason)}: {what}')
        try:
            one.healing = children.Child((
                sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(one.of.repository), 'heal',
                one.of.name, act.kind, f'--release={release.number}',
                f'--reason={plain(act.reason)}', f'--hint={act.hint.replace("NAME", one.of.name)}',
                *(['--quiet'] * act.quiet),
            ))
        except OSError as error:  # no memory, no process
            self.say(f'{one.of.name}: {what} cannot be started: {error.strerror}')

    def _note(self, one: One, value: int, words: str) -> None:
        """Keep `value` for this minute; say what is new."""
        if value >= watched.OURS:
            one.said = ''
        self._tell(one, words)
        if self.acts:
            with contextlib.suppress(errors.Unavailable):  # a full disk
                watched.note(one.of.releases.root, time.time(), value)

    def _tell(self, one: One, words: str) -> None:
        text = f'{one.of.name}: release {one.release.number if one.release else 0} {plain(words)}'
        if text != one.said:
            self.say(text)
        one.said = text


def _wait(ones: Iterable[One], left: float, busy: int) -> None:
    """Until something comes of `ones`, of which `busy` are asked, or is due; `left` seconds at
    most."""
    now, poller = time.monotonic(), select.poll()
    moments = [now + left]
    for one in ones:
        if one.step is not None:
            poller.register(one.step.asked.reading, select.POLLIN)
            moments.append(one.step.asked.until)
        elif one.healing is not None:
            moments.append(now + 0.2)
        elif busy < rounds.AT_ONCE:
            moments.append(one.due)
    poller.poll(1000 * max(0.0, min(moments) - now))


def _heals(ones: Iterable[One], repository: Path) -> bool:
    """Whether something of `repository` is being healed: one at a time, as its lock has it, for
    where much is silent at once this host has enough to do."""
    return any(one.healing is not None and one.of.repository == repository for one in ones)


def _words(answer: Answer) -> str:
    if answer.down:
        return 'has ended: the keeper starts it again'
    if answer.fault:
        return f'cannot be judged: {answer.fault}'
    return f'MISSED: {answer.wrong}' if answer.wrong else 'answers'


def _asleep() -> float:
    """Seconds that this host was suspended since it was booted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


def _version() -> tuple[str, bytes]:
    """What tells the installed version from another one: the environment that install.sh's link
    names, and what is in ours; nothing of either when it is gone."""
    link, text = '', b''
    with contextlib.suppress(OSError):
        link = str((Path(sys.prefix).parent / 'current').readlink())
    with contextlib.suppress(OSError):
        text = (Path(__file__).parents[1] / '__init__.py').read_bytes()
    return link, text
