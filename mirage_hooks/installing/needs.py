"""What one unikernel needs of this host, thing by thing: for `check`."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from .. import config, image, targets
from ..git.repository import Repository
from ..host import devices, facts, link, network, privilege, programs, sharing
from ..state import model, secret, store
from ..switching import asked, conflicts, fitting, leasing, next_to, overlap, preflight
from . import certificate
from .finding import Finding, Found, fine, looked, note, problem, refused


def of(
    name: str, wanted: config.Unikernel, took: image.Image | None, repository: Repository,
    options: frozenset[str] | None = None,
) -> Found:
    """What `name` needs, its target taken from the image where it was read; `options` are those of
    a unix image that said them."""
    target = took.target if took else wanted.target or _guessed(wanted)
    request = targets.Request(
        name, 0, 'blue', str(repository.state), wanted, target, facts.owner(repository.state),
        took.style if took else '', took.devices if took else None, host=facts.look(),
    )
    if named := targets.tender(target, wanted):
        abi = took.abi if took else None
        yield looked(name, f'{named} is there', lambda: preflight.tender(target, wanted, abi))
    yield from _others(name, wanted, target, repository)
    yield from _lacking(name, wanted, took, options)
    if target != 'xen':
        yield from _walls(name, wanted, request.host)
        yield from _devices(name, target, wanted)
    yield from _bridges(name, wanted, target)
    if wanted.port is not None and target == 'unix':
        yield from _next_to(name, wanted, request.host)
    yield from _left(name, wanted)
    places = (repository.folder, repository.git_dir)
    if wanted.blocks:
        yield looked(name, 'its disks', lambda: _disks(request, places))
    if wanted.secrets or secret.account_of(wanted):
        yield looked(name, 'its secrets', lambda: secret.check(wanted, places))
    if wanted.certificate is not None:
        yield from certificate.findings(
            name, wanted, wanted.certificate, store.opened(repository.state).of(name), places)
    if took and took.target in targets.TABLE and (request.host.sandbox or not request.host.root):
        yield looked(name, 'the image can be started as mirage.yml has it',
                     lambda: targets.plan(request))
    if not request.host.root:
        yield from _rules(request, str(repository.state))


def _disks(request: targets.Request, places: tuple[Path, ...]) -> None:
    preflight.disks(request.unikernel, request.wanted, places)
    preflight.owned(request)


def _others(
    name: str, wanted: config.Unikernel, target: str, repository: Repository
) -> Found:
    """Who has the unikernel's name or one of its addresses."""
    found = conflicts.of(store.opened(repository.state), name, wanted)
    yield from (problem(name, one.text, one.hint) for one in found)
    if not found and (wanted.alone or (target == 'xen' and programs.find('xl'))):
        yield fine(name, 'nobody else was seen with its name or address')


def _lacking(
    name: str, wanted: config.Unikernel, took: image.Image | None, options: frozenset[str] | None
) -> Found:
    """What the image may look for and does not get."""
    if took is None:
        return
    if missed := fitting.missing(name, wanted, took.target, took.devices, options):
        yield refused(name, missed)
    if options is not None:
        yield looked(name, 'image and network are of one kind', lambda: fitting.require_stack(
            name, wanted, took.target, options
        ))


def _guessed(wanted: config.Unikernel) -> str:
    """The target by the image's path when nothing else says it: xen/latest, spt/latest."""
    first = wanted.image.partition('/')[0]
    return first if first in targets.TABLE else 'unix'


def _walls(name: str, wanted: config.Unikernel, here: model.Host) -> Found:
    say, then = (problem, '') if here.root else (note, ': the image has your rights')
    if here.sandbox:
        yield fine(name, 'bubblewrap keeps the image away from this host')
    elif found := programs.find('bwrap'):
        yield say(name, f'{found} does not work{then}', 'user namespaces are forbidden: sysctl '
                  'kernel.unprivileged_userns_clone, or AppArmor')
    else:
        yield say(name, f'bubblewrap is not installed{then}', preflight.GET['bwrap'])
    if free := _unlimited(wanted, here):
        yield note(name, f'not limited on this host: {free}')


def _unlimited(wanted: config.Unikernel, here: model.Host) -> str:
    """What a release may take without bound here."""
    free = []
    if not here.systemd and not here.cgroups:
        free.append('shared memory (systemd limits it' + (
            ', or cgroup v2)' if here.root else ': loginctl enable-linger)'))
        free += [] if here.counted else ['the number of processes']
    if wanted.cpu is not None and not here.systemd:
        free.append(f'the CPU (`cpu: {wanted.cpu}` wants systemd)')
    return ', '.join(free)


