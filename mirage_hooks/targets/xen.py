"""xen: `xl` creates a domain; PV for images of MirageOS up to 3.8, PVH from 3.9 on."""

from __future__ import annotations

from ..messages import errors
from ..state import model
from . import arguments, sandbox
from .request import Request, blocks, interfaces


def plan(request: Request) -> model.Plan:
    taps = interfaces(request)
    # The release's number makes the name unique: a domain that cannot be destroyed must not
    # keep the next one from being created.
    domain = f'{request.unikernel}-{request.number}'
    wanted, line = request.wanted, _line(request)
    limit = arguments.MINIOS_LIMIT if request.style == 'pv' else arguments.SOLO5_LIMIT
    return model.Plan(
        target='xen',
        command=(request.tender, 'create', f'{request.folder}/xl.cfg'),
        domain=domain,
        taps=tuple(taps.values()),
        files={'xl.cfg': _configuration(request, domain, taps, line), **arguments.disk(wanted)},
        secrets=arguments.secrets(wanted, 'xl'),
        certificate=sandbox.certificate(request), room=arguments.room(wanted, line, limit),
    )


def _line(request: Request) -> str:
    flags = arguments.flags(request.wanted, {}, request.options)
    return arguments.keys(flags) if request.style == 'pv' else arguments.line(flags)


def _configuration(
    request: Request, domain: str, taps: dict[str, model.Tap], line: str
) -> str:
    wanted = request.wanted
    disks = _disks(request)
    lines = [
        ('name', quoted(domain)),
        ('kernel', quoted(request.image)),
        ('type', quoted('pv' if request.style == 'pv' else 'pvh')),
        ('memory', str(wanted.memory)),
        ('vcpus', '1'),
        ('cap', str(wanted.cpu or '')),  # percent of one CPU
        # xl restarts a crashing domain without end, and then cannot destroy it: converge does it.
        ('on_crash', quoted('destroy')),
        ('on_reboot', quoted('destroy')),
        ('vif', _list([_vif(tap) for tap in taps.values()])),
        ('disk', _list(disks)),
        ('extra', quoted(line)),
    ]
    return ''.join(f'{key} = {value}\n' for key, value in lines if value not in ('', '[]', "''"))


def _vif(tap: model.Tap) -> str:
    return f'mac={tap.mac},bridge={tap.bridge},vifname={tap.name}'


def _disks(request: Request) -> list[str]:
    found = {}
    for index, block in enumerate(blocks(request).values()):
        vdev = block.vdev or f'xvd{"abcdefghijklmnopqrstuvwxyz"[index]}'
        if vdev in found:
            raise errors.Refused(
                f'two disks of {request.unikernel} are {vdev}',
                hint='give each a `vdev:` of its own in mirage.yml',
            )
        access = 'r' if block.read_only else 'rw'
        # target= comes last: all that follows is the path, but for one comma at its end.
        found[vdev] = f'format=raw, vdev={vdev}, access={access}, target={block.path},'
    return list(found.values())


def _list(items: list[str]) -> str:
    return f'[{", ".join(quoted(item) for item in items)}]'


def quoted(text: str) -> str:
    """`text` as a string of an xl file. Of its escapes only \\\\, \\' and \\n work: xl 4.17 refuses
    every \\x.. and drops the character of every octal one; all others stand for themselves."""
    for plain, written in (('\\', '\\\\'), ("'", "\\'"), ('\n', '\\n')):
        text = text.replace(plain, written)
    return f"'{text}'"
