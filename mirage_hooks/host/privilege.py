"""The commands that need root. An ordinary user gives them to `sudo -n`, under rules that name this
configuration's interfaces and domains."""

from __future__ import annotations

import os
import re

from .. import config
from ..state import taps
from . import devices, network, programs

SPECIAL = re.compile(r'([\\,:=\s])')  # what sudoers takes apart, sudoers(5)


def needed(
    unikernel: str, wanted: config.Unikernel, target: str, owner: str, state: str
) -> list[tuple[str, ...]]:
    """The commands that `unikernel` needs root for, with shell patterns where a part changes from
    release to release. The `create` of Xen boots whatever its file says: who may run it is as
    good as root."""
    if target == 'xen':
        return _xen(unikernel, state)
    bridges = [one.bridge for one in wanted.interfaces.values()
               if not isinstance(one, config.Socket) and one.bridge and not one.interface]
    tap, user = taps.pattern(unikernel, owner), str(os.getuid())
    node = [devices.command()] if devices.nodes(root=False) and _taps(wanted) else []
    if not bridges:
        return node
    return [
        *node,
        ('ip', 'tuntap', 'add', 'dev', tap, 'mode', 'tap', 'user', user),
        ('ip', 'link', 'set', 'dev', tap, 'alias', f'{network.OWNER} {owner}'),
        *(network.joined(tap, bridge) for bridge in dict.fromkeys(bridges)),
        ('ip', 'link', 'delete', 'dev', tap),
    ]


def line(command: tuple[str, ...], user: str) -> str:
    """The sudoers line that lets `user` run `command` as root without a password."""
    program = programs.find(command[0]) or f'/usr/sbin/{command[0]}'
    words = ' '.join([program, *(SPECIAL.sub(r'\\\1', word) for word in command[1:])])
    return f'{user} ALL=(root) NOPASSWD: {words}'


def allowed(command: tuple[str, ...]) -> bool:
    """Whether sudo lets us run `command` now, its patterns filled with an example."""
    program = programs.find(command[0]) or command[0]
    example = (re.sub(r'\[([0-9a-z])[^]]*\]', r'\1', word) for word in command[1:])
    code, _ = programs.ask(('sudo', '-n', '-l', program, *example), 5)
    return code == 0


def _taps(wanted: config.Unikernel) -> bool:
    return any(not isinstance(one, config.Socket) for one in wanted.interfaces.values())


def _xen(unikernel: str, state: str) -> list[tuple[str, ...]]:
    domain = f'{unikernel}-[0-9]*'
    return [
        ('xl', 'list'),
        ('xl', 'list', '-l'),
        ('xl', 'create', f'{state}/unikernels/{unikernel}/releases/[0-9]*/xl.cfg'),
        ('xl', 'destroy', domain),
        ('xl', 'domid', domain),
        ('xl', 'rename', domain, f'dead-[0-9]*-{domain}'),
    ]
