"""What one unikernel needs of this host, thing by thing: for `check`."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from .. import config, image, targets
from ..git.repository import Repository
from ..host import devices, facts, link, network, privilege, programs
from ..messages import errors
from ..state import model, secret, store
from ..switching import asked, conflicts, fitting, preflight


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: `hint` says how to get what is missing."""

    subject: str
    fine: bool
    text: str
    hint: str = ''


def of(
    name: str, wanted: config.Unikernel, took: image.Image | None, repository: Repository,
    options: frozenset[str] | None = None,
) -> Iterator[Finding]:
    """What `name` needs, its target taken from the image where it was read; `options` are those of
    a unix image that said them."""
    target = took.target if took else wanted.target or _guessed(wanted)
    request = targets.Request(
        name, 0, 'blue', str(repository.state), wanted, target, facts.owner(repository.state),
        took.style if took else '', took.devices if took else None, host=facts.look(),
    )
    if named := targets.tender(target, wanted):
        abi = took.abi if took else None
        yield _looked(name, f'{named} is there', lambda: preflight.tender(target, wanted, abi))
    yield from _others(name, wanted, target, repository)
    yield from _lacking(name, wanted, took, options)
    if target != 'xen':
        yield from _walls(name, request.host)
        yield from _devices(name, target, wanted)
    yield from _bridges(name, wanted)
    yield from _left(name, wanted)
    places = (repository.folder, repository.git_dir)
    if wanted.blocks:
        yield _looked(name, 'its disks', lambda: _disks(request, places))
    if wanted.secrets:
        yield _looked(name, 'its secrets', lambda: secret.check(wanted, places))
    if took and took.target in targets.TABLE and (request.host.sandbox or not request.host.root):
        yield _looked(name, 'image and configuration agree', lambda: targets.plan(request))
    if not request.host.root:
        yield from _rules(request, str(repository.state))


def _looked(name: str, text: str, look: Callable[[], object]) -> Finding:
    try:
        look()
    except errors.Refused as refused:
        return Finding(name, False, refused.reason, refused.hint)
    return Finding(name, True, text)


def _disks(request: targets.Request, places: tuple[Path, ...]) -> None:
    preflight.disks(request.unikernel, request.wanted, places)
    preflight.owned(request)


def _others(
    name: str, wanted: config.Unikernel, target: str, repository: Repository
) -> Iterator[Finding]:
    """Who has the unikernel's name or one of its addresses."""
    found = conflicts.of(store.opened(repository.state), name, wanted)
    yield from (Finding(name, False, one.text, one.hint) for one in found)
    if not found and (wanted.alone or (target == 'xen' and programs.find('xl'))):
        yield Finding(name, True, 'nobody else was seen with its name or address')


def _lacking(
    name: str, wanted: config.Unikernel, took: image.Image | None, options: frozenset[str] | None
) -> Iterator[Finding]:
    """What the image may look for and does not get."""
    if took is None:
        return
    if missed := fitting.missing(name, wanted, took.target, took.devices, options):
        yield Finding(name, False, missed.reason, missed.hint)
    if options is not None:
        yield _looked(name, 'image and network are of one kind', lambda: fitting.require_stack(
            name, wanted, took.target, options
        ))


def _guessed(wanted: config.Unikernel) -> str:
    """The target by the image's path when nothing else says it: xen/latest, spt/latest."""
    first = wanted.image.partition('/')[0]
    return first if first in targets.TABLE else 'unix'


def _walls(name: str, here: model.Host) -> Iterator[Finding]:
    found = programs.find('bwrap')
    text = 'bubblewrap keeps the image away from this host' if here.sandbox else (
        f'{found} does not work' if found else 'bubblewrap is not installed'
    )
    hint = 'user namespaces are forbidden: sysctl kernel.unprivileged_userns_clone, or AppArmor'
    yield Finding(name, here.sandbox, text, hint if found else preflight.GET['bwrap'])
    if free := _unlimited(here):
        yield Finding(name, True, f'not limited on this host: {free}')


