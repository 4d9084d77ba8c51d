"""How a release proves that it serves: asked again with back-off until it answers or time is up."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

import msgspec

from .. import config
from ..host import programs
from ..messages import errors, progress
from . import asking

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.5  # seconds between two questions
LAST_CHANCE = 1.0  # seconds that a question has at least, however little time is left

Dead = Callable[[], errors.Refused | None]
"""Why the release no longer runs, and what to do about it; None while it does."""


def questions(wanted: config.Unikernel, address: str = '') -> tuple[config.Health, ...]:
    """The configured questions, or the best that the network allows: at `address`, where a stack
    of its own can be reached from where it is asked."""
    if wanted.health:
        return tuple(_placed(one, wanted) for one in wanted.health)
    if wanted.port is not None:
        return (config.Health(tcp=f'{host(wanted)}:{wanted.port}'),)
    if address:
        return at_address(wanted, address)
    return (config.Health(alive='1s'),)


def _placed(question: config.Health, wanted: config.Unikernel) -> config.Health:
    """`question`, with the place where a name server is asked."""
    if question.dns is None or question.dns.server or wanted.network is None:
        return question
    at = msgspec.structs.replace(question.dns, server=wanted.network.server)
    return msgspec.structs.replace(question, dns=at)


def at_address(wanted: config.Unikernel, address: str) -> tuple[config.Health, ...]:
    """The best question that a stack of its own can be asked at `address`."""
    ports = [a.partition('=')[2] for a in wanted.arguments if a.startswith('--port=')]
    if ports and ports[0].isdigit():
        return (config.Health(tcp=f'{bracketed(address)}:{ports[0]}'),)
    if programs.find('ping'):
        return (config.Health(ping=address),)
    return (config.Health(alive='1s'),)  # and it must answer ARP


def prove(
    asked: tuple[config.Health, ...], printed: asking.Printed, dead: Dead,
    own: tuple[str, ...] = (), apart: bool = False,
) -> None:
    """Return when every question is answered; raises Refused with the last answer otherwise. With
    `own`, the release is alone on its wire at these addresses: it is asked whatever the questions
    name, also where no name can be looked up; `apart`, it alone of those on its port is asked."""
    for question in asked:
        _insist(question, printed, dead, own, apart)
    _require_alive(dead)


def watch(duration: float, dead: Dead) -> None:
    """Raise Refused when the release ends within `duration` seconds."""
    limit = time.monotonic() + duration
    with progress.doing('watching whether it goes on', duration) as work:
        while True:
            _require_alive(dead)
            left = limit - time.monotonic()
            if left <= 0:
                return
            work.now()
            time.sleep(min(left, 0.05))


def _require_alive(dead: Dead) -> None:
    if refusal := dead():
        raise refusal


def _insist(
    question: config.Health, printed: asking.Printed, dead: Dead, own: tuple[str, ...],
    apart: bool,
) -> None:
    if question.alive:
        return watch(config.seconds(question.alive), dead)
    within, where = config.seconds(question.within), asking.where(question)
    limit, pause, wrong = time.monotonic() + within, FIRST_PAUSE, ''
    with progress.doing(f'waiting for {where}', within) as work:
        def wanted() -> None:
            _require_alive(dead)
            work.now(wrong.removeprefix(f'{where} '))

        while True:
            wanted()
            left = limit - time.monotonic()
            wrong = asking.ask(question, printed, max(left, LAST_CHANCE), own, wanted, apart)
            if not wrong:
                return
            if left <= pause:
                raise errors.Refused(f'{wrong} within {question.within}')
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def plain(host: str) -> str:
    """`host`, spelled as all addresses are here when it is one."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def bracketed(host: str) -> str:
    return f'[{host}]' if ':' in host else host


def host(wanted: config.Unikernel) -> str:
    """Where this host asks what runs on its sockets."""
    address = wanted.network.address if isinstance(wanted.network, config.Socket) else '127.0.0.1'
    return '127.0.0.1' if address == '0.0.0.0' else address  # noqa: S104
