"""What the watcher has done about a silent release: the same as a person's restart or rollback,
with the same lock and in the same history, and with the reason."""

from __future__ import annotations

import msgspec

from .. import config
from ..git.repository import Repository
from ..messages import errors
from ..messages.report import Reporter
from ..state import files, model, store
from ..state.releases import Releases
from ..switching import asked, asking, certified, launcher
from . import changeover, converge, ended, managed, rollback, standing, told
from .candidate import Candidates
from .context import Context, Intent

TRIGGER = 'watcher'
ANSWER = 2.0  # seconds that it has to answer after all, before anything is done
EVENTS = {'silent': 'silent', 'fault': 'not watched', 'answers': 'answers again'}
AGAIN = 'publish another image, or try it all the same: mirage-hooks deploy {}'


class Silence(msgspec.Struct, frozen=True):
    """What is to be done (`policy.Kind`) about `release` of `unikernel`, and why."""

    unikernel: str
    release: int
    act: str
    reason: str
    hint: str = ''


def heal(repository: Repository, silence: Silence, report: Reporter) -> list[model.Outcome]:
    """Do it; what came of that unikernel, and of others that were converged with it. Nothing is
    done when that release no longer is what serves, has ended, or answers again: much may have
    happened while the lock was waited for. Raises Refused when nothing can be told."""
    name, state = silence.unikernel, store.opened(repository.state)
    intent = Intent(TRIGGER, restarted=(name,), reason=silence.reason)
    with state.lock(TRIGGER, store.PATIENCE, report.waiting):
        releases = state.of(name)
        current = releases.current()
        if current is None or current.number != silence.release or releases.stopped():
            return []
        if not launcher.alive(releases, current):
            return []  # the keeper's
        context = Context(repository, state, intent, report)
        settings = context.settings()
        wanted = settings.unikernels.get(name)
        if silence.act not in EVENTS and managed.left_alone(name, wanted):
            return []
        outcomes = _healed(context, silence, releases, current, wanted)
        standing.tell(state, settings)
        return outcomes


def _healed(
    context: Context, silence: Silence, releases: Releases, current: model.Release,
    wanted: config.Unikernel | None,
) -> list[model.Outcome]:
    if silence.act in EVENTS:
        return [_told(context, silence, current)]
    if wanted is None or _answers(wanted, releases, current):
        return []
    context.note(silence.unikernel, 'silent', current, reason=silence.reason)
    if silence.act == 'rollback':
        return [_rolled_back(context, silence, releases, current)]
    return _restarted(context, silence, releases, current, wanted)


def _answers(wanted: config.Unikernel, releases: Releases, current: model.Release) -> bool:
    questions = asked.lasting(certified.running(wanted, releases, current), current)
    return bool(questions) and not any(
        asking.ask(one, lambda: '', ANSWER, (), lambda: None) for one in questions)


def _told(context: Context, silence: Silence, current: model.Release) -> model.Outcome:
    context.note(silence.unikernel, EVENTS[silence.act], current, reason=silence.reason)
    kinds: dict[str, model.Kind] = {'silent': 'silent', 'fault': 'unasked'}
    kind = kinds.get(silence.act, 'unchanged')
    return model.Outcome(silence.unikernel, kind, current, silence.reason, silence.hint)


def _rolled_back(
    context: Context, silence: Silence, releases: Releases, current: model.Release
) -> model.Outcome:
    name, reason = silence.unikernel, f'release {current.number} was silent: {silence.reason}'
    return rollback.turned_down(context, name, releases, current, reason, AGAIN.format(name))


def _restarted(
    context: Context, silence: Silence, releases: Releases, current: model.Release,
    wanted: config.Unikernel,
) -> list[model.Outcome]:
    """By a fresh instance next to it where two can live side by side, else in its place."""
    candidates = Candidates(context)
    try:
        candidates.read(silence.unikernel, wanted)
        same = candidates.fingerprint(silence.unikernel, wanted) == current.fingerprint
    except errors.Refused:  # a secret or a certificate: that must not keep it from a restart
        same = False
    if same and changeover.foreseen(context, releases, current, current, wanted)[0]:
        try:
            return [_next_to(context, candidates, silence, releases, current, wanted)]
        except errors.Unavailable as missing:
            context.report.step(silence.unikernel, 'no fresh instance can be started next to '
                                f'release {current.number}: {missing.reason}')
        except errors.Refused as refused:  # so it would be in its place
            reason = f'{silence.reason}; nor does a fresh instance of it serve: {refused.reason}'
            return [model.Outcome(silence.unikernel, 'silent', current, reason, refused.hint)]
    outcomes = converge.converged(context)
    return [one for one in outcomes
            if one.unikernel == silence.unikernel or not told.silent(one)]


def _next_to(
    context: Context, candidates: Candidates, silence: Silence, releases: Releases,
    current: model.Release, wanted: config.Unikernel,
) -> model.Outcome:
    """Whatever still works of `current` goes on until the fresh instance has proved itself."""
    name = silence.unikernel
    files.write(context.state.fastpath, None)
    context.tidy()
    fresh = candidates.again(releases, name, wanted, current)
    try:
        with ended.explained(releases, fresh):
            changeover.follow(context, releases, current, fresh, wanted)
            pin = releases.pin()
            if pin is not None and pin.release == current.number:  # a rollback holds on
                releases.set_pin(msgspec.structs.replace(pin, release=fresh.number))
    finally:
        context.leave()
    releases.prune(wanted.keep)
    context.note(name, 'restarted', fresh, reason=silence.reason)
    reason = (f'release {current.number} was silent: {silence.reason}; release {fresh.number}, the '
              'same image, took its place')
    return model.Outcome(name, 'restarted', fresh, reason)
