"""Taps on the host: made for a release, named after it, removed with it, never a stranger's."""

from __future__ import annotations

import os
import re
from pathlib import Path

from . import errors, model, system

INTERFACES = Path('/sys/class/net')
OWNER = 'mirage-hooks'


def attach(tap: model.Tap, owner: str) -> None:
    """Make `tap`, owned by `owner` (16 hex digits of the repository), on its bridge and up.
    One of ours that is left over is used again; raises Unavailable for anything in the way."""
    if not tap.ours:
        return _ready(tap)
    _require(tap.bridge)
    if exists(tap.name) and not _is_ours(tap.name, owner):
        raise errors.Unavailable(
            f'the interface {tap.name} exists and is not ours',
            hint=f'remove it: ip link delete {tap.name}',
        )
    if exists(tap.name) and not _opened_by(tap.name, tap.user):
        remove(tap.name)
    if not exists(tap.name):
        user = os.geteuid() if tap.user is None else tap.user
        system.run('ip', 'tuntap', 'add', 'dev', tap.name, 'mode', 'tap', 'user', str(user))
    system.run('ip', 'link', 'set', 'dev', tap.name, 'alias', f'{OWNER} {owner}')
    system.run('ip', 'link', 'set', 'dev', tap.name, 'master', tap.bridge, 'up')


def rejoin(tap: model.Tap) -> bool:
    """Put `tap`, which is there, back on its bridge when it is on none; whether it had to."""
    if not tap.ours or not exists(tap.name) or bridge_of(tap.name):
        return False
    _require(tap.bridge)
    system.run('ip', 'link', 'set', 'dev', tap.name, 'master', tap.bridge, 'up')
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
        system.run('ip', 'link', 'delete', 'dev', name)


def pattern(unikernel: str, owner: str) -> str:
    """A shell pattern of the names of the taps that are made for `unikernel`."""
    return f'{unikernel[:7]}-{owner[:3]}-[bg][0-9]'


def owned(owner: str) -> list[str]:
    """The interfaces that `owner` made."""
    names = [entry.name for entry in INTERFACES.iterdir()] if INTERFACES.is_dir() else []
    return sorted(name for name in names if _is_ours(name, owner))


def exists(name: str) -> bool:
    return (INTERFACES / name).exists()


def _require(bridge: str) -> None:
    if not exists(bridge):
        raise errors.Unavailable(
            f'the bridge {bridge} does not exist',
            hint=f'make it (ip link add {bridge} type bridge), or mend `bridge:` in mirage.yml',
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
    # Killed between making it and naming its owner, a tap has only our form of name.
    unnamed = not alias and re.fullmatch(rf'.{{1,7}}-{owner[:3]}-[bg][0-9]+', name)
    return alias == f'{OWNER} {owner}' or bool(unnamed)
