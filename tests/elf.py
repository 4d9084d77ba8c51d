"""Writes small ELF images for the tests: segments, notes, sections, or without sections."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
SHT_PROGBITS, SHT_STRTAB = 1, 3

X86_64, AARCH64 = 62, 183
HOST = int.from_bytes(Path('/proc/self/exe').read_bytes()[18:20], 'little')
FOREIGN = X86_64 if HOST == AARCH64 else AARCH64

ABI, MANIFEST = 0x31494241, 0x3154464D
BLOCK, NET, RESERVED = 1, 2, 1 << 30


class Segment(NamedTuple):
    type: int
    content: bytes
    align: int = 4


CODE = Segment(PT_LOAD, b'\xf4' * 64)
PIE = Segment(PT_DYNAMIC, struct.pack('<qQqQ', 0x6FFFFFFB, 0x08000000, 0, 0), 8)


def write(
    *segments: Segment,
    sections: dict[str, bytes] | None = None,
    machine: int = HOST,
    type: int = ET_EXEC,
    entry: int = 0x100000,
    bits: int = 64,
    head: bytes = b'',
) -> bytes:
    """`head` lies right behind the program headers; no `sections` at all is a stripped image."""
    header, program, section = (64, 56, 64) if bits == 64 else (52, 32, 40)
    body = bytearray(header + program * len(segments)) + head
    programs = b''.join(_placed(body, segment, bits) for segment in segments)
    table = b'' if sections is None else bytes(section) + _sections(body, sections, bits)
    count, at = len(table) // section, len(body) if table else 0
    body += table
    ident = b'\x7fELF' + bytes((bits // 32, 1, 1)) + bytes(9)
    body[:header] = ident + struct.pack(
        '<HHIQQQIHHHHHH' if bits == 64 else '<HHIIIIIHHHHHH',
        *(type, machine, 1, entry, header if segments else 0, at, 0),
        *(header, program, len(segments), section, count, max(count - 1, 0)),
    )
    body[header : header + len(programs)] = programs
    return bytes(body)


def _placed(body: bytearray, segment: Segment, bits: int) -> bytes:
    kind, content, align = segment
    body += bytes(-len(body) % 16)
    at, length = len(body), len(content)
    body += content
    if bits == 64:
        return struct.pack('<IIQQQQQQ', kind, 5, at, at, at, length, length, align)
    return struct.pack('<IIIIIIII', kind, at, at, at, length, length, 5, align)


def _sections(body: bytearray, sections: dict[str, bytes], bits: int) -> bytes:
    names, table = b'\0', b''
    layout = '<IIQQQQIIQQ' if bits == 64 else '<IIIIIIIIII'
    for name, content in (*sections.items(), ('.shstrtab', b'')):
        named, names = len(names), names + name.encode() + b'\0'
        last = name == '.shstrtab'
        kind, content = (SHT_STRTAB, names) if last else (SHT_PROGBITS, content)
        table += struct.pack(layout, named, kind, 0, 0, len(body), len(content), 0, 0, 1, 0)
        body += content
    return table


def note(owner: bytes, type: int, content: bytes, align: int = 4) -> bytes:
    head = struct.pack('<III', len(owner) + 1, len(content), type) + owner + b'\0'
    head += bytes(-len(head) % align)
    return head + content + bytes(-len(content) % align)


def notes(*contents: bytes) -> tuple[Segment, ...]:
    """One segment for each, as Solo5's linker scripts have it."""
    return tuple(Segment(PT_NOTE, content) for content in contents)


def abi(target: int, version: int = 2) -> bytes:
    return note(b'Solo5', ABI, struct.pack('<4I', target, version, 0, 0))


def entry(name: bytes, type: int, attached: int = 0) -> bytes:
    return struct.pack('<68sI24xB7x', name, type, attached)


def manifest(*entries: bytes, version: int = 1, count: int | None = None) -> bytes:
    entries = (entry(b'', RESERVED), *entries)
    header = struct.pack('<4xII', version, len(entries) if count is None else count)
    return note(b'Solo5', MANIFEST, header + b''.join(entries))


def solo5(target: int, *devices: bytes, version: int = 2, stripped: bool = False) -> bytes:
    """An image like those of Solo5's own linker scripts, fake interpreter and BSD note included."""
    return write(
        Segment(PT_INTERP, b'/nonexistent/solo5/\0'),
        CODE,
        *notes(note(b'OpenBSD', 1, bytes(4)), abi(target, version), manifest(*devices)),
        sections=None if stripped else {'.text': CODE.content},
    )
