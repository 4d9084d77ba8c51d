"""unix: the image is an ordinary program of this host, on its sockets or on a tap."""

from __future__ import annotations

from .. import model
from . import arguments
from .request import Request, interfaces


def plan(request: Request) -> model.Plan:
    taps = interfaces(request)
    flags = arguments.flags(request.wanted, {device: tap.name for device, tap in taps.items()})
    return model.Plan(
        target='unix',
        command=(request.image, *arguments.argv(flags, request.wanted.mirage)),
        taps=tuple(taps.values()),
    )
