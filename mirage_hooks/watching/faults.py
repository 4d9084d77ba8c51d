"""Faults of this host, which no release is blamed for."""

from __future__ import annotations

from pathlib import Path

from ..host import network
from ..state import model

MEMORY = Path('/proc/meminfo')
SHORT = 0.01  # of this host's memory: with less to give, nothing answers in time


def found(release: model.Release, heard: bool) -> str:
    """What keeps this host from asking `release`, in words; '' for nothing. `heard`: it has
    answered here before."""
    if out := memory(MEMORY.read_text()):
        return out
    for tap in release.plan.taps:
        if not tap.bridge:
            continue
        if not network.exists(tap.bridge):
            return f'the bridge {tap.bridge} is gone'
        if not _up(tap.bridge):
            return f'the bridge {tap.bridge} is down'
        if network.exists(tap.name) and network.bridge_of(tap.name) != tap.bridge:
            return f'the interface {tap.name} is not on its bridge {tap.bridge}'
        if network.exists(tap.name) and not _up(tap.name):
            return f'the interface {tap.name} is down'
        if not heard and not network.addressed(tap.bridge):
            return (f'this host has no address on {tap.bridge}, and release {release.number} has '
                    'not answered it yet')
    return ''


def path(wrong: str, release: model.Release) -> str:
    """What is said where the way to `release` is at fault, or a proxy or a name server on it."""
    return f'{wrong}, but release {release.number} answers when it is asked directly'


def memory(text: str) -> str:
    """What is wrong with this host's memory, of which proc(5) says `text`."""
    rows = (line.split() for line in text.splitlines())
    kilobytes = {row[0]: int(row[1]) for row in rows if len(row) > 1}
    free = kilobytes.get('MemAvailable:', 0) + kilobytes.get('SwapFree:', 0)
    if 'MemAvailable:' not in kilobytes or free > SHORT * kilobytes['MemTotal:']:
        return ''
    return f'this host is out of memory: {free >> 10} MB are left'


def _up(interface: str) -> bool:
    try:
        flags = int((network.INTERFACES / interface / 'flags').read_text(), 16)
    except OSError:
        return True  # gone meanwhile
    return bool(flags & 1)  # IFF_UP of linux/if.h
