"""How to tell that a release serves."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from .fields import Domain, Duration, Endpoint, Mapping, Url, Wrong

KINDS = ('http', 'tcp', 'ping', 'dns', 'console', 'alive')
"""Of questions, each by the key that asks it."""


Type = Literal[
    'A', 'AAAA', 'CAA', 'CNAME', 'DNSKEY', 'DS', 'HTTPS', 'MX', 'NS', 'PTR', 'SOA', 'SRV', 'SSHFP',
    'SVCB', 'TLSA', 'TXT',
]
"""Of the records that are asked for."""


class Dns(Mapping, frozen=True):
    """What a name server must answer, by UDP and by TCP, each within the question's time."""

    name: Annotated[Domain, Meta(description='the name that is asked for')]
    type: Annotated[Type, Meta(description='the type of its records')] = 'A'
    answer: Annotated[
        str, Meta(description='the data of one of them as a zone has it, or one word of it (as the '
                  'serial of a SOA); any, when left out', examples=['192.0.2.10'])
    ] = ''
    authoritative: Annotated[
        bool, Meta(description='the answer must come with authority; false for a resolver')
    ] = True
    server: Annotated[
        str, Meta(description="ADDRESS or ADDRESS:PORT that is asked; the unikernel's own address, "
                  'and the port of mode: socket or else 53, when left out',
                  examples=['192.0.2.53', '[2001:db8::53]:5353'])
    ] = ''

    def wrong(self) -> Iterator[Wrong]:
        if self.server and (why := _unaskable(f'//{self.server}')):
            yield Wrong(('server',), f'is {self.server!r}, which cannot be asked: {why}')

    @property
    def place(self) -> tuple[str, int]:
        """The host and the port of `server`."""
        found = urllib.parse.urlsplit(f'//{self.server}')
        return str(found.hostname), found.port or 53


class Health(Mapping, frozen=True):
    """One question that a release must answer before it counts as serving; give one of
    http, tcp, ping, dns, console or alive."""

    http: Annotated[Url | None, Meta(description='a URL that must answer')] = None
    status: Annotated[int, Meta(ge=100, le=599, description='http: the status wanted')] = 200
    contains: Annotated[str, Meta(description='http: text that the page must contain')] = ''
    host: Annotated[str, Meta(description='http: the Host header to send')] = ''
    insecure: Annotated[
        bool, Meta(description='https: accept any certificate, as of a test image')
    ] = False
    tcp: Annotated[
        Endpoint | None, Meta(description='ADDRESS:PORT that must accept a connection')
    ] = None
    ping: Annotated[str | None, Meta(description='an address that must answer a ping',
                         examples=['192.0.2.10'])] = None
    dns: Annotated[
        Dns | None, Meta(description='a question that a name server must answer',
                         examples=[{'name': 'www.example.org', 'answer': '192.0.2.10'}])
    ] = None
    console: Annotated[
        str | None, Meta(description='a regular expression that the console must come to match',
                         examples=['ready'])
    ] = None
    alive: Annotated[
        Duration | None, Meta(description='how long it must stay up, as 2s')
    ] = None
    within: Annotated[
        Duration, Meta(description='how long it may take: ms, s, m or h')
    ] = '30s'

    @property
    def asks(self) -> str:
        """What is asked over a network, for a person; '' for nothing."""
        if self.dns:
            return f'{self.dns.name} {self.dns.type} of {self.dns.server or "its own address"}'
        return self.http or self.tcp or self.ping or ''

    def wrong(self) -> Iterator[Wrong]:
        given = tuple(kind for kind in KINDS if getattr(self, kind))
        if not given:
            yield Wrong(KINDS, f'asks nothing: give it one of {", ".join(KINDS)}, such as '
                        'http: http://192.0.2.10/')
        if len(given) > 1:
            yield Wrong(given, f'asks {" and ".join(given)} at once: make a list of it, with one '
                        'question each, such as [{http: "http://192.0.2.10/"}, {alive: 2s}]')
        for key, place in (('http', self.http), ('tcp', self.tcp and f'//{self.tcp}')):
            if place and (why := _unaskable(place)):
                shown = place.removeprefix('//')
                yield Wrong((key,), f'is {shown!r}, which cannot be asked: {why}')
        if self.console is not None:
            try:
                re.compile(self.console)
            except re.error as error:
                yield Wrong(('console',), f'is {self.console!r}, which is no regular expression '
                            f'({error}): put a backslash before what stands for itself, such as '
                            "'\\(ready\\)'")


def unplaced(questions: tuple[Health, ...], server: str) -> Iterator[Wrong]:
    """What is wrong with `questions` to a name server in the unikernel itself, which is at `server`
    ('': only a person knows)."""
    if not server and any(one.dns and not one.dns.server for one in questions):
        yield Wrong(('health',), 'asks a name server and does not say where it is: give dns: '
                    'a server, such as dns: {name: example.org, type: SOA, server: 192.0.2.53}')


def _unaskable(url: str) -> str:
    """Why the host or the port of `url` can never be asked, and what can; '' when they can."""
    try:
        found = urllib.parse.urlsplit(url)
        named = found.port != 0 and (found.hostname or '').encode('idna')
    except UnicodeError:
        return 'its host is no name; a name is such as www.example.org'
    except ValueError as error:
        return f'{str(error)[:1].lower()}{str(error)[1:]}; a port is a number from 1 to 65535'
    return '' if named else 'it names no host, or port 0; such as 192.0.2.10:80'
