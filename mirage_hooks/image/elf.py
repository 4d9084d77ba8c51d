"""Reads from an ELF file what tells images apart; the only module that uses pyelftools.

The file is hostile. pyelftools knows the layout of its structures; how many of them there are,
how large they may be and where they may lie is decided here, before anything is read.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from ..messages.errors import Refused

if TYPE_CHECKING:
    from elftools.elf.structs import ELFStructs

MAGIC = b'\x7fELF'

# Linkers make some ten segments and some thirty sections.
HEADERS = 1024
# Notes, interpreter and dynamic section of an executable are some kilobytes together.
CONTENT = 256 << 10

PATH = 4096  # Linux's PATH_MAX

DT_FLAGS_1 = 0x6FFFFFFB
DF_1_PIE = 0x08000000


class Note(msgspec.Struct, frozen=True):
    """One note of a PT_NOTE segment."""

    owner: bytes
    type: int
    content: bytes


class Elf(msgspec.Struct, frozen=True):
    """`type` and `architecture` are pyelftools' words: 'ET_EXEC', 'x86_64'; a number if unknown."""

    type: str
    architecture: str
    entry: int
    loads: bool
    notes: tuple[Note, ...]
    interpreter: str
    pie: bool
    xen_guest: bytes | None


def read(file: BinaryIO, *, name: str) -> Elf:
    """Raises Refused when the file is truncated, malformed or beyond the bounds above."""
    elf = _File(file, name)
    segments = elf.segments()
    sections = elf.sections()
    contents = {
        kind: [elf.content(segment) for segment in segments if segment['p_type'] == kind]
        for kind in ('PT_NOTE', 'PT_INTERP', 'PT_DYNAMIC')
    }
    notes = zip(contents['PT_NOTE'], _alignments(segments), strict=True)
    return Elf(
        type=str(elf.header['e_type']),
        architecture=elf.architecture,
        entry=elf.header['e_entry'],
        loads=any(segment['p_type'] == 'PT_LOAD' for segment in segments),
        notes=tuple(note for content, align in notes for note in elf.notes(content, align)),
        interpreter=elf.interpreter(contents['PT_INTERP']),
        pie=any(map(elf.says_pie, contents['PT_DYNAMIC'])),
        xen_guest=elf.section(sections, b'__xen_guest'),
    )


def architecture(file: BinaryIO, *, name: str) -> str:
    """The machine that an ELF file is for, such as 'x86_64' or 'aarch64'."""
    return _File(file, name).architecture


def _alignments(segments: list[Any]) -> Iterator[int]:
    # As Linux does it: notes are aligned to 4 bytes unless the segment says 8.
    notes = (segment for segment in segments if segment['p_type'] == 'PT_NOTE')
    return (8 if segment['p_align'] == 8 else 4 for segment in notes)


