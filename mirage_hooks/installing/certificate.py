"""The certificate of a unikernel, as it lies on this host."""

from __future__ import annotations

import time
from pathlib import Path

from .. import config
from ..messages import errors
from ..state import expiry, pair
from ..state.pair import GONE
from ..state.releases import Releases
from ..switching import certified
from .finding import Found, fine, note, problem, refused


def findings(
    name: str, wanted: config.Unikernel, own: config.Certificate, releases: Releases,
    places: tuple[Path, ...],
) -> Found:
    """Whether its pair is one that visitors can take, and how long."""
    now = time.time()
    try:
        pair.require_outside(own, places)
        found = pair.read(own)
        if found is None and (number := _with(releases)):
            yield problem(name, f'{pair.missing(own)} is gone, and release {number} serves with '
                          'that certificate', GONE)
            return
        if found is None:
            yield note(name, f'no certificate yet: {pair.missing(own)} is not there; it serves by '
                       'HTTP alone', 'have your ACME client issue it; the next cron run takes it, '
                       f'or: mirage-hooks deploy {name}')
            return
        from ..state import chain

        chain.require(found, certified.hosts(wanted), now)
    except errors.Refused as why:
        yield refused(name, why)
        return
    text = (f'the certificate is for {", ".join(found.served.names)}, by {found.served.issuer}, '
            f'{expiry.left(found.served, now)}')
    if expiry.ending(found.served, now):
        yield note(name, text, "does your ACME client's timer or cron line run? Have it renew the "
                   'certificate')
    else:
        yield fine(name, text)


def _with(releases: Releases) -> int:
    """The release that serves with a certificate; 0 for none."""
    current = releases.current()
    kept = pair.served(releases.folder(current.number)) if current is not None else None
    return current.number if current is not None and kept is not None and kept.digest else 0
