"""What an image is, from its bytes alone: target, ABI, devices. File names are not believed. Knows
nothing of mirage.yml and of git; touches the file that it is given, and the one that it unpacks."""

from __future__ import annotations

import os
import re
import struct
import tempfile
from pathlib import Path
from typing import BinaryIO

import msgspec

from ..messages.errors import Refused, Unavailable
from . import elf, solo5
from .archive import Packed, unpack
from .device import Device

__all__ = ['Device', 'Identity', 'Image', 'Packed', 'amount', 'describe', 'identify', 'look',
           'take', 'unpack']

# A multiboot header lies in the first 8 KiB, aligned to 4 bytes; Linux reads 256 bytes of a script.
HEAD = 8 << 10
SCRIPT_LINE = 256

LIMIT = 512 << 20  # bytes unpacked; what mirage.yml allows by default
FEW = 4  # devices that are named one by one

MULTIBOOT = b'\x02\xb0\xad\x1b'
PHYS32_ENTRY = 18
PROGRAMS = ('ET_EXEC', 'ET_DYN')


class Identity(msgspec.Struct, frozen=True):
    """What the bytes say: `style` is 'pv' or 'pvh' for xen, else ''; see Image for the rest."""

    target: str
    abi: int | None = None
    style: str = ''
    devices: tuple[Device, ...] | None = None


class Image(msgspec.Struct, frozen=True, omit_defaults=True):
    """The bytes of one build."""

    digest: str  # sha256 in hex, of the unpacked bytes
    size: int  # bytes, unpacked
    target: str  # unix, hvt, spt, virtio, muen, genode or xen
    compression: str = ''  # bzip2, gzip, xz, zstd
    abi: int | None = None  # Solo5's: 1 for 0.6 and 0.7, 2 from 0.8 on
    style: str = ''  # pv or pvh, for xen
    devices: tuple[Device, ...] | None = None  # None: the image does not say


def take(stream: BinaryIO, destination: Path, *, name: str, limit: int) -> Image:
    """Unpack `stream` to `destination` and say what it is; leaves no file when it is refused."""
    packed = unpack(stream, destination, name=name, limit=limit)
    try:
        identity = identify(destination, name=name)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    return Image(**msgspec.structs.asdict(packed), **msgspec.structs.asdict(identity))


def identify(path: Path, *, name: str) -> Identity:
    """What the raw image at `path` is; `name` is for messages.

    Raises Refused for what is no image, is malformed, contradicts itself or is for another
    machine; Unavailable for a program whose loader or interpreter this host does not have.
    """
    with path.open('rb') as file:
        head = file.read(HEAD)
        if head.startswith(elf.MAGIC):
            return _program(elf.read(file, name=name), head, name)
    if head.startswith(b'#!'):
        return _script(head[:SCRIPT_LINE], name)
    raise Refused(
        f'{name} is not an image: it is neither an ELF file nor a script',
        hint='publish what `mirage build` made',
    )


def look(stream: BinaryIO, *, name: str, limit: int = LIMIT) -> Image:
    """What `take` finds, with nothing kept."""
    with tempfile.TemporaryDirectory() as folder:
        return take(stream, Path(folder, 'image'), name=name, limit=limit)


def describe(image: Image) -> str:
    """For a person: 'spt (Solo5 ABI 2), 6.0 MB, network service'."""
    target = ' '.join(filter(None, (image.target, image.style)))
    abi = '' if image.abi is None else f' (Solo5 ABI {image.abi})'
    words = {'net': 'network', 'block': 'block device'}
    devices = [f'{words[device.kind]} {device.name}' for device in image.devices or ()]
    if image.devices == () or len(devices) > FEW:
        devices = [f'{len(devices) or "no"} devices']
    return ', '.join((target + abi, amount(image.size), *devices))


def _program(program: elf.Elf, head: bytes, name: str) -> Identity:
    if program.type not in PROGRAMS:
        kind = {'ET_REL': 'an object file', 'ET_CORE': 'a core dump'}.get(program.type)
        raise Refused(f'{name} is not an image: it is {kind or f"ELF of type {program.type}"}')
    return (
        _solo5(program, name)
        or _xen(program, name)
        or (Identity('virtio') if _multiboot(head) else _unix(program, name))
    )


