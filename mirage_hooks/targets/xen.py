"""xen: `xl` creates a domain; PV for images of MirageOS up to 3.8, PVH from 3.9 on."""

from __future__ import annotations

import re

from .. import model
from . import arguments
from .request import Request, blocks, interfaces


def plan(request: Request) -> model.Plan:
    taps = interfaces(request)
    # The release's number makes the name unique: a domain that cannot be destroyed must not
    # keep the next one from being created.
    domain = f'{request.unikernel}-{request.number}'
    return model.Plan(
        target='xen',
        command=('xl', 'create', f'{request.folder}/xl.cfg'),
        domain=domain,
        taps=tuple(taps.values()),
        files={'xl.cfg': _configuration(request, domain, taps)},
    )


def _configuration(request: Request, domain: str, taps: dict[str, model.Tap]) -> str:
    wanted = request.wanted
    paravirtual = request.style == 'pv'
    flags = arguments.flags(wanted, {})
    extra = arguments.keys(flags) if paravirtual else arguments.line(flags)
    disks = [_disk(index, block) for index, block in enumerate(blocks(request).values())]
    lines = [
        ('name', quoted(domain)),
        ('kernel', quoted(request.image)),
        ('type', quoted('pv' if paravirtual else 'pvh')),
        ('memory', str(wanted.memory)),
        ('vcpus', '1'),
        # xl restarts a crashing domain without end, and then cannot destroy it: converge does it.
        ('on_crash', quoted('destroy')),
        ('on_reboot', quoted('destroy')),
        ('vif', _list([_vif(tap) for tap in taps.values()])),
        ('disk', _list(disks)),
        ('extra', quoted(extra)),
    ]
    return ''.join(f'{key} = {value}\n' for key, value in lines if value not in ('[]', "''"))


def _vif(tap: model.Tap) -> str:
    return f'mac={tap.mac},bridge={tap.bridge},vifname={tap.name}'


def _disk(index: int, block: model.Block) -> str:
    access = 'r' if block.read_only else 'rw'
    vdev = block.vdev or f'xvd{"abcdefghijklmnop"[index]}'
    # target= comes last: all that follows is the path, commas too.
    return f'format=raw, vdev={vdev}, access={access}, target={block.path}'


def _list(items: list[str]) -> str:
    return f'[{", ".join(quoted(item) for item in items)}]'


def quoted(text: str) -> str:
    """`text` as a string of an xl file: a backslash there is decoded once more, so it is doubled;
    a quote or a control character has no plain form and is written in hexadecimal."""
    text = text.replace('\\', '\\\\')
    return "'" + re.sub(r"['\x00-\x1f\x7f]", lambda m: f'\\x{ord(m[0]):02x}', text) + "'"
