"""spt and hvt: a Solo5 tender (0.6 or later) runs the image, one process each."""

from __future__ import annotations

from .. import config
from ..messages import errors
from ..state import model
from . import arguments, sandbox
from .request import Request, blocks, interfaces

SECTOR = 512  # bytes, what a tender takes unasked; before Solo5 0.7.4 it could not be asked


def plan(request: Request) -> model.Plan:
    wanted = request.wanted
    taps = interfaces(request)
    disks = blocks(request)
    flags = arguments.flags(wanted, {}, request.options)
    line = arguments.line(flags)  # the tender joins them: too long is refused before it starts
    command = (
        request.tender, f'--mem={wanted.memory}', *_devices(request, taps, disks), '--',
        sandbox.image(request), *(arguments.escaped(flag) for flag in flags),
    )
    hvt = request.target == 'hvt'
    needs = sandbox.Needs(
        reads=sandbox.program(request),
        writes={block.path: block.path for block in disks.values()},
        devices=(*(('/dev/kvm',) if hvt else ()), *(('/dev/net/tun',) if taps else ())),
    )
    return model.Plan(
        target=request.target,
        command=sandbox.walled(request, command, needs),
        taps=sandbox.owned(request, taps),
        secrets=arguments.secrets(wanted, 'line'),
        nodes=sandbox.nodes(request, needs), files=arguments.disk(wanted),
        certificate=sandbox.certificate(request), room=arguments.room(wanted, line),
    )


def _devices(
    request: Request, taps: dict[str, model.Tap], disks: dict[str, config.Block]
) -> list[str]:
    found = []
    for device, tap in taps.items():
        found += [f'--net:{device or "service"}={tap.name}',
                  f'--net-mac:{device or "service"}={tap.mac}']
    for device, block in disks.items():
        if ' ' in block.path or block.read_only:
            wrong = 'is read-only' if block.read_only else 'has a space in its path'
            raise errors.Refused(
                f'disk {device} of {request.unikernel} {wrong}, which Solo5 tenders do not know',
                hint=f'fix {request.unikernel}.blocks.{device} in mirage.yml',
            )
        found.append(f'--block:{device}={block.path}')
        if block.sector != SECTOR:
            found.append(f'--block-sector-size:{device}={block.sector}')
    return found
