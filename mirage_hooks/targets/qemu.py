"""virtio: QEMU boots the image as a multiboot kernel."""

from __future__ import annotations

import os

from .. import errors, model
from . import arguments
from .request import Request, blocks, interfaces


def plan(request: Request) -> model.Plan:
    wanted = request.wanted
    taps = interfaces(request)
    devices: list[str] = []
    for index, tap in enumerate(taps.values()):
        devices += ['-device', f'virtio-net,netdev=n{index},mac={tap.mac}',
                    '-netdev',
                    f'tap,id=n{index},ifname={tap.name},script=no,downscript=no']
    for index, block in enumerate(blocks(request).values()):
        mode = ',readonly=on' if block.read_only else ''
        devices += ['-drive', f'if=none,id=d{index},format=raw,file={_option(block.path)}{mode}',
                    '-device', f'virtio-blk,drive=d{index}']
    if ' ' in request.image:
        raise errors.Refused(
            f'{request.folder} has a space in its path: QEMU would cut the arguments there',
            hint='move the repository to a path without spaces',
        )
    return model.Plan(
        target='virtio',
        command=(
            wanted.tender or 'qemu-system-x86_64', '-m', str(wanted.memory), '-nodefaults',
            '-no-user-config', '-machine', 'acpi=off', *_accelerator(), '-display', 'none',
            '-serial', 'stdio', '-monitor', 'none', *devices, '-device', 'isa-debug-exit',
            '-kernel', request.image, '-append', arguments.line(arguments.flags(wanted, {})),
        ),
        taps=tuple(taps.values()),
    )


def _accelerator() -> tuple[str, ...]:
    # QEMU tries them in this order; a CPU model that TCG has too, so that one line serves both.
    return ('-accel', 'kvm', '-accel', 'tcg', '-cpu', 'Westmere')


def _option(text: str) -> str:
    """A comma in an option of QEMU is written twice."""
    return os.fspath(text).replace(',', ',,')
