"""What a well formed mirage.yml most likely does not mean."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator

from .network import Socket
from .settings import Settings
from .unikernel import Unikernel

HERE = ('127.0.0.1', '::1', 'localhost')


def doubts(settings: Settings) -> Iterator[str]:
    """Two unikernels on one port of the host; a question at a port that the unikernel was not
    given. Neither is certain: one may be stopped by hand, an image may have ports of its own."""
    held: dict[tuple[str, int], str] = {}
    for name, one in settings.unikernels.items():
        if not isinstance(one.network, Socket) or one.port is None:
            continue
        there = (one.network.address, one.port)
        if (other := held.setdefault(there, name)) != name:
            yield f'{name}: port {one.port} is also that of {other}: only one of them can run'
        yield from (f'{name}: {text}' for text in _asked_elsewhere(one, there))


def _asked_elsewhere(one: Unikernel, there: tuple[str, int]) -> Iterator[str]:
    for question in one.health:
        server = question.dns.server if question.dns else question.tcp
        found = urllib.parse.urlsplit(question.http or (f'//{server}' if server else ''))
        port = found.port or {'http': 80, 'https': 443}.get(found.scheme, there[1])
        named = any(str(port) in argument for argument in one.arguments) or (
            found.scheme == 'https' and one.certificate is not None)
        if found.hostname in (*HERE, there[0]) and port != there[1] and not named:
            yield f'health: asks port {port}, but network: has port {there[1]}'
