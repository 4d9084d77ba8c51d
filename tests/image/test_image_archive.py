from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import random
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from mirage_hooks import image
from mirage_hooks.image import Image, Packed
from mirage_hooks.image.device import Device
from mirage_hooks.messages.errors import Refused, Unavailable
from tests import elf

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 1 << 20
SCRIPT = b'#!/bin/sh\nexec sleep 1000\n'
PACK: dict[str, Callable[[bytes], bytes]] = {
    '': bytes,
    'bzip2': bz2.compress,
    'gzip': gzip.compress,
    'xz': lzma.compress,
    'zstd': zstd.compress,
}
ARCHIVES = sorted(set(PACK) - {''})
every_archive = pytest.mark.parametrize('compression', ARCHIVES)


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / 'image'


@pytest.fixture
def unpack(destination: Path) -> Callable[..., Packed]:
    def unpack(content: bytes, limit: int = LIMIT) -> Packed:
        return image.unpack(io.BytesIO(content), destination, name='www', limit=limit)

    return unpack


def refusal(act: Callable[..., object], *arguments: object, **options: object) -> str:
    with pytest.raises(Refused) as refused:
        act(*arguments, **options)
    return str(refused.value)


def next_to(destination: Path) -> list[str]:
    return [path.name for path in destination.parent.iterdir()]


@pytest.mark.parametrize('compression', PACK)
def test_an_image_is_unpacked_whatever_it_is_packed_with(compression, unpack, destination):
    content = random.Random(1).randbytes(300_000) + bytes(300_000)
    expected = Packed(hashlib.sha256(content).hexdigest(), len(content), compression)
    assert unpack(PACK[compression](content)) == expected
    assert destination.read_bytes() == content
    assert destination.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize('compression', PACK)