def _solo5(program: elf.Elf, name: str) -> Identity | None:
    linked = solo5.target(program.notes, name=name)
    devices = solo5.devices(program.notes, name=name)
    if linked is None:
        if devices is not None:
            raise Refused(
                f'{name} is linked to no Solo5 target: it has a manifest but no ABI note',
                hint='configure it for a target, such as `mirage configure -t spt`',
            )
        return None
    target, abi = linked
    _refuse_what_no_tender_takes(program, target, devices, name)
    if target == 'xen':
        # MirageOS finds its devices in xenstore, and leaves the manifest empty (4.11.1 does).
        return Identity(target, abi, 'pvh')
    return Identity(target, abi, '', devices)


def _refuse_what_no_tender_takes(
    program: elf.Elf, target: str, devices: tuple[Device, ...] | None, name: str
) -> None:
    if target != 'xen' and (program.xen_guest is not None or _xen_notes(program)):
        raise Refused(f'{name} contradicts itself: Solo5 says {target}, other notes say xen')
    if target not in ('hvt', 'spt'):
        return
    _refuse_another_machine(program, name)
    if devices is None:
        raise Refused(f'{name} is linked for {target}, but has no Solo5 manifest')
    if program.type != 'ET_EXEC':
        raise Refused(f'{name} is linked for {target}, but not at a fixed address')


def _xen(program: elf.Elf, name: str) -> Identity | None:
    # Xen reads the section only where there are no notes.
    if notes := _xen_notes(program):
        return Identity('xen', style='pvh' if PHYS32_ENTRY in notes else 'pv')
    if program.xen_guest is None:
        return None
    if b'XEN_VER=xen-3.0' not in program.xen_guest:
        raise Refused(f'{name} is a Xen guest, but not for xen-3.0, the only interface there is')
    return Identity('xen', style='pv')


def _xen_notes(program: elf.Elf) -> set[int]:
    return {note.type for note in program.notes if note.owner == b'Xen'}


def _multiboot(head: bytes) -> bool:
    """Magic, flags and a checksum that makes their sum zero."""
    for at in range(0, len(head) - 11, 4):
        if head.startswith(MULTIBOOT, at):
            magic, flags, checksum = struct.unpack_from('<3I', head, at)
            return bool((magic + flags + checksum) % (1 << 32) == 0)
    return False


def _unix(program: elf.Elf, name: str) -> Identity:
    if program.type == 'ET_DYN' and not program.interpreter and not program.pie:
        raise Refused(f'{name} is not an image: it is a shared library')
    if not program.loads or not program.entry:
        raise Refused(f'{name} is not an image: it is an ELF file without a program')
    _refuse_another_machine(program, name)  # before its loader: that is another one too
    _want(program.interpreter, 'loader', name)
    return Identity('unix')


def _script(line: bytes, name: str) -> Identity:
    # Linux takes a line that ends with the file, but neither a longer nor a relative one.
    interpreter = re.match(rb'#![ \t]*(/[^\s\0]*)([ \t][^\n\0]*)?(\n|\Z)', line)
    if not interpreter or (len(line) == SCRIPT_LINE and b'\n' not in line):
        raise Refused(
            f'{name} is not an image: its first line names no interpreter by its full path',
            hint='begin it with a line such as #!/bin/sh, below 256 bytes and ended as Unix does',
        )
    _want(interpreter[1].decode('utf-8', 'surrogateescape'), 'interpreter', name)
    return Identity('unix')


def _want(path: str, what: str, name: str) -> None:
    if path and not os.path.exists(path):  # noqa: PTH110 (Path's raises for a name too long)
        raise Unavailable(f'{name} wants the {what} {path}, which this host does not have')


def _refuse_another_machine(program: elf.Elf, name: str) -> None:
    with Path('/proc/self/exe').open('rb') as file:
        host = elf.architecture(file, name='this Python')
    if program.architecture != host:
        raise Refused(
            f'{name} is built for {program.architecture}, but this host is {host}',
            hint=f'build it on {host}',
        )


def amount(size: int) -> str:
    """`size` bytes, for a person."""
    for unit, factor in (('GB', 10**9), ('MB', 10**6), ('kB', 10**3)):
        if size >= factor:
            return f'{size / factor:.1f} {unit}'
    return f'{size} bytes'
