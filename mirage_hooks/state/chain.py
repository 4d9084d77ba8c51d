"""Whether a certificate is one that visitors can take: its chain, its names, its time."""

from __future__ import annotations

import ipaddress
import itertools
import ssl
import warnings
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509 as library

from ..messages import errors
from ..messages.report import plain
from .pair import WAITS
from .x509 import CERTIFICATE, Pair, called, issued, names

# Where systems keep the roots that they trust, in one file: Debian, Fedora, Alpine and SUSE.
STORES = ('/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt',
          '/etc/ssl/cert.pem', '/etc/ssl/ca-bundle.pem')


def require(pair: Pair, hosts: Iterable[str], now: float | None) -> None:
    """Raise Refused unless `pair` holds for all `hosts` and its chain is whole, and, where it is
    about to serve, at `now` (seconds since 1970)."""
    _require_chain(pair)
    if not pair.served.names:
        raise errors.Refused(
            f'the certificate in {pair.file} names no host (it has no subjectAltName)',
            hint='have it issued for the names of the site: browsers take no other ones',
        )
    for host in hosts:
        if not covers(pair.served.names, host):
            raise errors.Refused(
                f'the certificate in {pair.file} is not for {host}, which health: asks: it is for '
                f'{", ".join(pair.served.names)}',
                hint=f'have it issued for {host} too, or ask by a name that it has: in health: '
                f'https://{pair.served.names[0]}/, or host: {pair.served.names[0]}',
            )
    if now is not None:
        _require_valid(pair, now)


def covers(own: Iterable[str], host: str) -> bool:
    """Whether one of the names that certificate has is `host`'s (RFC 6125: a star is one label)."""
    host = host.rstrip('.').lower()
    try:
        host = str(ipaddress.ip_address(host))
        return host in own
    except ValueError:
        host = host.encode('idna').decode()
    star = f'*.{host.partition(".")[2]}'
    return any(name.lower() in (host, star) for name in own)


def _require_valid(pair: Pair, now: float) -> None:
    if now > pair.served.ends:
        raise errors.Refused(
            f'the certificate in {pair.file} expired on {_day(pair.served.ends)}',
            hint='renew it with your ACME client; what serves goes on',
        )
    if now < pair.served.begins:
        raise errors.Unavailable(
            f'the certificate in {pair.file} is not valid before {_day(pair.served.begins)}',
            hint=f'is the clock of this host right? It is {_day(now)}. {WAITS[0].upper()}'
            f'{WAITS[1:]}',
        )


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime('%Y-%m-%d %H:%M UTC')


def _require_chain(pair: Pair) -> None:
    chain = pair.chain
    for number, (one, issuer) in enumerate(itertools.pairwise(chain), 1):
        if not issued(one, issuer):
            right = next((place for place, other in enumerate(chain, 1)
                          if other is not one and issued(one, other)), 0)
            which = f'{number + 1} ({_name(issuer)}) did not issue certificate {number}'
            order = f'; number {right} did: they are in the wrong order' if right else ''
            raise errors.Refused(
                f'{pair.file}: certificate {which} ({_name(one)}){order}',
                hint='the one of the site comes first, then the one of who issued it, and so on, '
                'as in certbot\'s fullchain.pem',
            )
    alone = chain[0]
    if len(chain) == 1 and not issued(alone, alone) and not _known(alone):
        # Visitors' browsers fetch or remember what is missing, other programs do not: who looks at
        # the site with a browser alone never learns it.
        raise errors.Refused(
            f'{pair.file} lacks the certificate of who issued it, {plain(called(alone.issuer))}, '
            'which is no root that this host trusts',
            hint='name the file with the whole chain, such as certbot\'s fullchain.pem instead of '
            'cert.pem; where that is a root of your own, put its certificate behind it in the file',
        )


def _name(one: library.Certificate) -> str:
    found = names(one)
    return found[0] if found else plain(called(one.subject))


def _known(one: library.Certificate) -> bool:
    """Whether who issued it is a root that this host trusts."""
    places = (ssl.get_default_verify_paths().cafile, *STORES)
    with warnings.catch_warnings():  # some root is always odd, and none of a person's business
        warnings.simplefilter('ignore')
        return any(_issued_by(one, block) for place in places if place and Path(place).is_file()
                   for block in CERTIFICATE.findall(Path(place).read_bytes()))


def _issued_by(one: library.Certificate, block: bytes) -> bool:
    try:
        return issued(one, library.load_pem_x509_certificate(block))
    except ValueError:  # one that this version of the library does not read
        return False
