"""A health question that a name server answers, by UDP and by TCP (RFC 1035, RFC 7766). Apart, for
dnspython takes longer to import than any other question takes to be asked.

Its codec alone is used: the sockets are ours, which lead to the release on trial, and every answer
is a stranger's until it is parsed. A message has 65535 bytes at most, and a pointer in it leads
backwards only, or dnspython raises FormError."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from .. import config

AGAIN = 1.0  # seconds until a datagram that is not answered is sent again
LARGEST = 65535  # bytes of a message (RFC 1035, 4.2.2)
TOLD = 0.9  # of its time: what is not answered by then is told, before the child is killed

Reach = Callable[[int], socket.socket]
"""Connects a socket of this kind (SOCK_DGRAM, SOCK_STREAM) to the server."""


def ask(question: config.Dns, what: str, limit: float, reach: Reach) -> str:
    """What is wrong with the answers to `question`, '' for nothing; raises OSError when there is
    none within `limit` seconds. A datagram that says that it was cut is an answer as well."""
    until = time.monotonic() + TOLD * limit
    for way, kind, exchange in (('UDP', socket.SOCK_DGRAM, _datagrams),
                                ('TCP', socket.SOCK_STREAM, _stream)):
        asked = dns.message.make_query(
            question.name, question.type, flags=0 if question.authoritative else dns.flags.RD,
            id=int.from_bytes(os.urandom(2), 'big'))
        try:
            with reach(kind) as connected:
                said = exchange(connected, asked.to_wire(), until)
            answer = dns.message.from_wire(said, raise_on_truncation=False)
        except OSError as error:
            return f'{what} did not answer by {way} ({error.strerror or error})'
        except dns.exception.DNSException as error:
            return f'{what} answered by {way} what is no DNS message ({_short(error)})'
        if wrong := _wrong(question, asked, answer, cut=way == 'UDP'):
            return f'{what} answered by {way} {wrong}'
    return ''


def _datagrams(connected: socket.socket, asked: bytes, until: float) -> bytes:
    while True:
        connected.send(asked)
        connected.settimeout(max(0.001, min(AGAIN, until - time.monotonic())))
        try:
            return connected.recv(LARGEST)
        except TimeoutError:
            if time.monotonic() >= until:
                raise TimeoutError('timed out') from None


def _stream(connected: socket.socket, asked: bytes, until: float) -> bytes:
    connected.sendall(len(asked).to_bytes(2, 'big') + asked)
    length = int.from_bytes(_exactly(connected, 2, until), 'big')
    return _exactly(connected, length, until)


def _exactly(connected: socket.socket, length: int, until: float) -> bytes:
    found = b''
    while len(found) < length:
        if (left := until - time.monotonic()) <= 0:
            raise TimeoutError('timed out')
        connected.settimeout(left)
        piece = connected.recv(length - len(found))
        if not piece:
            raise ConnectionError(f'the connection ended after {len(found)} of {length} bytes')
        found += piece
    return found


def _wrong(
    question: config.Dns, asked: dns.message.Message, answer: dns.message.Message, cut: bool
) -> str:
    """What is wrong with `answer`, which may be `cut`."""
    if not asked.is_response(answer) or answer.question != asked.question:
        return 'something else than it was asked'
    if answer.rcode() != dns.rcode.NOERROR:
        return f'{dns.rcode.to_text(answer.rcode())} (NOERROR wanted)'
    if question.authoritative and not answer.flags & dns.flags.AA:
        return 'without authority; a resolver is asked with `authoritative: false`'
    if answer.flags & dns.flags.TC:
        return '' if cut else 'a message that says that it was cut'
    kind = dns.rdatatype.from_text(question.type)
    found = [data.to_text() for records in answer.answer if records.rdtype == kind
             for data in records]
    if not found:
        return f'without a record of type {question.type}'
    if question.answer and not any(_says(data, question.answer) for data in found):
        return f'without {question.answer!r}'
    return ''


def _says(data: str, wanted: str) -> bool:
    """Whether `wanted` is the `data` of a record, or one word of it; a name may end in its dot, a
    text stand in quotes."""
    plain = wanted.lower().rstrip('.')
    return any(one.lower().rstrip('.') == plain or one == f'"{wanted}"'
               for one in (data, *data.split(' ')))


def _short(error: dns.exception.DNSException) -> str:
    return str(error).rstrip('.') or type(error).__name__
