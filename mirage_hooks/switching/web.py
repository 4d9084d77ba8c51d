"""A health question that a page answers. Apart, for http.client and what comes with it take longer
to import than any other question takes to be asked."""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
import sys
import urllib.parse
from collections.abc import Callable

from .. import config

SENT_AS_IT_IS = "%/?:@!$&'()*+,;=-._~"  # RFC 3986, besides letters and digits

DER = 2  # OpenSSL's number for this form

Reach = Callable[[str, int], socket.socket]
"""Connects to a host and port."""

Chain = tuple[str, ...]
"""The SHA-256 of each certificate, in hex; empty where any chain will do that verifies."""


def ask(
    question: config.Health, reach: Reach, most: int, name: str = '', presents: Chain = ()
) -> str:
    """What is wrong with the page, of which `most` bytes are searched, '' for nothing; raises
    OSError or ValueError when there is none. Over TLS the host `name` is asked for, and with
    `presents` that chain is wanted, whoever issued it."""
    try:
        return _asked(question, reach, most, name, presents)
    except http.client.HTTPException as error:
        raise ValueError(str(error) or type(error).__name__) from None


def shaken(reached: socket.socket, where: str, presents: Chain) -> str:
    """What is wrong with the chain that is presented at the other end of `reached`."""
    with _unverified().wrap_socket(reached) as secure:
        return _presented(secure, where, presents)


def _asked(
    question: config.Health, reach: Reach, most: int, name: str, presents: Chain
) -> str:
    url = urllib.parse.urlsplit(question.http or '')
    # Always with a port: http.client takes one from the end of a bare IPv6 address.
    port = url.port or {'http': 80, 'https': 443}[url.scheme]
    host, secure = str(url.hostname), url.scheme == 'https'
    context = _context(question, presents) if secure else None
    connection = (http.client.HTTPSConnection(host, port, context=context) if context
                  else http.client.HTTPConnection(host, port))
    try:
        reached = connection.sock = reach(host, port)
        if context:
            found = context.wrap_socket(reached, server_hostname=name if presents else host)
            connection.sock = found
            if wrong := _presented(found, str(question.http), presents):
                return wrong
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


def _context(question: config.Health, presents: Chain) -> ssl.SSLContext:
    if presents or question.insecure:
        return _unverified()
    return ssl.create_default_context()


def _unverified() -> ssl.SSLContext:
    """For whoever looks at the certificate by other means, or not at all."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _presented(reached: ssl.SSLSocket, where: str, presents: Chain) -> str:
    """What is wrong with the chain that is presented there; '' where it is the one wanted."""
    if not presents:
        return ''
    if sys.version_info >= (3, 13):
        ders = reached.get_unverified_chain()
    else:  # not public yet
        found = reached._sslobj.get_unverified_chain() or []  # type: ignore[attr-defined]
        ders = [one.public_bytes(DER) for one in found]
    chain = tuple(hashlib.sha256(one).hexdigest() for one in ders)
    if chain == presents:
        return ''
    if chain[:1] != presents[:1]:
        return f'{where} presents another certificate than that of `certificate:`'
    return (f'{where} presents its certificate, but not the chain of `certificate:` behind it '
            f'({len(chain)} of {len(presents)} certificates)')
