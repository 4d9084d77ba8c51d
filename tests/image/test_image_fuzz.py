"""Hostile bytes: whatever they are, they are an image or refused; quickly and in little memory.

MIRAGE_HOOKS_FUZZ=50000 sets the number of examples of each property.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import struct
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage_hooks import image
from mirage_hooks.messages.errors import Refused
from tests import elf

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

hostile = settings(
    max_examples=int(os.environ.get('MIRAGE_HOOKS_FUZZ', '200')),
    suppress_health_check=[HealthCheck.too_slow],
)
LIMIT = 1 << 16
SECTION = {'.text': b'', '__xen_guest': b'GUEST_OS=Mirage,XEN_VER=xen-3.0\0'}
GOOD = {
    'spt': elf.solo5(2, elf.entry(b'service', elf.NET), elf.entry(b'disk', elf.BLOCK)),
    'stripped hvt': elf.solo5(1, elf.entry(b'service', elf.NET), stripped=True),
    'pv': elf.write(elf.CODE, sections=SECTION, entry=0),
    'pvh of 32 bits': elf.write(elf.CODE, *elf.notes(elf.note(b'Xen', 18, bytes(4))), bits=32),
    'pie': elf.write(elf.CODE, elf.PIE, type=elf.ET_DYN, sections={}),
}
ARCHIVES = [
    pack(elf.solo5(2)) for pack in (bz2.compress, gzip.compress, lzma.compress, zstd.compress)
]
WIDTHS = {'<B': 8, '<H': 16, '<I': 32, '<Q': 64}


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A good file of which some fields have changed, to extremes above all; perhaps cut."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        layout = draw(st.sampled_from(sorted(WIDTHS)))
        last = (1 << WIDTHS[layout]) - 1
        extremes = [0, 1, last, last >> 1, last // 2 + 1, len(content), 0xFFFF]
        value = draw(st.sampled_from(extremes) | st.integers(0, last))
        at = draw(st.integers(0, len(content) - 8))
        struct.pack_into(layout, content, at, value & last)
    return bytes(content[: draw(st.just(len(content)) | st.integers(0, len(content)))])


def identified(content: bytes) -> image.Identity | Refused:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            return image.identify(Path(file.name), name='www')
        except Refused as refused:
            return refused


@pytest.mark.parametrize('kind', GOOD)
def test_a_good_image_cut_anywhere_is_refused(kind):
    content = GOOD[kind]
    assert isinstance(identified(content), image.Identity)
    for end in range(4, len(content)):
        refused = identified(content[:end])
        assert isinstance(refused, Refused), end
        assert refused.reason.startswith('www is a truncated ELF file: '), end


@hostile
@given(mutated(list(GOOD.values())))
def test_a_mutated_image_is_identified_or_refused(content):
    identified(content)


@hostile
@given(st.binary(max_size=400).map(lambda rest: b'\x7fELF\x02\x01\x01' + rest))
def test_noise_that_begins_like_elf_is_identified_or_refused(content):
    identified(content)


@hostile
@given(st.binary(max_size=300).map(lambda rest: b'#!/' + rest))
def test_noise_that_begins_like_a_script_is_identified_or_refused(content):
    identified(content)


@hostile
@given(mutated(ARCHIVES), st.integers(1, 100))
def test_a_mutated_archive_is_unpacked_or_refused_without_a_trace(archive, piece):
    class Pipe(io.BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            return super().read(min(piece, count or 0))

    with tempfile.TemporaryDirectory() as folder:
        destination = Path(folder, 'image')
        try:
            packed = image.unpack(Pipe(archive), destination, name='www', limit=LIMIT)
        except Refused:
            assert list(Path(folder).iterdir()) == []
        else:
            content = destination.read_bytes()
            assert packed.digest == hashlib.sha256(content).hexdigest()
            assert packed.size == len(content) <= LIMIT


def test_the_largest_headers_take_little_time_and_memory():
    """As many segments and sections as are read at all, all of them notes over the same bytes."""
    note = elf.note(b'A', 1, b'')
    segments = elf.notes(*[note * 15] * 1024)
    content = elf.write(*segments, sections={f's{number}': note for number in range(1022)})
    identified(content)  # pyelftools is imported here
    tracemalloc.start()
    start = time.process_time()
    identified(content)
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5
    assert peak < 16 << 20


@pytest.mark.parametrize('pack', [bz2.compress, gzip.compress, lzma.compress, zstd.compress])
def test_many_empty_members_take_linear_time(pack, tmp_path):
    def seconds(members: int) -> float:
        stream = io.BytesIO(pack(b'') * members + pack(b'x'))
        start = time.process_time()
        image.unpack(stream, tmp_path / 'image', name='www', limit=LIMIT)
        return time.process_time() - start

    seconds(10)
    assert seconds(40_000) < 40 * max(seconds(4_000), 0.005)
