"""A device that an image wants, as its manifest names it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Device(msgspec.Struct, frozen=True):
    """A device that an image's manifest names."""

    name: str
    kind: Literal['net', 'block']