def _devices(name: str, target: str, wanted: config.Unikernel) -> Found:
    own = [one for one in wanted.interfaces.values() if not isinstance(one, config.Socket)]
    if own:
        yield _device(name, devices.TUN, 'modprobe tun')
    if target == 'hvt':
        yield _device(
            name, devices.KVM, 'modprobe kvm_intel or kvm_amd, and join the group kvm; or build '
            'for spt, which needs neither; as root, where no node can be made: chmod 666 /dev/kvm',
        )
    if target == 'virtio' and (trouble := devices.trouble(devices.KVM)):
        yield note(name, devices.WITHOUT_KVM.format(trouble))


def _device(name: str, device: str, hint: str) -> Finding:
    """Whether a release may open `device`; where sudo makes its node, that is asked elsewhere."""
    by_sudo = os.geteuid() != 0 and device in devices.nodes(root=False)
    trouble = '' if by_sudo else devices.trouble(device)
    if trouble:
        return problem(name, f'{device} cannot be opened: {trouble}', hint)
    return fine(name, f'{device} can be opened')


def _bridges(name: str, wanted: config.Unikernel, target: str) -> Found:
    for one in wanted.interfaces.values():
        if isinstance(one, config.Socket):
            continue
        if one.bridge:
            yield _interface(
                name, f'bridge {one.bridge}', one.bridge,
                f'make it: ip link add {one.bridge} type bridge && ip link set {one.bridge} up',
            )
            yield program(name, 'ip', preflight.GET['ip'])
            if wanted.leased and target == 'unix':
                yield note(name, f'it switches by `replace`: {leasing.CHANGES}')
            elif wanted.overlapped or wanted.leased:
                yield from _overlap(name, wanted)
            elif why := fitting.one_writer(wanted):
                yield note(name, f'it switches by `replace`: {why}')
        if one.interface:
            yield _interface(
                name, f'interface {one.interface}', one.interface,
                f'make it: ip tuntap add dev {one.interface} mode tap user {os.getuid()}',
            )


def _interface(name: str, called: str, device: str, hint: str) -> Finding:
    if network.exists(device):
        return fine(name, f'{called} is there')
    return problem(name, f'{called} does not exist', hint)


def _overlap(name: str, wanted: config.Unikernel) -> Found:
    """What it takes that two releases serve side by side."""
    if os.geteuid() == 0:
        yield program(name, 'nft', preflight.GET['nft'])
        if wanted.leased:
            yield fine(name, 'it switches by `overlap` when the DHCP server leases it the same '
                       'address again, else by `replace`; `deploy --dry-run` asks it')
    elif wanted.switch == 'overlap':
        yield looked(name, 'switch: overlap', lambda: preflight.side_by_side(name, wanted))
    else:
        yield note(
            name, 'it switches by `replace`, with a moment without an answer, and the gate '
            'does not try it: `overlap` wants root, for network namespaces and nft',
        )


def _next_to(name: str, wanted: config.Unikernel, host: model.Host) -> Found:
    """Whether two releases can listen on its port at once."""
    if wanted.switch == 'replace':
        return
    why = next_to.hindrance(wanted, bool(host.systemd)) or sharing.trouble()
    if not why:
        yield fine(name, 'it switches by `overlap`: two releases can listen on its port at once')
    elif wanted.switch == 'overlap' and not host.systemd:
        yield looked(name, 'switch: overlap', lambda: preflight.side_by_side(name, wanted))
    else:
        yield note(name, f'it switches by `replace`, with a moment without an answer: {why}')


def _left(name: str, wanted: config.Unikernel) -> Found:
    """The questions that no trial answers, where one is held."""
    static = wanted.alone if overlap.staged(wanted) else None
    if wanted.port is not None:
        found = asked.on_port(wanted, wanted.port)
    elif static is not None:
        found = asked.on_stage(wanted, link.addresses(static))
    else:
        return
    for text in found.said:
        yield note(name, text)


def program(subject: str, name: str, hint: str) -> Finding:
    """Whether the program `name` is on this host, and where."""
    where = programs.find(name)
    if where:
        return fine(subject, f'{name} is {where}')
    return problem(subject, f'{name} is not installed', hint)


def _rules(request: targets.Request, state: str) -> Found:
    """The sudoers lines that an ordinary user wants for this configuration, each one tried."""
    user = pwd.getpwuid(os.getuid()).pw_name
    for command in privilege.needed(
        request.unikernel, request.wanted, request.target, request.seed, state
    ):
        text = f'sudo -n {" ".join(command)}'
        hint = f'visudo -f /etc/sudoers.d/mirage-hooks: {privilege.line(command, user)}'
        yield (fine(request.unikernel, text) if privilege.allowed(command)
               else problem(request.unikernel, text, hint))
