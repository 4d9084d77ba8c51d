"""What a target is asked to plan, and what all targets plan alike: interfaces and disks."""

from __future__ import annotations

import hashlib

import msgspec

from .. import config
from ..config import fields
from ..image import device
from ..messages import errors
from ..state import files, model, taps


class Request(msgspec.Struct, frozen=True):
    """One image to be run as release `number` of `unikernel` from `folder`; `seed` (16 hex
    digits) tells this host's repository from every other one. `program` is the tender's path on
    this host, `options` the options that the image said it has (None: it was not asked),
    `largest` the bytes of its largest disk."""

    unikernel: str
    number: int
    slot: model.Slot
    folder: str
    wanted: config.Unikernel
    target: str
    seed: str
    style: str = ''
    devices: tuple[device.Device, ...] | None = None
    host: model.Host = model.Host()
    program: str = ''
    options: frozenset[str] | None = None
    largest: int = 0

    @property
    def image(self) -> str:
        return f'{self.folder}/image'

    @property
    def tender(self) -> str:
        return self.program or tender(self.target, self.wanted)


def tender(target: str, wanted: config.Unikernel) -> str:
    """The program that runs an image built for `target`, as the configuration calls it; '' for
    unix, which is run itself."""
    return wanted.tender or fields.TENDERS.get(target, '')


def interfaces(request: Request) -> dict[str, model.Tap]:
    """The tap (or vif) of each of the image's networks, by the image's device name."""
    own = {
        device: network
        for device, network in _bound(request, request.wanted.interfaces, 'net').items()
        if not isinstance(network, config.Socket)
    }
    return {
        device: _tap(request, device, network, index)
        for index, (device, network) in enumerate(own.items())
    }


def blocks(request: Request) -> dict[str, config.Block]:
    """The disk of each of the image's block devices, by the image's device name; that with its
    certificate is made for each start."""
    own, configured = request.wanted.certificate, request.wanted.blocks
    if own is not None and own.form == 'disk':
        # Solo5's tenders know no disk that is only read.
        shown = request.target not in ('spt', 'hvt')
        disk = config.Block(path=f'{request.folder}/{files.DISK}', read_only=shown)
        configured = {**configured, own.disk: disk}
    return _bound(request, configured, 'block')


def _bound(request: Request, configured: dict, kind: str) -> dict:  # type: ignore[type-arg]
    """`configured` under the names that the image's manifest has, where it has one."""
    if request.devices is None:
        return configured
    names = [device.name for device in request.devices if device.kind == kind]
    if list(configured) == [''] and len(names) == 1:
        return {names[0]: configured['']}
    lost = [name for name in names if name not in configured]
    if lost:
        raise errors.Refused(
            f'the image wants a {kind} device {lost[0]}, which {request.unikernel} does not have',
            hint=_lines(kind, names, had=list(configured)),
        )
    extra = [name or 'network' for name in configured if name not in names]
    if extra:
        raise errors.Refused(
            f'{request.unikernel} has a {kind} device {extra[0]}, which the image does not have'
            f' (it has {", ".join(names) or "none"})',
            hint=f'take it out of {request.unikernel} in mirage.yml, or publish the image with it',
        )
    return {name: configured[name] for name in names}


def _lines(kind: str, names: list[str], had: list[str]) -> str:
    """What to write for the image's devices `names`, where mirage.yml has those named `had`."""
    if kind == 'block':
        disks = ', '.join(f'{name}: {{path: /FILE}}' for name in names)
        return f'in mirage.yml: blocks: {{{disks}}}'
    one = '{mode: direct, bridge: br0}'
    if len(names) == 1 and not had:
        return f'in mirage.yml: network: {one}'
    all_of_them = ', '.join(f'{name}: {one}' for name in names)
    place = f', in place of `{"network" if "" in had else "networks"}:`' if had else ''
    return f'in mirage.yml{place}: networks: {{{all_of_them}}}'


def _tap(request: Request, device: str, own: config.Direct, index: int) -> model.Tap:
    mac = own.mac.lower() if own.mac else _mac(f'{request.seed}/{request.unikernel}/{device}')
    if own.interface:
        return model.Tap(own.interface, mac=mac, ours=False)
    if not own.bridge:
        raise errors.Refused(
            f'{request.unikernel} has neither a bridge nor an interface for its network',
            hint='add one in mirage.yml, as `bridge: br0`',
        )
    name = taps.name(request.unikernel, request.seed, request.number, index)
    return model.Tap(name, own.bridge, mac)


def _mac(text: str) -> str:
    """A stable, locally administered unicast address."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ':'.join(['02', *(digest[i : i + 2] for i in range(0, 10, 2))])
