"""How a release proves that it serves: asked again with back-off until it answers or time is up."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
import urllib.parse
from collections.abc import Callable

from .. import errors, model
from ..host import system

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.5  # seconds between two questions
LAST_CHANCE = 1.0  # seconds that a question has at least, however little time is left
PAGE_LIMIT = 1024 * 1024  # bytes of a page that are searched
SENT_AS_IT_IS = "%/?:@!$&'()*+,;=-._~"  # RFC 3986, besides letters and digits

Dead = Callable[[], str]
"""Why the release no longer runs; '' while it does."""

Printed = Callable[[], str]
"""What the release has printed since it was started this time."""


def questions(wanted: model.Unikernel, address: str = '') -> tuple[model.Health, ...]:
    """The configured questions, or the best that the network allows: at `address`, where a stack
    of its own can be reached from where it is asked."""
    if wanted.health:
        return wanted.health
    if wanted.port is not None:
        return (model.Health(tcp=f'{host(wanted)}:{wanted.port}'),)
    if address:
        return _at_address(wanted, address)
    return (model.Health(alive='1s'),)


def _at_address(wanted: model.Unikernel, address: str) -> tuple[model.Health, ...]:
    ports = [a.partition('=')[2] for a in wanted.arguments if a.startswith('--port=')]
    if ports and ports[0].isdigit():
        return (model.Health(tcp=f'{address}:{ports[0]}'),)
    if system.find('ping'):
        return (model.Health(ping=address),)
    return (model.Health(alive='1s'),)  # and it must answer ARP


def prove(
    asked: tuple[model.Health, ...], printed: Printed, dead: Dead, own: tuple[str, ...] = ()
) -> None:
    """Return when every question is answered; raises Refused with the last answer otherwise. With
    `own`, the release is alone on its wire at these addresses: it is asked whatever the questions
    name, also where no name can be looked up."""
    for question in asked:
        _insist(question, printed, dead, own)
    if reason := dead():
        raise errors.Refused(reason)


def watch(duration: float, dead: Dead) -> None:
    """Raise Refused when the release ends within `duration` seconds."""
    limit = time.monotonic() + duration
    while True:
        if reason := dead():
            raise errors.Refused(reason)
        left = limit - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.05))


def _insist(
    question: model.Health, printed: Printed, dead: Dead, own: tuple[str, ...]
) -> None:
    if question.alive:
        return watch(model.seconds(question.alive), dead)
    limit = time.monotonic() + model.seconds(question.within)
    pause = FIRST_PAUSE
    while True:
        if reason := dead():
            raise errors.Refused(reason)
        left = limit - time.monotonic()
        wrong = _ask(question, printed, max(left, LAST_CHANCE), own)
        if not wrong:
            return
        if left <= pause:
            raise errors.Refused(f'{wrong} within {question.within}')
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _ask(
    question: model.Health, printed: Printed, timeout: float, own: tuple[str, ...]
) -> str:
    """What is wrong with the answer; '' for nothing."""
    try:
        if question.http:
            return _http(question, timeout, own)
        if question.tcp:
            host, _, port = question.tcp.rpartition(':')
            _reach(host.strip('[]'), int(port), timeout, own).close()
        elif question.ping:
            system.run('ping', '-n', '-c', '1', '-W', '1', _asked(question.ping, own))
        elif question.console and not re.search(question.console, printed(), re.M):
            return f'the console did not say {question.console!r}'
    except (OSError, ValueError, http.client.HTTPException, errors.Unavailable) as error:
        return f'{_where(question)} did not answer ({_short(error)})'
    return ''


def _asked(host: str, own: tuple[str, ...]) -> str:
    return host if host in own or not own else own[0]


def _reach(host: str, port: int, timeout: float, own: tuple[str, ...]) -> socket.socket:
    return socket.create_connection((_asked(host, own), port), timeout)


def _http(question: model.Health, timeout: float, own: tuple[str, ...]) -> str:
    url = urllib.parse.urlsplit(question.http or '')
    connection = _connection(str(url.scheme), str(url.hostname), url.port, timeout, question)
    # http.client's own way to connect, which tunnels and TLS are put on top of.
    connection._create_connection = (  # type: ignore[attr-defined]
        lambda where, *_: _reach(where[0], where[1], timeout, own)
    )
    try:
        path = urllib.parse.urlunsplit(('', '', url.path or '/', url.query, ''))
        path = urllib.parse.quote(path, safe=SENT_AS_IT_IS)
        headers = {'Host': question.host} if question.host else {}
        connection.request('GET', path, headers={**headers, 'User-Agent': 'mirage-hooks'})
        answer = connection.getresponse()
        if answer.status != question.status:
            return f'{question.http} answered {answer.status} ({question.status} wanted)'
        if question.contains and question.contains.encode() not in answer.read(PAGE_LIMIT):
            return f'{question.http} answered without {question.contains!r}'
    finally:
        connection.close()
    return ''


def _connection(
    scheme: str, host: str, port: int | None, timeout: float, question: model.Health
) -> http.client.HTTPConnection:
    if scheme == 'http':
        return http.client.HTTPConnection(host, port, timeout=timeout)
    context = ssl.create_default_context()
    if question.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)


def host(wanted: model.Unikernel) -> str:
    """Where this host asks what runs on its sockets."""
    address = wanted.network.address if isinstance(wanted.network, model.Socket) else '127.0.0.1'
    return '127.0.0.1' if address == '0.0.0.0' else address  # noqa: S104


def _where(question: model.Health) -> str:
    return question.http or question.tcp or question.ping or 'the console'


def _short(error: Exception) -> str:
    if isinstance(error, errors.Unavailable):
        return 'no reply'
    return getattr(error, 'strerror', None) or str(error) or type(error).__name__
