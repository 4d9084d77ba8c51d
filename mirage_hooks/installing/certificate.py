"""The certificate of a unikernel, as it lies on this host."""

from __future__ import annotations

import time
from pathlib import Path

from .. import config
from ..messages import errors
from ..state import expiry, pair
from ..switching import certified
from .finding import Found, fine, note, problem, refused


def findings(
    name: str, wanted: config.Unikernel, own: config.Certificate, places: tuple[Path, ...]
) -> Found:
    """Whether its pair is one that visitors can take, and how long."""
    now = time.time()
    try:
        pair.require_outside(own, places)
        found = pair.read(own)
        if found is None:
            yield note(name, f'no certificate yet: {pair.missing(own)} is not there; it serves by '
                       'HTTP alone', 'have your ACME client issue it; the next cron run takes it, '
                       f'or: mirage-hooks deploy {name}')
            return
        from ..state import chain

        chain.require(found, certified.hosts(wanted), None)
    except errors.Refused as why:
        yield refused(name, why)
        return
    text = (f'the certificate is for {", ".join(found.served.names)}, by {found.served.issuer}, '
            f'{expiry.left(found.served, now)}')
    hint = "does your ACME client's timer or cron line run? Have it renew the certificate"
    if found.served.ends < now:
        yield problem(name, text, hint)
    elif expiry.ending(found.served, now):
        yield note(name, text, hint)
    else:
        yield fine(name, text)
