"""Taps on the host: made for a release, named after it, removed with it, never a stranger's."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from ..messages import errors
from ..state import model
from . import programs

INTERFACES = Path('/sys/class/net')
OWNER = 'mirage-hooks'
MAC = '(?:[0-9a-f]{2}:){5}[0-9a-f]{2}'
SET = '3'  # NET_ADDR_SET of linux/netdevice.h
FORWARDING = '3'  # BR_STATE_FORWARDING of linux/if_bridge.h
# As Xen's vifs: a bridge without an address of its own takes its ports' lowest, so the highest
# there is never changes it; and several ports may share it.
HIGHEST = 'fe:ff:ff:ff:ff:ff'


def address_with_port(bridge: str) -> str:
    """The hardware address that `bridge` has once a port of ours is on it: its own, but one that
    nobody has set goes with the first port."""
    folder = INTERFACES / bridge
    if (folder / 'addr_assign_type').read_text().strip() != SET and not any(
        (folder / 'brif').glob('*')
    ):
        return HIGHEST
    return (folder / 'address').read_text().strip()


def attach(tap: model.Tap, owner: str) -> None:
    """Make `tap`, owned by `owner` (16 hex digits of the repository), on its bridge and up.
    One of ours that is left over is used again; raises Unavailable for anything in the way."""
    if not tap.ours:
        return _ready(tap)
    require(tap.bridge)
    if exists(tap.name) and not _is_ours(tap.name, owner):
        raise errors.Unavailable(
            f'the interface {tap.name} exists and is not ours',
            hint=f'remove it: ip link delete {tap.name}',
        )
    if exists(tap.name) and not _opened_by(tap.name, tap.user):
        remove(tap.name)
    commands: list[tuple[str, ...]] = []
    if not exists(tap.name):
        user = os.geteuid() if tap.user is None else tap.user
        commands.append(('ip', 'tuntap', 'add', 'dev', tap.name, 'mode', 'tap', 'user', str(user)))
    commands.append(('ip', 'link', 'set', 'dev', tap.name, 'alias', f'{OWNER} {owner}'))
    commands.append(joined(tap.name, tap.bridge))
    if os.geteuid() == 0:
        lines = (' '.join(f'"{word}"' for word in words[1:]) for words in commands)
        programs.run('ip', '-batch', '-', feed='\n'.join(lines))
        return
    for command in commands:  # each as a line of sudoers allows it
        programs.run(*command)


def join(name: str, bridge: str, within: float = 45) -> None:
    """Move the interface `name` to `bridge` and wait until it forwards there: at once, or after
    the spanning tree's delay. Raises Unavailable after `within` seconds."""
    if bridge_of(name) != bridge:
        programs.run('ip', 'link', 'set', 'dev', name, 'master', bridge)
    limit = time.monotonic() + within
    while (INTERFACES / name / 'brport' / 'state').read_text().strip() != FORWARDING:
        if time.monotonic() > limit:
            raise errors.Unavailable(f'{name} does not come to forward on {bridge}')
        time.sleep(0.01)


def ports(bridge: str) -> list[str]:
    """The interfaces on `bridge`."""
    folder = INTERFACES / bridge / 'brif'
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def tagged(bridge: str) -> bool:
    """Whether `bridge` tells VLANs apart."""
    try:
        return (INTERFACES / bridge / 'bridge' / 'vlan_filtering').read_text().strip() == '1'
    except OSError:
        return False


def pin(mac: str, name: str) -> None:
    """Frames to `mac` go to the port `name` of its bridge, whoever else sends from `mac`."""
    programs.run('bridge', 'fdb', 'replace', mac, 'dev', name, 'master', 'static', 'sticky')


def unpin(mac: str, name: str) -> None:
    """The bridge learns again where `mac` is."""
    said = programs.run('bridge', 'fdb', 'show', 'brport', name)
    if re.search(rf'^{mac} .*\bstatic\b', said, re.M):
        programs.run('bridge', 'fdb', 'delete', mac, 'dev', name, 'master')


def learned(name: str) -> str:
    """The one hardware address that its bridge knows behind the port `name`, '' for none."""
    said = programs.run('bridge', 'fdb', 'show', 'brport', name)
    found = re.findall(rf'^({MAC}) (?!.*\bpermanent\b)', said, re.M)
    return found[0] if len(found) == 1 else ''