def _unlimited(here: model.Host) -> str:
    """What a release may take without bound here."""
    if here.systemd or here.cgroups:
        return ''
    return ', '.join((
        'shared memory (systemd limits it' + (
            ', or cgroup v2)' if here.root else ': loginctl enable-linger)'),
        *(() if here.counted else ('the number of processes',)),
    ))


def _devices(name: str, target: str, wanted: config.Unikernel) -> Iterator[Finding]:
    own = [one for one in wanted.interfaces.values() if not isinstance(one, config.Socket)]
    if own:
        yield _device(name, devices.TUN, 'modprobe tun')
    if target == 'hvt':
        yield _device(
            name, devices.KVM, 'modprobe kvm_intel or kvm_amd, and join the group kvm; or build '
            'for spt, which needs neither; as root, where no node can be made: chmod 666 /dev/kvm',
        )
    if target == 'virtio' and (trouble := devices.trouble(devices.KVM)):
        yield Finding(name, True, devices.WITHOUT_KVM.format(trouble))


def _device(name: str, device: str, hint: str) -> Finding:
    """Whether a release may open `device`; where sudo makes its node, that is asked elsewhere."""
    by_sudo = os.geteuid() != 0 and device in devices.nodes(root=False)
    trouble = '' if by_sudo else devices.trouble(device)
    if trouble:
        return Finding(name, False, f'{device} cannot be opened: {trouble}', hint)
    return Finding(name, True, f'{device} can be opened')


def _bridges(name: str, wanted: config.Unikernel) -> Iterator[Finding]:
    for one in wanted.interfaces.values():
        if isinstance(one, config.Socket):
            continue
        if one.bridge:
            yield Finding(
                name, network.exists(one.bridge), f'bridge {one.bridge}',
                f'make it: ip link add {one.bridge} type bridge && ip link set {one.bridge} up',
            )
            yield program(name, 'ip', preflight.GET['ip'])
            if wanted.overlapped is not None:
                yield from _overlap(name, wanted)
        if one.interface:
            yield Finding(
                name, network.exists(one.interface), f'interface {one.interface}',
                f'make it: ip tuntap add dev {one.interface} mode tap user {os.getuid()}',
            )


def _overlap(name: str, wanted: config.Unikernel) -> Iterator[Finding]:
    """What it takes that two releases serve side by side."""
    if os.geteuid() == 0:
        yield program(name, 'nft', preflight.GET['nft'])
    elif wanted.switch == 'overlap':
        yield _looked(name, 'switch: overlap', lambda: preflight.side_by_side(name, wanted))
    else:
        yield Finding(
            name, True, 'it switches by `replace`, with a moment without an answer, and the gate '
            'does not try it: `overlap` wants root, for network namespaces and nft',
        )


def _left(name: str, wanted: config.Unikernel) -> Iterator[Finding]:
    """The questions that no trial answers, where one is held."""
    static = wanted.overlapped if os.geteuid() == 0 else None
    if wanted.port is not None:
        found = asked.on_port(wanted, wanted.port)
    elif static is not None:
        found = asked.on_stage(wanted, link.addresses(static))
    else:
        return
    for text in found.said:
        yield Finding(name, True, text)


def program(subject: str, name: str, hint: str) -> Finding:
    """Whether the program `name` is on this host, and where."""
    where = programs.find(name)
    text = f'{name} is {where}' if where else f'{name} is not installed'
    return Finding(subject, bool(where), text, hint)


def _rules(request: targets.Request, state: str) -> Iterator[Finding]:
    """The sudoers lines that an ordinary user wants for this configuration, each one tried."""
    user = pwd.getpwuid(os.getuid()).pw_name
    for command in privilege.needed(
        request.unikernel, request.wanted, request.target, request.seed, state
    ):
        yield Finding(
            request.unikernel, privilege.allowed(command), f'sudo -n {" ".join(command)}',
            f'visudo -f /etc/sudoers.d/mirage-hooks: {privilege.line(command, user)}',
        )
