"""One round of questions to one release, as steps: each is a question under way, and whoever takes
the steps waits for many of them at once."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Generator

import msgspec

from .. import config
from ..host import forked
from ..messages import errors
from ..state import model
from ..switching import asked, asking, health
from . import faults
from .policy import Answer

AT_ONCE = 16  # questions under way
LOOK = 10.0  # seconds in which this host says what is wrong with itself


class Step(msgspec.Struct, frozen=True):
    """What is under way, and how its answer is read once it is there, or its time is over."""

    asked: forked.Asked
    heard: Callable[[], str]


Round = Generator[Step, str | None, Answer]
"""Gives its steps, is sent their answers, returns what came of all of them."""


def round_of(
    wanted: config.Unikernel, rule: config.Watch, release: model.Release, heard: bool
) -> Round:
    """Ask `release`; where it does not answer, ask it directly, and look at this host. `heard`: it
    has answered before."""
    began, limit = time.monotonic(), config.seconds(rule.timeout)
    try:
        wrong, missed = '', None
        for question in asked.lasting(wanted, release):
            if wrong := (yield from _step(question, limit, ())):
                missed = question
                break
        if missed is None:
            return Answer(took=max(1, round(1000 * (time.monotonic() - began))))
        if (yield from _directly(wanted, release, missed, limit)):
            return Answer(fault=faults.path(wrong, release))
        fault = yield from _fault(release, heard)
        return Answer(fault=fault) if fault else Answer(wrong)
    except errors.Unavailable as short:  # of processes
        return Answer(fault=short.reason)


def answers(under_way: dict[str, Round]) -> dict[str, Answer]:
    """What comes of the rounds `under_way`, of AT_ONCE at a time."""
    found, steps, left = dict[str, Answer](), dict[str, Step](), list(under_way)
    while left or steps:
        heard = dict.fromkeys(left[:AT_ONCE - len(steps)])
        del left[:len(heard)]
        over = _wait(steps) if not heard else {}
        for name, answer in {**heard, **over}.items():
            steps.pop(name, None)
            try:
                steps[name] = under_way[name].send(answer)
            except StopIteration as end:
                found[name] = end.value
    return found


def _wait(steps: dict[str, Step]) -> dict[str, str]:
    """The answers of those `steps` that are over, once one is."""
    limit = min(step.asked.until for step in steps.values()) - time.monotonic()
    came, _, _ = select.select([step.asked.reading for step in steps.values()], (), (),
                               max(0.0, limit))
    now = time.monotonic()
    return {name: step.heard() for name, step in steps.items()
            if step.asked.reading in came or step.asked.until <= now}


def _directly(
    wanted: config.Unikernel, release: model.Release, missed: config.Health, limit: float
) -> Generator[Step, str, bool]:
    """Whether `release` answers where no name, gateway or proxy is between; asked only where that
    is another question than the one that it `missed`."""
    direct = _direct(wanted, release)
    if direct is None or _is_direct(missed, wanted, direct.own):
        return False
    for question in direct.now:
        if question.console or question.alive:
            continue
        if (yield from _step(question, limit, direct.own)):
            return False
    return True


def _is_direct(question: config.Health, wanted: config.Unikernel, own: tuple[str, ...]) -> bool:
    found = asked.endpoint(question)
    host, port = (question.ping, None) if found is None else (health.plain(found[0]), found[1])
    return host in own and port in (wanted.port, *([] if wanted.port else [port]))


def _direct(wanted: config.Unikernel, release: model.Release) -> asked.Asked | None:
    """What it is asked directly; None where nobody knows where that is."""
    if wanted.port is not None and wanted.health:
        return asked.on_port(wanted, wanted.port)
    own = asked.addresses(release)
    return asked.on_stage(wanted, own) if own and wanted.health else None


def _step(
    question: config.Health, limit: float, own: tuple[str, ...]
) -> Generator[Step, str, str]:
    under_way = asking.begin(question, limit, own)
    return (yield Step(under_way, lambda: asking.heard(question, under_way)))


def _fault(release: model.Release, heard: bool) -> Generator[Step, str, str]:
    """In a process of its own: what it imports to look is gone with it."""
    def said() -> str:
        try:
            return forked.told(under_way)
        except forked.Unanswered:
            return 'this host does not say how its interfaces are'

    under_way = forked.begin(lambda: faults.found(release, heard), LOOK)
    return (yield Step(under_way, said))