def test_a_stream_may_come_byte_by_byte(compression, destination):
    class Pipe(io.BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            return super().read(1)

    image.unpack(Pipe(PACK[compression](SCRIPT)), destination, name='www', limit=LIMIT)
    assert destination.read_bytes() == SCRIPT


@every_archive
def test_an_archive_may_have_several_members(compression, unpack, destination):
    pack = PACK[compression]
    unpack(pack(b'one ') + pack(b'') + pack(b'two') * 3)
    assert destination.read_bytes() == b'one twotwotwo'


def test_an_older_image_is_replaced(unpack, destination):
    destination.write_bytes(b'older and longer' * 10)
    unpack(SCRIPT)
    assert destination.read_bytes() == SCRIPT


def test_what_a_killed_run_left_is_overwritten(unpack, destination):
    destination.with_name('image.part').write_bytes(b'half an image' * 100)
    unpack(SCRIPT)
    assert destination.read_bytes() == SCRIPT
    assert next_to(destination) == ['image']


def test_an_empty_file_is_refused_by_name(unpack, destination):
    assert refusal(unpack, b'') == 'www is empty'
    assert next_to(destination) == []


def test_an_lfs_pointer_is_refused_by_name(unpack, destination):
    pointer = b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n'
    assert refusal(unpack, pointer) == 'www is a Git LFS pointer, not the image itself'
    assert next_to(destination) == []


@every_archive
def test_an_archive_truncated_anywhere_is_refused_by_name(compression, unpack, destination):
    archive = PACK[compression](SCRIPT)
    said = {refusal(unpack, archive[:end]) for end in range(6, len(archive))}
    assert said == {f'www is a truncated {compression} archive'}
    assert next_to(destination) == []


@pytest.mark.parametrize(
    ('compression', 'at', 'reason'),
    [
        ('bzip2', 10, 'Invalid data stream'),
        ('gzip', -8, 'Error -3 while decompressing data: incorrect data check'),
        ('xz', 8, 'Corrupt input data'),
        ('zstd', -1, "Unable to decompress Zstandard data: Restored data doesn't match checksum"),
    ],
)
def test_a_broken_archive_is_refused_by_name(compression, at, reason, unpack, destination):
    checksum = {zstd.CompressionParameter.checksum_flag: 1}
    pack = PACK | {'zstd': lambda content: zstd.compress(content, options=checksum)}
    archive = bytearray(pack[compression](SCRIPT))
    archive[at] ^= 0xFF
    assert refusal(unpack, bytes(archive)) == f'www is a broken {compression} archive: {reason}'
    assert next_to(destination) == []


@every_archive
@pytest.mark.parametrize('garbage', [b'\0', b'trailing', b'\n' * 100_000])
def test_anything_after_an_archive_is_refused(compression, garbage, unpack, destination):
    said = refusal(unpack, PACK[compression](SCRIPT) + garbage)
    assert said == f'www goes on after the end of its {compression} archive'
    assert next_to(destination) == []


@pytest.mark.parametrize(
    ('nested', 'said'),
    [
        (bz2.compress(lzma.compress(SCRIPT)), 'an xz archive inside a bzip2 archive'),
        (lzma.compress(gzip.compress(SCRIPT)), 'a gzip archive inside an xz archive'),
        (bz2.compress(b'\x1f') + bz2.compress(b'\x8b'), 'a gzip archive inside a bzip2 archive'),
    ],
)
def test_an_archive_inside_an_archive_is_refused(nested, said, unpack, destination):
    assert refusal(unpack, nested) == f'www is {said}'
    assert next_to(destination) == []


@every_archive
def test_an_archive_of_nothing_is_refused(compression, unpack):
    article = 'an' if compression == 'xz' else 'a'
    said = f'www is {article} {compression} archive of nothing'
    assert refusal(unpack, PACK[compression](b'') * 2) == said


def test_a_file_at_the_limit_passes_and_one_byte_more_does_not(unpack, destination):
    assert unpack(bytes(1000), limit=1000).size == 1000
    destination.unlink()
    assert refusal(unpack, bytes(1001), limit=1000) == 'www has more than 1000 bytes'
    assert next_to(destination) == []


@every_archive
def test_a_bomb_stops_at_the_limit_in_little_memory(compression, unpack, destination):
    bomb = PACK[compression](bytes(64 << 20))
    tracemalloc.start()
    said = refusal(unpack, bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said == 'www unpacks to more than 1 MB'
    assert peak < 12 << 20  # xz's dictionary has 8
    assert next_to(destination) == []


def test_an_xz_archive_that_asks_for_gigabytes_is_refused(unpack):
    archive = bytearray(lzma.compress(SCRIPT))
    assert archive[12:16] == b'\x02\x00\x21\x01'  # a block of LZMA2; its dictionary's size is next
    archive[16] = 40  # 4 GiB
    archive[20:24] = zlib.crc32(archive[12:20]).to_bytes(4, 'little')
    said = refusal(unpack, bytes(archive))
    assert said == 'www is a broken xz archive: Memory usage limit exceeded'


def test_a_zstd_archive_that_asks_for_gigabytes_is_refused(unpack):
    # Magic; neither checksum nor size, a window of 2 GiB; one last raw block of one byte.
    archive = b'\x28\xb5\x2f\xfd' + bytes((0x00, 21 << 3)) + b'\x09\x00\x00x'
    assert refusal(unpack, archive) == (
        'www is a broken zstd archive: Unable to decompress Zstandard data: '
        'Frame requires too much memory for decoding'
    )


def test_a_stream_that_is_interrupted_leaves_no_file(destination):
    class Interrupted(io.BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            if self.tell() > 100_000:
                assert next_to(destination) == ['image.part']
                raise KeyboardInterrupt
            return super().read(count)

    with pytest.raises(KeyboardInterrupt):
        image.unpack(Interrupted(bytes(LIMIT)), destination, name='www', limit=LIMIT)
    assert next_to(destination) == []


def test_a_folder_that_is_missing_is_worth_a_retry(tmp_path):
    destination = tmp_path / 'missing' / 'image'
    with pytest.raises(Unavailable) as unavailable:
        image.unpack(io.BytesIO(SCRIPT), destination, name='www', limit=LIMIT)
    assert str(unavailable.value) == f'cannot write {destination}: No such file or directory'


def test_a_full_disk_is_worth_a_retry(unpack, destination):
    destination.with_name('image.part').symlink_to('/dev/full')
    with pytest.raises(Unavailable) as unavailable:
        unpack(SCRIPT)
    assert str(unavailable.value) == f'cannot write {destination}: No space left on device'
    assert next_to(destination) == []


# Unpacked and identified


def test_an_image_is_taken_with_all_that_it_says(destination):
    content = elf.solo5(2, elf.entry(b'service', elf.NET))
    stream = io.BytesIO(bz2.compress(content))
    taken = image.take(stream, destination, name='www.bz2', limit=LIMIT)
    assert taken == Image(
        digest=hashlib.sha256(content).hexdigest(),
        size=len(content),
        target='spt',
        compression='bzip2',
        abi=2,
        devices=(Device('service', 'net'),),
    )
    assert msgspec.json.decode(msgspec.json.encode(taken), type=Image) == taken
    assert destination.read_bytes() == content


def test_what_is_no_image_leaves_no_file(destination):
    said = refusal(image.take, io.BytesIO(b'text'), destination, name='a/www', limit=LIMIT)
    assert said == 'a/www is not an image: it is neither an ELF file nor a script'
    assert next_to(destination) == []


def test_json_leaves_out_what_an_image_does_not_say():
    plain = Image(digest='00', size=5, target='unix')
    assert msgspec.json.encode(plain) == b'{"digest":"00","size":5,"target":"unix"}'


SERVICE, DISK = Device('service', 'net'), Device('disk', 'block')


@pytest.mark.parametrize(
    ('size', 'target', 'abi', 'style', 'devices', 'said'),
    [
        (5_960_000, 'spt', 2, '', (SERVICE,), 'spt (Solo5 ABI 2), 6.0 MB, network service'),
        (96_200, 'hvt', 1, '', (), 'hvt (Solo5 ABI 1), 96.2 kB, no devices'),
        (10**9, 'xen', None, 'pv', None, 'xen pv, 1.0 GB'),
        (27, 'unix', None, '', None, 'unix, 27 bytes'),
        (
            10**6,
            'xen',
            1,
            'pvh',
            (SERVICE, DISK),
            'xen pvh (Solo5 ABI 1), 1.0 MB, network service, block device disk',
        ),
        (10**6, 'muen', 4, '', (DISK,) * 5, 'muen (Solo5 ABI 4), 1.0 MB, 5 devices'),
    ],
)
def test_an_image_is_described_in_a_line(size, target, abi, style, devices, said):
    taken = Image('', size, target, abi=abi, style=style, devices=devices)
    assert image.describe(taken) == said
