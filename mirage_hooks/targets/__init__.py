"""What an image can run on: each target turns unikernel + image + slot into a Plan, purely."""

from __future__ import annotations

from collections.abc import Callable

from .. import model
from . import qemu, solo5, unix, xen
from .request import Request

__all__ = ['TABLE', 'Request', 'plan']

TABLE: dict[str, Callable[[Request], model.Plan]] = {
    'unix': unix.plan,
    'spt': solo5.plan,
    'hvt': solo5.plan,
    'virtio': qemu.plan,
    'xen': xen.plan,
}


def plan(request: Request) -> model.Plan:
    """How to run the image; raises Refused when the configuration does not fit it."""
    return TABLE[request.target](request)
