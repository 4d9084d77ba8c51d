"""Asks a release one health question, once: with one deadline for all of it, and one for memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import config
from ..host import forked, listeners, programs
from ..messages import errors

if TYPE_CHECKING:
    import socket

CONNECT = 1.0  # seconds; whoever hears nothing by then asks again sooner than the kernel would
PAGE_LIMIT = 1024 * 1024  # bytes of a page that are searched
SHOWN = 200  # characters of what a stranger sent, in an error

Printed = Callable[[], str]
"""What the release has printed since it was started this time."""


class Certain(config.Health, frozen=True):
    """A question over TLS that is answered only where this very chain is presented: the SHA-256 of
    each certificate in `presents`, in hex."""

    presents: tuple[str, ...] = ()


def ask(
    question: config.Health, printed: Printed, limit: float, own: tuple[str, ...],
    wanted: Callable[[], None], apart: bool = False,
) -> str:
    """What is wrong with the answer, '' for nothing, within `limit` seconds whatever is answered.
    What `wanted` raises meanwhile ends it at once. With `own` and `apart`, see
    `health.prove`."""
    _ready(question)
    try:
        return forked.answer(
            lambda: _asked(question, printed, own, apart, limit), limit, wanted)
    except forked.Unanswered as stuck:
        return _unanswered(question, stuck)


def begin(question: config.Health, limit: float, own: tuple[str, ...]) -> forked.Asked:
    """Begin to ask `question`, one that goes over the network, as `ask` does."""
    _ready(question)
    return forked.begin(lambda: _asked(question, lambda: '', own, False, limit), limit)


def heard(question: config.Health, asked: forked.Asked) -> str:
    """What is wrong with the answer that came, or did not: see `ask`."""
    try:
        return forked.told(asked)
    except forked.Unanswered as stuck:
        return _unanswered(question, stuck)


def _ready(question: config.Health) -> None:
    """Import what `question` takes: what is imported here is not imported in each child."""
    'localhost'.encode('idna')  # every look-up of a name takes it
    import socket  # noqa: F401
    if question.http or isinstance(question, Certain):
        from . import web  # noqa: F401
    if question.dns:
        from . import nameserver  # noqa: F401


def _unanswered(question: config.Health, stuck: forked.Unanswered) -> str:
    if question.console:
        return f'the console could not be searched for {question.console!r} ({stuck})'
    return f'{where(question)} did not answer ({stuck})'


def where(question: config.Health) -> str:
    """What `question` asks, for a person."""
    if isinstance(question, Certain) and question.tcp:
        return f'{question.tcp}, by TLS,'
    return question.asks or 'the console'


def _asked(
    question: config.Health, printed: Printed, own: tuple[str, ...], apart: bool, limit: float
) -> str:
    try:
        presents = question.presents if isinstance(question, Certain) else ()
        if question.http:
            from . import web

            return web.ask(question, lambda host, port: _reach(host, port, own, apart), PAGE_LIMIT,
                           named(question), presents)
        if question.dns:
            from . import nameserver

            place = question.dns.place
            return nameserver.ask(question.dns, where(question), limit,
                                  lambda kind: _reach(*place, own, apart, kind))
        if question.tcp:
            host, _, port = question.tcp.rpartition(':')
            with _reach(host.strip('[]'), int(port), own, apart) as reached:
                if presents:
                    from . import web

                    return web.shaken(reached, question.tcp, presents)
        elif question.ping:
            programs.run('ping', '-n', '-c', '1', '-W', '1', _host(question.ping, own))
        elif question.console and not re.search(question.console, printed(), re.M):
            return f'the console did not say {question.console!r}'
    except (OSError, ValueError, errors.Unavailable) as error:
        return f'{where(question)} did not answer ({_short(error)})'
    return ''


def named(question: config.Health) -> str:
    """The host whose page, and whose certificate, `question` asks for."""
    import urllib.parse

    host = f'//{question.host}' if question.host else question.http or ''
    return str(urllib.parse.urlsplit(host).hostname or '')


def _host(host: str, own: tuple[str, ...]) -> str:
    return host if host in own or not own else own[0]


def _reach(
    host: str, port: int, own: tuple[str, ...], apart: bool, kind: int = 1  # SOCK_STREAM
) -> socket.socket:
    # Without a time-out afterwards: the child is ended when its time is over.
    return listeners.reach(_host(host, own), port, CONNECT, kind, apart)


def _short(error: Exception) -> str:
    if isinstance(error, errors.Unavailable):
        return 'no reply'
    return (getattr(error, 'strerror', None) or str(error) or type(error).__name__)[:SHOWN]
