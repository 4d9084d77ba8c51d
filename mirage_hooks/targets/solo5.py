"""spt and hvt: a Solo5 tender (0.6 or later) runs the image, one process each."""

from __future__ import annotations

from .. import model
from . import arguments
from .request import Request, blocks, interfaces


def plan(request: Request) -> model.Plan:
    wanted = request.wanted
    taps = interfaces(request)
    devices = []
    for device, tap in taps.items():
        devices += [f'--net:{device or "service"}={tap.name}',
                    f'--net-mac:{device or "service"}={tap.mac}']
    for device, block in blocks(request).items():
        devices += [f'--block:{device}={block.path}',
                    f'--block-sector-size:{device}={block.sector}']
    flags = arguments.flags(wanted, {})
    arguments.line(flags)  # the tender joins them: too long is refused here, before it starts
    return model.Plan(
        target=request.target,
        command=(
            wanted.tender or f'solo5-{request.target}', f'--mem={wanted.memory}', *devices,
            '--', request.image, *(arguments.escaped(flag) for flag in flags),
        ),
        taps=tuple(taps.values()),
    )
