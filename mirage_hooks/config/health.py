"""How to tell that a release serves."""

from __future__ import annotations

import re
import urllib.parse
from typing import Annotated

from msgspec import Meta

from .fields import Duration, Endpoint, Mapping, Url

KINDS = ('http', 'tcp', 'ping', 'console', 'alive')
"""Of questions, each by the key that asks it."""


class Health(Mapping, frozen=True):
    """One question that a release must answer before it counts as serving; give one of
    http, tcp, ping, console or alive."""

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
    ping: Annotated[str | None, Meta(description='an address that must answer a ping')] = None
    console: Annotated[
        str | None, Meta(description='a regular expression that the console must come to match')
    ] = None
    alive: Annotated[
        Duration | None, Meta(description='how long it must stay up, as 2s')
    ] = None
    within: Annotated[
        Duration, Meta(description='how long it may take: ms, s, m or h')
    ] = '30s'

    def __post_init__(self) -> None:
        given = [kind for kind in KINDS if getattr(self, kind)]
        if len(given) != 1:
            raise ValueError(f'give one of {", ".join(KINDS)}; got {given or "none"}')
        for place in (self.http, self.tcp and f'//{self.tcp}'):
            if place:
                _require_place(place)
        if self.console is not None:
            try:
                re.compile(self.console)
            except re.error as error:
                raise ValueError(f'console: not a regular expression: {error}') from None


def _require_place(url: str) -> None:
    """Raise ValueError when the host or the port of `url` can never be asked."""
    shown = url.removeprefix('//')
    try:
        found = urllib.parse.urlsplit(url)
        named = found.port != 0 and (found.hostname or '').encode('idna')
    except UnicodeError:
        raise ValueError(f'{shown} cannot be asked: its host is no name') from None
    except ValueError as error:
        raise ValueError(f'{shown} cannot be asked: {error}') from None
    if not named:
        raise ValueError(f'{shown} cannot be asked: it names no host, or port 0')
