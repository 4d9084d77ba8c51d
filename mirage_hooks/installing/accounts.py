"""The account keys of ACME clients, where each keeps them on this host."""

from __future__ import annotations

import base64
import binascii
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..messages import errors
from ..state import account

MOST = 100  # keys that are looked at in one place


class Client(NamedTuple):
    """`places` are the folders in which it keeps all by default, `keys` what its account keys are
    called below one, and `server` tells the directory of the ACME server from such a path ('' where
    nothing does)."""

    name: str
    places: tuple[str, ...]
    keys: tuple[str, ...]
    server: Callable[[Path], str]


class Found(NamedTuple):
    """`server` as its client writes it, without `https://`."""

    client: str
    server: str
    file: str
    kind: str = ''
    thumbprint: str = ''
    wrong: str = ''

    @property
    def staging(self) -> bool:
        """Whether no browser trusts its certificates."""
        return 'staging' in self.server


def _between(path: Path) -> str:
    return '/'.join(path.parts[1:-2])


def _encoded(path: Path) -> str:
    """dehydrated calls its folder by the address in base64url."""
    text = path.parts[1]
    try:
        address = base64.urlsafe_b64decode(text + '=' * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeError):
        return text
    return address.strip().removeprefix('https://')


# From the sources of each; Debian's dehydrated and uacme.
CLIENTS = (
    Client('certbot', ('/etc/letsencrypt',),
           tuple(f'accounts/{"*/" * depth}private_key.json' for depth in (2, 3, 4, 5)), _between),
    Client('lego', ('.lego', '~/.lego', '/etc/lego', '/var/lib/lego'),
           ('accounts/*/*/keys/*.key',), lambda path: path.parts[1].replace('_', ':')),
    Client('dehydrated', ('/var/lib/dehydrated', '/etc/dehydrated'),
           ('accounts/*/account_key.pem',), _encoded),
    Client('uacme', ('/etc/ssl/uacme', '/etc/uacme.d'), ('private/key.pem',), lambda path: ''),
    Client('acme.sh', ('~/.acme.sh',),
           tuple(f'ca/{"*/" * depth}account.key' for depth in (1, 2, 3, 4)),
           lambda path: '/'.join(path.parts[1:-1])),
)


def found(given: Path | None = None, server: str = '') -> list[Found]:
    """The account keys of this host, or in `given`, a key or a client's own folder; of `server`
    alone, a part of its address. Raises Refused when there is none."""
    if given is not None and not given.is_dir():
        kind, thumbprint = account.read(str(given))
        return [Found('', '', str(given.absolute()), kind, thumbprint)]
    closed: list[str] = []
    all_of_them = _folder(given, closed) if given is not None else _everywhere(closed)
    keys = [one for one in _once(all_of_them) if server in one.server]
    if closed:
        raise errors.Refused(
            f'cannot look into {closed[0]}: Permission denied',
            hint='as root: sudo mirage-hooks acme thumbprint; the thumbprint is no secret, and '
            'goes into mirage.yml',
        )
    if not keys:
        where = f'below {given}' if given is not None else 'on this host'
        of_server = f' of {server!r}' if server else ''
        names = ', '.join(client.name for client in CLIENTS)
        raise errors.Refused(
            f'no account key{of_server} {where}, of {names}',
            hint='have the client register one first, such as `certbot register`; or name the file '
            'or its folder: mirage-hooks acme thumbprint FILE',
        )
    return keys


def _everywhere(closed: list[str]) -> Iterator[Found]:
    for client in CLIENTS:
        for place in client.places:
            yield from _of(client, Path(place).expanduser(), closed)


def _folder(folder: Path, closed: list[str]) -> Iterator[Found]:
    for client in CLIENTS:
        yield from _of(client, folder, closed)


def _of(client: Client, place: Path, closed: list[str]) -> Iterator[Found]:
    within = place / client.keys[0].partition('/')[0]
    if within.is_dir() and not os.access(within, os.R_OK | os.X_OK):
        closed.append(str(within))
        return
    paths = itertools.chain.from_iterable(place.glob(pattern) for pattern in client.keys)
    for path in sorted(itertools.islice(paths, MOST)):
        file, server = str(path.absolute()), client.server(path.relative_to(place))
        try:
            one = account.read(file)
        except errors.Refused as refused:
            yield Found(client.name, server, file, wrong=refused.reason)
        else:
            yield Found(client.name, server, file, *one)


def _once(all_of_them: Iterable[Found]) -> Iterator[Found]:
    """Without what is found by a second way: certbot links one server's folder to another's."""
    seen: set[str] = set()
    for one in all_of_them:
        real = os.path.realpath(one.file)
        if real not in seen:
            seen.add(real)
            yield one
