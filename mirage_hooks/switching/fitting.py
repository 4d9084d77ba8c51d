"""What an image will look for and mirage.yml does not give it, as far as anybody can tell before it
boots. Solo5's manifests name their devices, and targets refuse what does not fit them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .. import config, targets
from ..git import tree
from ..git.repository import Repository
from ..host import facts
from ..image import device
from ..messages import errors
from . import preflight

DIRECT = 'network: {mode: direct, bridge: br0}'
STATIC = 'network: {mode: static, bridge: xenbr0, ipv4: ADDRESS/PREFIX, gateway: ADDRESS}'
DISK = 'blocks: {NAME: {path: /FILE}}'
# What MirageOS prints when it does not find a device, and what to do: unix, then Xen's two.
CALLS = (
    (r'\btun\[open', 'the image has a network stack of its own and found no tap: in mirage.yml: '
     + DIRECT),
    (r'\bNetif\.connect \S+: could not', f'the image found no network: in mirage.yml: {STATIC}'),
    (r'\bBlock\.connect \S+: could not', f'the image found no disk: in mirage.yml: {DISK}'),
)
UNPACKERS = {'.bz2': ' | bunzip2', '.gz': ' | gunzip', '.xz': ' | unxz', '.zst': ' | unzstd'}


def missing(
    name: str, wanted: config.Unikernel, target: str, devices: tuple[device.Device, ...] | None,
    options: frozenset[str] | None,
) -> errors.Refused | None:
    """The network that the image of `name` may want and does not get, with what to write; None
    when all is well or nobody can tell. `options` are those of a unix image, None when unknown."""
    if target in ('xen', 'virtio') and devices is None and not wanted.interfaces:
        bridge = STATIC if target == 'xen' else DIRECT
        return errors.Refused(
            f'mirage.yml gives {name} no network, and a {target} image does not say whether it '
            'wants one', hint=f'in mirage.yml: {bridge}',
        )
    sockets = all(isinstance(one, config.Socket) for one in wanted.interfaces.values())
    if target == 'unix' and sockets and stacked(options):
        got = 'mode: socket' if wanted.interfaces else 'no network'
        return errors.Refused(
            f'the image of {name} has a network stack of its own (it has --interface), and '
            f'mirage.yml gives it {got}', hint=f'in mirage.yml: {DIRECT}',
        )
    return None


def require_stack(
    name: str, wanted: config.Unikernel, target: str, options: frozenset[str] | None
) -> None:
    """Raise Refused when mirage.yml gives a tap to a unix image that has no use for one."""
    own = [one for one in wanted.interfaces.values() if isinstance(one, config.Direct)]
    if own and target == 'unix' and stacked(options) is False:
        raise errors.Refused(
            f'the image of {name} uses the sockets of this host (it has no --interface), and '
            f'mirage.yml gives it an interface of its own',
            hint='in mirage.yml: network: {mode: socket, port: 8080}; or publish an image '
            'configured with `--net direct`',
        )


def stacked(options: frozenset[str] | None) -> bool | None:
    """Whether a unix image with these `options` has a network stack of its own, on a tap; None when
    nobody knows. (MirageOS 2 called the option --network.)"""
    if options is None:
        return None
    return any(re.fullmatch(r'--(network|([a-z0-9-]+-)?interface)', one) for one in options)


def options(state: Path, name: str, folder: Path) -> frozenset[str] | None:
    """What the unix image in `folder` says of its options, asked in its sandbox; None where this
    host has no sandbox, or the image does not say."""
    here = facts.look()
    if not here.sandbox:
        return None
    socket = config.Unikernel(image='image', network=config.Socket())
    return preflight.options(targets.Request(
        name, 0, 'blue', str(folder), socket, 'unix', facts.owner(state), host=here
    ))


def disks(
    where: Repository, found: tree.Found, target: str, wanted: config.Unikernel | None = None
) -> Iterator[str]:
    """How to give the image at `found` the disk images that lie next to it; nothing where `wanted`
    gives it disks already."""
    for path in where.disks(found) if wanted is None or not wanted.blocks else ():
        if re.fullmatch(r'[A-Za-z0-9._/+-]+', path):
            yield _granted(where, found, path, target)


def _granted(where: Repository, found: tree.Found, path: str, target: str) -> str:
    file = PurePosixPath(path)
    packed = file.suffix in UNPACKERS
    disk = f'/srv/{file.stem if packed else file.name}'
    stem = tree.parts(tree.Entry('100644', 'blob', '', path))[0]
    name = stem if re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9._-]{0,39}', stem) else 'disk'
    access = ', read_only: true' if target in ('unix', 'virtio', 'xen') else ''
    show = shlex.join(('git', '-C', str(where.folder), 'show', f'{found.commit[:12]}:{path}'))
    return (
        f'{path} lies next to the image, which may want it as a disk; it is not taken from there '
        f'by itself. To give it: {show}{UNPACKERS.get(file.suffix, "")} >{disk}; '
        f'in mirage.yml: blocks: {{{name}: {{path: {disk}{access}}}}}'
    )


def explain(refused: errors.Refused, console: tuple[str, ...]) -> None:
    """Give `refused`, where it has none, the hint that the last lines of a `console` call for."""
    found = (hint for words, hint in CALLS if any(re.search(words, line) for line in console))
    refused.hint = refused.hint or next(found, '')


def one_writer(wanted: config.Unikernel) -> str:
    """Why two of its releases cannot share its address where its network would let them, or ''."""
    one_disk = wanted.bridged and wanted.writes and wanted.switch is None
    return 'both would write to its disk' if one_disk else ''
