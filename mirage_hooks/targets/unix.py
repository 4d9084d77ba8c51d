"""unix: the image is an ordinary program of this host, on its sockets or on a tap."""

from __future__ import annotations

from .. import errors, model
from . import arguments, sandbox
from .request import Request, blocks, interfaces

LOW_PORTS = 1024


def plan(request: Request) -> model.Plan:
    wanted = request.wanted
    taps = interfaces(request)
    flags = arguments.flags(
        wanted, {device: tap.name for device, tap in taps.items()}, request.options
    )
    disks = blocks(request)
    if disks and not request.host.sandbox:
        raise errors.Refused(
            f'{request.unikernel} has a disk, which a unix image finds in its sandbox only',
            hint='apt install bubblewrap',
        )
    command = (sandbox.image(request), *arguments.argv(flags, wanted.mirage))
    low = isinstance(wanted.network, model.Socket) and (wanted.port or 1) < LOW_PORTS
    needs = sandbox.Needs(
        shows={f'/{name}': block.path for name, block in disks.items() if block.read_only},
        writes={f'/{name}': block.path for name, block in disks.items() if not block.read_only},
        devices=('/dev/net/tun',) if taps else (), low_port=low
    )
    return model.Plan(
        target='unix',
        command=sandbox.walled(request, command, needs),
        taps=sandbox.owned(request, taps),
        secrets=arguments.secrets(wanted, 'line' if arguments.joins(wanted.mirage) else 'plain'),
        nodes=sandbox.nodes(request, needs),
    )
