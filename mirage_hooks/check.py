"""What is missing on this host for what mirage.yml wants, and how to get it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from . import config, errors, model, network, system
from .report import plain
from .repository import Repository

GET = {
    'solo5-spt': 'opam install solo5, or build Solo5 from its source and copy the tender to '
    '/usr/local/bin',
    'solo5-hvt': 'opam install solo5, or build Solo5 from its source and copy the tender to '
    '/usr/local/bin',
    'qemu-system-x86_64': 'apt install qemu-system-x86',
    'xl': 'apt install xen-system-amd64, then boot into Xen',
    'ip': 'apt install iproute2',
}
PROGRAMS = {
    'unix': (), 'spt': ('solo5-spt',), 'hvt': ('solo5-hvt',), 'virtio': ('qemu-system-x86_64',),
    'xen': ('xl',),
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: `hint` says how to get what is missing."""

    subject: str
    fine: bool
    text: str
    hint: str = ''


def check(folder: Path, as_json: bool) -> int:
    """Print every finding; 1 when something is missing."""
    found = list(findings(Repository(folder)))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        for one in found:
            print(f'{"ok     " if one.fine else "MISSING"}  {one.subject}: {plain(one.text)}')
            if one.hint and not one.fine:
                print(f'         hint: {plain(one.hint)}')
    return int(not all(one.fine for one in found))


def findings(repository: Repository) -> Iterator[Finding]:
    """Everything that a deployment of `repository` needs, one by one."""
    yield from _lock(repository)
    try:
        path = repository.config_path()
        settings = config.load(path)
    except errors.Refused as refused:
        yield Finding('mirage.yml', False, refused.reason, refused.hint)
        return
    yield Finding('mirage.yml', True, f'{path} names {", ".join(settings.unikernels) or "nothing"}')
    for name, wanted in settings.unikernels.items():
        yield from _unikernel(repository, settings, name, wanted)


def _lock(repository: Repository) -> Iterator[Finding]:
    lock = repository.git_dir / 'index.lock'
    if lock.exists():
        yield Finding(
            'git', False, f'{lock} is there: git pull refuses to work beside it',
            f'if no git runs here, it was left by one that was killed: rm {lock}',
        )


def _unikernel(
    repository: Repository, settings: model.Settings, name: str, wanted: model.Unikernel
) -> Iterator[Finding]:
    try:
        branch = repository.branch(wanted.branch or settings.branch)
        found = repository.find(repository.commit(branch), name, wanted)
        yield Finding(name, True, f'{branch} is at {found.commit[:12]}, the image {found.path}')
    except errors.Refused as refused:
        yield Finding(name, False, refused.reason, refused.hint)
    target = wanted.target or _guessed(wanted)
    for program in (wanted.tender,) if wanted.tender else PROGRAMS[target]:
        yield _program(name, program)
    yield from _network(name, wanted, target)
    for device, block in wanted.blocks.items():
        fine = Path(block.path).is_file() or Path(block.path).is_block_device()
        yield Finding(name, fine, f'disk {device}: {block.path}', 'make the file, or mend `path:`')


def _guessed(wanted: model.Unikernel) -> str:
    """The target by the image's path when mirage.yml does not say: xen/latest, spt/latest."""
    first = wanted.image.partition('/')[0]
    return first if first in PROGRAMS else 'unix'


def _program(name: str, program: str) -> Finding:
    where = system.find(program)
    text = f'{program} is {where}' if where else f'{program} is not installed'
    return Finding(name, bool(where), text, GET.get(Path(program).name, ''))


def _network(name: str, wanted: model.Unikernel, target: str) -> Iterator[Finding]:
    own = [one for one in wanted.interfaces.values() if not isinstance(one, model.Socket)]
    for one in own:
        if one.bridge:
            yield Finding(
                name, network.exists(one.bridge), f'bridge {one.bridge}',
                f'make it: ip link add {one.bridge} type bridge && ip link set {one.bridge} up',
            )
        if one.interface:
            yield Finding(
                name, network.exists(one.interface), f'interface {one.interface}',
                f'make it: ip tuntap add dev {one.interface} mode tap user {os.getuid()}',
            )
    if any(one.bridge and not one.interface for one in own):
        root = os.geteuid() == 0
        yield Finding(
            name, root, 'rights to make taps', 'run as root, or give a ready tap as `interface:`'
        )
        if target != 'xen':
            yield _program(name, 'ip')
    if own and target != 'xen':
        fine = os.access('/dev/net/tun', os.R_OK | os.W_OK)
        yield Finding(name, fine, '/dev/net/tun', 'modprobe tun')
    if target == 'hvt':
        fine = os.access('/dev/kvm', os.R_OK | os.W_OK)
        yield Finding(name, fine, '/dev/kvm', 'load kvm_intel or kvm_amd, join the group kvm; '
                      'or build for spt, which needs neither')
