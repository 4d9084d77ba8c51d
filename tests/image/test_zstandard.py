"""zstd archives by the library that Debian has: as with the other one, bounded and whole."""

from __future__ import annotations

import io
import random
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from mirage_hooks import image
from mirage_hooks.image import formats
from mirage_hooks.messages.errors import Refused

LIMIT = 8 << 20
CONTENT = random.Random(1).randbytes(1 << 20) * 5


@pytest.fixture(autouse=True)
def _debian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats._FORMATS, 'zstd', formats.Zstandard)


def unpacked(archive: bytes, folder: Path) -> bytes:
    done = image.unpack(io.BytesIO(archive), folder / 'image', name='www', limit=LIMIT)
    assert done.compression == 'zstd'
    return (folder / 'image').read_bytes()


def refusal(archive: bytes, folder: Path) -> str:
    with pytest.raises(Refused) as refused:
        unpacked(archive, folder)
    assert list(folder.iterdir()) == []
    return str(refused.value)


@pytest.mark.parametrize('content', [b'#!/bin/sh\n', CONTENT, bytes(LIMIT)],
                         ids=['small', 'large', 'zeros'])
def test_what_was_packed_comes_out(content: bytes, tmp_path: Path) -> None:
    assert unpacked(zstandard.compress(content), tmp_path) == content


def test_members_follow_each_other(tmp_path: Path) -> None:
    members = [zstandard.compress(part) for part in (CONTENT, b'', b'the end')]
    assert unpacked(b''.join(members), tmp_path) == CONTENT + b'the end'


def test_an_archive_truncated_anywhere_is_refused(tmp_path: Path) -> None:
    archive = zstandard.compress(b'#!/bin/sh\nexec sleep 1000\n')
    said = {refusal(archive[:end], tmp_path) for end in range(6, len(archive))}
    assert said == {'www is a truncated zstd archive'}


@pytest.mark.parametrize('garbage', [b'\0', b'trailing', b'\n' * 100_000])
def test_anything_after_an_archive_is_refused(garbage: bytes, tmp_path: Path) -> None:
    said = refusal(zstandard.compress(b'#!/bin/sh\n') + garbage, tmp_path)
    assert said == 'www goes on after the end of its zstd archive'


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    archive = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(b'#!/bin/sh\n'))
    archive[-1] ^= 0xFF
    assert refusal(bytes(archive), tmp_path) == (
        "www is a broken zstd archive: zstd decompressor error: Restored data doesn't match "
        'checksum'
    )


def test_a_bomb_stops_at_the_limit_in_little_memory(tmp_path: Path) -> None:
    # A megabyte of blocks that repeat one byte: 32 GiB.
    header = b'\x28\xb5\x2f\xfd' + bytes((0x00, 7 << 3))  # no checksum, no size; 128 KiB of window
    block = ((128 << 10) << 3 | 1 << 1).to_bytes(3, 'little') + b'\0'
    bomb = header + block * (1 << 18)
    tracemalloc.start()
    said = refusal(bomb, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said == 'www unpacks to more than 8 MB'
    assert peak < 8 << 20


def test_an_archive_that_asks_for_gigabytes_is_refused(tmp_path: Path) -> None:
    # Neither checksum nor size, a window of 2 GiB; one last raw block of one byte.
    archive = b'\x28\xb5\x2f\xfd' + bytes((0x00, 21 << 3)) + b'\x09\x00\x00x'
    assert refusal(archive, tmp_path) == (
        'www is a broken zstd archive: zstd decompressor error: Frame requires too much memory '
        'for decoding'
    )