def port_of(mac: str, bridge: str) -> str:
    """The port of `bridge` behind which it knows `mac`, '' for none."""
    said = programs.run('bridge', 'fdb', 'show', 'br', bridge)
    found = re.search(rf'^{mac} dev (\S+) (?!.*\bpermanent\b)', said, re.M)
    return found[1] if found else ''


def swap(come: str, go: str, bridge: str) -> None:
    """Put `come` on `bridge` and take `go` off: in this order, else the bridge may have no port
    for a moment and lose its carrier."""
    programs.run('ip', '-batch', '-', feed=(
        f'link set dev {come} master {bridge}\nlink set dev {go} nomaster\n'
    ))


def rejoin(tap: model.Tap) -> bool:
    """Put `tap`, which is there, back on its bridge when it is on none; whether it had to."""
    if not tap.ours or not exists(tap.name) or bridge_of(tap.name):
        return False
    require(tap.bridge)
    programs.run(*joined(tap.name, tap.bridge))
    return True


def bridge_of(name: str) -> str:
    """The bridge that the interface `name` is a port of, '' for none."""
    try:
        return (INTERFACES / name / 'master').readlink().name
    except OSError:
        return ''


def remove(name: str) -> None:
    """Remove the interface `name`, if it is still there."""
    if exists(name):
        programs.run('ip', 'link', 'delete', 'dev', name)


def joined(name: str, bridge: str) -> tuple[str, ...]:
    """The command that puts a new tap on its bridge."""
    return ('ip', 'link', 'set', 'dev', name, 'address', HIGHEST, 'master', bridge, 'up')


def owned(owner: str) -> list[str]:
    """The interfaces that `owner` made. A vif has a device behind it and goes with its domain:
    the kernel refuses to delete it."""
    entries = list(INTERFACES.iterdir()) if INTERFACES.is_dir() else []
    made = [entry.name for entry in entries if not (entry / 'device').exists()]
    return sorted(name for name in made if _is_ours(name, owner))


def exists(name: str) -> bool:
    return (INTERFACES / name).exists()


def addressed(bridge: str) -> bool:
    """Whether this host has an address of its own on `bridge`, by which it reaches who is there."""
    import socket

    import psutil

    found = psutil.net_if_addrs().get(bridge, [])
    return any(one.family in (socket.AF_INET, socket.AF_INET6)
               and not one.address.startswith('fe80:') for one in found)


def require(bridge: str) -> None:
    """Raise Unavailable when there is no `bridge`."""
    if not exists(bridge):
        raise errors.Unavailable(
            f'the bridge {bridge} does not exist',
            hint=f'make it (ip link add {bridge} type bridge), or fix `bridge:` in mirage.yml',
        )


def _ready(tap: model.Tap) -> None:
    if not exists(tap.name):
        raise errors.Unavailable(
            f'the interface {tap.name} does not exist',
            hint=f'make it: ip tuntap add dev {tap.name} mode tap user $USER, then set it up; '
            'or give `bridge:` in its place',
        )
    if not _opened_by(tap.name, tap.user):
        user = os.geteuid() if tap.user is None else tap.user
        raise errors.Unavailable(
            f'the interface {tap.name} is not a tap that user {user} may open, as which the '
            'unikernel runs',
            hint=f'make it anew: ip link delete {tap.name}; ip tuntap add dev {tap.name} mode tap '
            f'user {user}',
        )


def _opened_by(name: str, user: int | None) -> bool:
    """Whether user number `user` (None: this one) may open the tap `name`."""
    try:
        owner = int((INTERFACES / name / 'owner').read_text())
    except (OSError, ValueError):
        return False
    return owner in (-1, os.geteuid() if user is None else user)


def _is_ours(name: str, owner: str) -> bool:
    try:
        alias = (INTERFACES / name / 'ifalias').read_text().strip()
    except OSError:
        return False
    # Killed between making it and naming its owner, an interface has only our form of name.
    unnamed = not alias and re.fullmatch(
        rf'.{{1,3}}[0-9a-f]{{3}}-{owner[:4]}-[0-9a-z]{{3}}|mh-{owner[:8]}-[svpwqabde]', name
    )
    return alias == f'{OWNER} {owner}' or bool(unnamed)
