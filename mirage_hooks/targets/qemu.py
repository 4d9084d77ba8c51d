"""virtio: QEMU boots the image as a multiboot kernel."""

from __future__ import annotations

import os

from .. import config
from ..messages import errors
from ..state import model
from . import arguments, sandbox
from .request import Request, blocks, interfaces


def plan(request: Request) -> model.Plan:
    wanted = request.wanted
    taps = interfaces(request)
    devices: list[str] = []
    for index, tap in enumerate(taps.values()):
        devices += ['-device', f'virtio-net,netdev=n{index},mac={tap.mac}',
                    '-netdev',
                    f'tap,id=n{index},ifname={tap.name},script=no,downscript=no']
    disks = blocks(request)
    for index, block in enumerate(disks.values()):
        mode = ',readonly=on' if block.read_only else ''
        devices += ['-drive', f'if=none,id=d{index},format=raw,file={_option(block.path)}{mode}',
                    '-device', f'virtio-blk,drive=d{index}']
    kernel = sandbox.image(request)
    if ' ' in kernel:
        raise errors.Refused(
            f'{request.folder} has a space in its path: QEMU would cut the arguments there',
            hint='move the repository to a path without spaces',
        )
    line = arguments.line(arguments.flags(wanted, {}, request.options))
    command = (
        request.tender, '-m', str(wanted.memory), '-nodefaults', '-no-user-config',
        '-machine', 'acpi=off', *_accelerator(), '-display', 'none', '-serial', 'stdio',
        '-monitor', 'none', *devices, '-device', 'isa-debug-exit', '-kernel', kernel,
        '-append', line,
    )
    needs = _needs(request, taps, disks)
    return model.Plan(
        target='virtio',
        command=sandbox.walled(request, command, needs),
        taps=sandbox.owned(request, taps),
        secrets=arguments.secrets(wanted, 'line'),
        nodes=sandbox.nodes(request, needs), files=arguments.disk(wanted),
        certificate=sandbox.certificate(request), room=arguments.room(wanted, line),
    )


def _needs(
    request: Request, taps: dict[str, model.Tap], disks: dict[str, config.Block]
) -> sandbox.Needs:
    return sandbox.Needs(
        reads=(*sandbox.program(request), *(b.path for b in disks.values() if b.read_only)),
        writes={b.path: b.path for b in disks.values() if not b.read_only},
        devices=('/dev/kvm', *(('/dev/net/tun',) if taps else ())),
        bounded=False,  # QEMU's translated code alone may take a gigabyte
    )


def _accelerator() -> tuple[str, ...]:
    # QEMU tries them in this order; a CPU model that TCG has too, so that one line serves both.
    return ('-accel', 'kvm', '-accel', 'tcg', '-cpu', 'Westmere')


def _option(text: str) -> str:
    """A comma in an option of QEMU is written twice."""
    return os.fspath(text).replace(',', ',,')
