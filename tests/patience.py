"""How long a test waits: long enough for a machine with many times the work that it can do.

Only what has failed lasts so long, so it costs a good run nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300.0  # seconds


def until(found: Callable[[], object], pause: float = 0.02) -> None:
    """Return when `found` is true, asked every `pause` seconds."""
    limit = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < limit, 'waited in vain'
        time.sleep(pause)
