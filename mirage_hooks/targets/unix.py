"""unix: the image is an ordinary program of this host, on its sockets or on a tap."""

from __future__ import annotations

from .. import config
from ..messages import errors
from ..state import model
from . import arguments, sandbox
from .request import Request, blocks, interfaces

LOW_PORTS = 1024

# Without a filter (see host.filters) a good image may end with 2 right after its start, because it
# looks at its tap before the kernel says that it runs; the next start may find it.
AGAIN = (
    'read -r up rest </proc/uptime; last=$((${up%.*} + 3)); tries=20; '
    'while "$@"; code=$?; [ $code = 2 ]; do '
    'read -r up rest </proc/uptime; tries=$((tries - 1)); '
    '[ ${up%.*} -lt $last ] && [ $tries -gt 0 ] || break; done; exit $code'
)
"""For the shell: the command again, at once, while it ends with 2 in its first 3 seconds, 20 times
at most."""


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
    filtered = bool(taps) and request.host.filters
    if taps and not filtered:
        command = ('/bin/sh', '-c', AGAIN, 'sh', *command)
    low = isinstance(wanted.network, config.Socket) and (wanted.port or 1) < LOW_PORTS
    needs = sandbox.Needs(
        shows={f'/{name}': block.path for name, block in disks.items() if block.read_only},
        writes={f'/{name}': block.path for name, block in disks.items() if not block.read_only},
        devices=('/dev/net/tun',) if taps else (), low_port=low, threads=True,
    )
    return model.Plan(
        target='unix',
        command=sandbox.walled(request, command, needs),
        taps=sandbox.owned(request, taps),
        secrets=arguments.secrets(wanted, 'line' if arguments.joins(wanted.mirage) else 'plain'),
        nodes=sandbox.nodes(request, needs),
        filtered=filtered, files=arguments.disk(wanted),
        certificate=sandbox.certificate(request),
    )
