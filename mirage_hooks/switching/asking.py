"""Asks a release one health question, once: with one deadline for all of it, and one for memory."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import urllib.parse
from collections.abc import Callable

from .. import config
from ..host import forked, programs
from ..messages import errors

CONNECT = 1.0  # seconds; whoever hears nothing by then asks again sooner than the kernel would
PAGE_LIMIT = 1024 * 1024  # bytes of a page that are searched
SENT_AS_IT_IS = "%/?:@!$&'()*+,;=-._~"  # RFC 3986, besides letters and digits
SHOWN = 200  # characters of what a stranger sent, in an error

Printed = Callable[[], str]
"""What the release has printed since it was started this time."""


def ask(
    question: config.Health, printed: Printed, limit: float, own: tuple[str, ...],
    wanted: Callable[[], None],
) -> str:
    """What is wrong with the answer, '' for nothing, within `limit` seconds whatever is answered.
    What `wanted` raises meanwhile ends it at once. With `own`, see `health.prove`."""
    'localhost'.encode('idna')  # loads what every look-up of a name takes: once, not in each child
    try:
        return forked.answer(lambda: _asked(question, printed, own), limit, wanted)
    except forked.Unanswered as stuck:
        if question.console:
            return f'the console could not be searched for {question.console!r} ({stuck})'
        return f'{_where(question)} did not answer ({stuck})'


def _asked(question: config.Health, printed: Printed, own: tuple[str, ...]) -> str:
    try:
        if question.http:
            return _http(question, own)
        if question.tcp:
            host, _, port = question.tcp.rpartition(':')
            _reach(host.strip('[]'), int(port), own).close()
        elif question.ping:
            programs.run('ping', '-n', '-c', '1', '-W', '1', _host(question.ping, own))
        elif question.console and not re.search(question.console, printed(), re.M):
            return f'the console did not say {question.console!r}'
    except (OSError, ValueError, http.client.HTTPException, errors.Unavailable) as error:
        return f'{_where(question)} did not answer ({_short(error)})'
    return ''


def _host(host: str, own: tuple[str, ...]) -> str:
    return host if host in own or not own else own[0]


def _reach(host: str, port: int, own: tuple[str, ...]) -> socket.socket:
    reached = socket.create_connection((_host(host, own), port), CONNECT)
    reached.settimeout(None)  # the child is ended when its time is over
    return reached


def _http(question: config.Health, own: tuple[str, ...]) -> str:
    url = urllib.parse.urlsplit(question.http or '')
    # Always with a port: http.client takes one from the end of a bare IPv6 address.
    port = url.port or {'http': 80, 'https': 443}[url.scheme]
    connection = _connection(str(url.scheme), str(url.hostname), port, question)
    # http.client's own way to connect, which tunnels and TLS are put on top of.
    connection._create_connection = (  # type: ignore[attr-defined]
        lambda where, *_: _reach(where[0], where[1], own)
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
    scheme: str, host: str, port: int, question: config.Health
) -> http.client.HTTPConnection:
    if scheme == 'http':
        return http.client.HTTPConnection(host, port)
    context = ssl.create_default_context()
    if question.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, context=context)


def _where(question: config.Health) -> str:
    return question.http or question.tcp or question.ping or 'the console'


def _short(error: Exception) -> str:
    if isinstance(error, errors.Unavailable):
        return 'no reply'
    return (getattr(error, 'strerror', None) or str(error) or type(error).__name__)[:SHOWN]
