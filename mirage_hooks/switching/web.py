"""A health question that a page answers. Apart, for http.client and what comes with it take longer
to import than any other question takes to be asked."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.parse
from collections.abc import Callable

from .. import config

SENT_AS_IT_IS = "%/?:@!$&'()*+,;=-._~"  # RFC 3986, besides letters and digits

Reach = Callable[[str, int], socket.socket]
"""Connects to a host and port."""


def ask(question: config.Health, reach: Reach, most: int) -> str:
    """What is wrong with the page, of which `most` bytes are searched, '' for nothing; raises
    OSError or ValueError when there is none."""
    try:
        return _asked(question, reach, most)
    except http.client.HTTPException as error:
        raise ValueError(str(error) or type(error).__name__) from None


def _asked(question: config.Health, reach: Reach, most: int) -> str:
    url = urllib.parse.urlsplit(question.http or '')
    # Always with a port: http.client takes one from the end of a bare IPv6 address.
    port = url.port or {'http': 80, 'https': 443}[url.scheme]
    connection = _connection(str(url.scheme), str(url.hostname), port, question)
    # http.client's own way to connect, which tunnels and TLS are put on top of.
    connection._create_connection = (  # type: ignore[attr-defined]
        lambda where, *_: reach(where[0], where[1])
    )
    try:
        path = urllib.parse.urlunsplit(('', '', url.path or '/', url.query, ''))
        path = urllib.parse.quote(path, safe=SENT_AS_IT_IS)
        headers = {'Host': question.host} if question.host else {}
        connection.request('GET', path, headers={**headers, 'User-Agent': 'mirage-hooks'})
        answer = connection.getresponse()
        if answer.status != question.status:
            return f'{question.http} answered {answer.status} ({question.status} wanted)'
        if question.contains and question.contains.encode() not in answer.read(most):
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
