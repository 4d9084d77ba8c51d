"""How long a certificate still lasts, in words, and when that is too short. Of what a release was
started with, so it takes no library."""

from __future__ import annotations

import time
from typing import Any

from . import model

SOON = 14 * 86400.0  # seconds
PART = 3  # of its life: ACME clients renew when a third of it is left, those of a few days later
UNITS = ((2 * 86400, 86400, 'days'), (2 * 3600, 3600, 'hours'), (0, 60, 'minutes'))


def named(served: model.Served) -> str:
    """A certificate in a few words."""
    until = time.strftime('%Y-%m-%d %H:%M', time.gmtime(served.ends))
    more = ' …' if served.names[3:] else ''
    return (f'{", ".join(served.names[:3])}{more}, until {until} UTC, '
            f'serial {served.serial[:8]}')


def left(served: model.Served, now: float) -> str:
    """How long it still lasts: `61 days left`, or `expired 3 hours ago`."""
    seconds = served.ends - now
    size, unit = next((size, unit) for least, size, unit in UNITS if abs(seconds) >= least)
    number = int(abs(seconds) // size)
    told = f'{number} {unit if number != 1 else unit[:-1]}'
    return f'{told} left' if seconds >= 0 else f'expired {told} ago'


def ending(served: model.Served, now: float) -> bool:
    """Whether a person should know: two weeks before its end; of one that lasts less than six, at
    a third of its life, which is when it should have been renewed."""
    return served.ends - now < min(SOON, (served.ends - served.begins) / PART)


def fields(served: model.Served, now: float) -> dict[str, Any]:
    """For a program: `wrong` is why there is none, or that it ends soon."""
    if not served.digest:
        return {'wrong': f'by HTTP alone: {served.reason}'}
    found = {
        'names': list(served.names), 'issuer': served.issuer, 'serial': served.serial,
        'begins': served.begins, 'ends': served.ends,
        'days': round((served.ends - now) / 86400, 1), 'left': left(served, now),
    }
    return found | ({'wrong': left(served, now)} if ending(served, now) else {})