class _File:
    """An ELF file, of which nothing is believed."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._left = CONTENT
        ident = self._read(0, 16, 'its identification')
        if ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise self._malformed('it is neither 32 nor 64 bits, or of neither byte order')
        self._bits, self._order = 32 * ident[4], '<>'[ident[5] - 1]
        self._structs = _structs(self._order == '<', self._bits)
        length = self._structs.Elf_Ehdr.sizeof()
        self.header: Any = self._structs.Elf_Ehdr.parse(self._read(0, length, 'its header'))
        self._structs.create_advanced_structs()

    @property
    def architecture(self) -> str:
        return str(self.header['e_machine']).removeprefix('EM_').lower()

    def segments(self) -> list[Any]:
        table = self._table('program', self._structs.Elf_Phdr, 'e_ph')
        for segment in table:
            self._within(segment['p_offset'], segment['p_filesz'], 'a segment')
        return table

    def sections(self) -> list[Any]:
        table = self._table('section', self._structs.Elf_Shdr, 'e_sh')
        for section in table:
            if section['sh_type'] not in ('SHT_NULL', 'SHT_NOBITS'):
                self._within(section['sh_offset'], section['sh_size'], 'a section')
        return table

    def content(self, segment: Any) -> bytes:
        return self._content(segment['p_offset'], segment['p_filesz'])

    def section(self, sections: list[Any], wanted: bytes) -> bytes | None:
        """The section's bytes; found by name, for it need not be in any segment."""
        at = self.header['e_shstrndx']
        if at >= len(sections):
            return None
        names = sections[at]
        for section in sections:
            start, length = section['sh_name'], len(wanted) + 1
            if start + length > names['sh_size'] or section['sh_type'] == 'SHT_NOBITS':
                continue
            if self._read(names['sh_offset'] + start, length, 'a name') == wanted + b'\0':
                return self._content(section['sh_offset'], section['sh_size'])
        return None

    def notes(self, content: bytes, align: int) -> Iterator[Note]:
        at = 0
        while at + 12 <= len(content):
            owner, length, kind = struct.unpack_from(f'{self._order}III', content, at)
            start = _up(at + 12 + owner, align)
            if start + length > len(content):
                raise self._malformed('a note does not fit into its segment')
            named = content[at + 12 : at + 12 + owner].rstrip(b'\0')
            yield Note(named, kind, content[start : start + length])
            at = _up(start + length, align)

    def interpreter(self, contents: list[bytes]) -> str:
        """The loader's path, '' for none; Linux takes the first one and wants it terminated."""
        if not contents:
            return ''
        path, end, _ = contents[0].partition(b'\0')
        if not end or not path.startswith(b'/') or len(path) >= PATH:
            raise self._malformed('its interpreter is no absolute path')
        return os.fsdecode(path)

    def says_pie(self, dynamic: bytes) -> bool:
        """Is this an executable for any address? A shared library is one too, but does not say."""
        entry = struct.Struct(self._order + ('qQ' if self._bits == 64 else 'iI'))
        whole = dynamic[: len(dynamic) - len(dynamic) % entry.size]
        flags = (value for tag, value in entry.iter_unpack(whole) if tag == DT_FLAGS_1)
        return any(value & DF_1_PIE for value in flags)

    def _table(self, what: str, layout: Any, prefix: str) -> list[Any]:
        offset, count, size = (self.header[prefix + field] for field in ('off', 'num', 'entsize'))
        if not offset or not count:
            return []
        if count > HEADERS:
            raise self._malformed(f'it has {count} {what} headers, more than {HEADERS}')
        if size != layout.sizeof():
            raise self._malformed(f'its {what} headers have {size} bytes, not {layout.sizeof()}')
        table = io.BytesIO(self._read(offset, count * size, f'its {what} headers'))
        return [layout.parse(table.read(size)) for _ in range(count)]

    def _content(self, offset: int, length: int) -> bytes:
        self._left -= length
        if self._left < 0:
            raise self._malformed(f'its notes and its dynamic section exceed {CONTENT} bytes')
        return self._read(offset, length, 'a segment')

    def _read(self, offset: int, length: int, what: str) -> bytes:
        self._within(offset, length, what)
        if not length:
            return b''  # which may lie anywhere, even where seek() cannot go
        self._file.seek(offset)
        return self._file.read(length)

    def _within(self, offset: int, length: int, what: str) -> None:
        if length and offset + length > self._size:
            raise Refused(
                f'{self.name} is a truncated ELF file: '
                f'{what} should end at byte {offset + length} of {self._size}',
                hint='build and publish the image again',
            )

    def _malformed(self, why: str) -> Refused:
        return Refused(f'{self.name} is a malformed ELF file: {why}')


def _structs(little_endian: bool, bits: int) -> ELFStructs:
    from elftools.elf.structs import ELFStructs  # 20 ms, for new images only

    structs = ELFStructs(little_endian=little_endian, elfclass=bits)
    structs.create_basic_structs()
    return structs


def _up(offset: int, align: int) -> int:
    return -(-offset // align) * align
