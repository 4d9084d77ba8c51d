"""A person works on it: in maintenance mode, or unmanaged, Pacemaker leaves a unikernel alone, and
so do we."""

from __future__ import annotations

import contextlib

from .. import config
from ..host import pacemaker
from ..messages import errors
from ..state.releases import Releases
from .context import Context
from .live import elsewhere


def require(context: Context, releases: Releases, wanted: config.Unikernel) -> None:
    """Raise Unavailable where what runs is left alone, and no person wants it now."""
    name = releases.root.name
    if name in context.intent.anew or elsewhere(releases):
        return
    if left_alone(name, wanted):
        raise errors.Unavailable(
            f'Pacemaker leaves {name} alone on this host (maintenance, or unmanaged), and so does '
            'this', hint='it is tried again when that is over; to have it now: mirage-hooks deploy '
            f'{name}')


def left_alone(name: str, wanted: config.Unikernel | None) -> bool:
    """Whether Pacemaker, which places `name`, leaves it alone on this host; False where it cannot
    be asked."""
    if wanted is None or wanted.placed is None:
        return False
    with contextlib.suppress(errors.Unavailable):
        return pacemaker.unmanaged(wanted.placed.called(name))
    return False
