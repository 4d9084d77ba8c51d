"""Solo5's two ELF notes: the target an image is linked for, and the devices it wants."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Literal

from ..messages.errors import Refused
from . import elf
from .device import Device

OWNER = b'Solo5'
ABI = 0x31494241  # 'ABI1'
MANIFEST = 0x3154464D  # 'MFT1'

TARGETS = {1: 'hvt', 2: 'spt', 3: 'virtio', 4: 'muen', 5: 'genode', 6: 'xen'}

MANIFEST_VERSION = 1
ENTRIES = 64
RESERVED_FIRST = 1 << 30
KINDS: dict[int, Literal['net', 'block']] = {1: 'block', 2: 'net'}

_TARGET = struct.Struct('<4I')  # target, version, two reserved
_HEADER = struct.Struct('<4xII')  # padding to 8 bytes, version, entries
_ENTRY = struct.Struct('<68sI24x?7x')  # name, type, the tender's own, attached


def target(notes: tuple[elf.Note, ...], *, name: str) -> tuple[str, int] | None:
    """Target and ABI version, None for what Solo5 did not link; raises Refused if malformed."""
    content = _only(notes, ABI, 'ABI', name)
    if content is None:
        return None
    if len(content) != _TARGET.size:
        raise Refused(
            f'{name} has a malformed Solo5 ABI note: {len(content)} bytes, not {_TARGET.size}'
        )
    number, version, _, _ = _TARGET.unpack(content)
    if number not in TARGETS:
        raise Refused(f'{name} is linked for Solo5 target {number}, which is not known here')
    return TARGETS[number], version


def devices(notes: tuple[elf.Note, ...], *, name: str) -> tuple[Device, ...] | None:
    """The manifest's devices in its order, None without one; as strict as Solo5's tenders."""
    content = _only(notes, MANIFEST, 'manifest', name)
    if content is None:
        return None
    try:
        devices = tuple(_devices(content))
        _refuse_duplicates(devices)
    except ValueError as error:
        raise Refused(f'{name} has a malformed Solo5 manifest: {error}') from error
    return devices


def _only(notes: tuple[elf.Note, ...], kind: int, what: str, name: str) -> bytes | None:
    contents = [note.content for note in notes if (note.owner, note.type) == (OWNER, kind)]
    if len(contents) > 1:
        raise Refused(f'{name} contradicts itself: it has {len(contents)} Solo5 {what} notes')
    return contents[0] if contents else None


def _devices(content: bytes) -> Iterator[Device]:
    if len(content) < _HEADER.size:
        raise ValueError(f'{len(content)} bytes hold no header')
    version, entries = _HEADER.unpack_from(content)
    if version != MANIFEST_VERSION:
        raise ValueError(f'version {version}, not {MANIFEST_VERSION}')
    if not 1 <= entries <= ENTRIES:
        raise ValueError(f'{entries} entries, not 1 to {ENTRIES}')
    if len(content) != _HEADER.size + entries * _ENTRY.size:
        raise ValueError(f'{len(content)} bytes do not hold {entries} entries')
    first, *rest = _ENTRY.iter_unpack(content[_HEADER.size :])
    if first[0][0] or first[1] != RESERVED_FIRST:
        raise ValueError('its first entry is not the reserved one')
    for raw, kind, attached in rest:
        yield _device(raw, kind, attached)


def _device(raw: bytes, kind: int, attached: bool) -> Device:
    text, _, _ = raw.partition(b'\0')
    if raw[-1]:
        raise ValueError('a device name is not terminated')
    if not re.fullmatch(rb'[A-Za-z0-9_]+', text):
        raise ValueError(f'{text.decode("latin-1")!r} is no device name')
    if kind not in KINDS:
        raise ValueError(f'device {text.decode()} is of unknown type {kind}')
    if attached:
        raise ValueError(f'device {text.decode()} is marked as attached')
    return Device(text.decode(), KINDS[kind])


def _refuse_duplicates(devices: tuple[Device, ...]) -> None:
    names = [device.name for device in devices]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'it names device {name} twice')
