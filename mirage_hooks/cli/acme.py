"""What a unikernel needs to know of the account of an ACME client, which stays on the host."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..installing.accounts import Found


def add(command: Callable[..., Any]) -> None:
    """Add the command."""
    one = command('acme', do_acme, "what a unikernel answers an ACME client's challenges with: "
                  'find its account key on this host, and print what goes into mirage.yml',
                  json=True)
    one.add_argument('what', choices=('thumbprint',), help='of the account key')
    one.add_argument('file', nargs='?', type=Path, metavar='FILE',
                     help='an account key, or the folder of certbot, lego, dehydrated, uacme or '
                     'acme.sh (the usual ones)')
    one.add_argument('--server', default='', metavar='TEXT',
                     help='only of ACME servers with this in their address, such as staging')


def do_acme(given: argparse.Namespace) -> int:
    from ..installing import accounts
    from ..messages.report import Reporter, encoded, plain

    keys = accounts.found(given.file, given.server)
    if given.json:
        print(encoded([one._asdict() | {'staging': one.staging} for one in keys]), flush=True)
        return int(not any(one.thumbprint for one in keys))
    report = Reporter()
    for number, one in enumerate(keys):
        for line in ('', *_lines(one)) if number else _lines(one):
            report.line(plain(line))
    return int(not any(one.thumbprint for one in keys))


def _lines(one: Found) -> Iterator[str]:
    where = one.server or 'the server is not written there'
    yield f'{one.client}: {where}{_kind_of(one)}' if one.client else 'an account key'
    if one.wrong:
        yield f'  {one.wrong}'
        return
    yield f'  key         {one.file} ({one.kind})'
    yield f'  thumbprint  {one.thumbprint}'
    yield f'  mirage.yml  acme: {{thumbprint: {one.thumbprint}}}'
    yield f'          or  acme: {{account: {one.file}}}, where who deploys may read it'


def _kind_of(one: Found) -> str:
    if one.staging:
        return ', a staging account: no browser trusts its certificates'
    return ', production' if 'letsencrypt.org' in one.server else ''
