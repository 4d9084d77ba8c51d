"""Unpacks an image as a stream: bounded in memory and size, whole or not there at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from ..messages import progress
from ..messages.errors import Refused, Unavailable
from . import formats

# An archive of a million empty members costs one copy of the waiting input for each: feed little.
INPUT = 8 << 10
OUTPUT = 64 << 10
LFS_POINTER = b'version https://git-lfs'


class Packed(msgspec.Struct, frozen=True):
    """What was unpacked: sha256 in hex and size in bytes of the raw image; its packing or ''."""

    digest: str
    size: int
    compression: str


def unpack(stream: BinaryIO, destination: Path, *, name: str, limit: int) -> Packed:
    """Write the raw bytes of `stream` to `destination`, mode 0755; `name` is for messages.

    Raises Refused for what is no image's bytes (empty, an LFS pointer, a broken, truncated or
    nested archive, anything after an archive, more than `limit` bytes), Unavailable when
    `destination` cannot be written. `destination` appears whole or not at all.
    """
    head = _read(stream, max(formats.LONGEST_MAGIC, len(LFS_POINTER)))
    _refuse_what_holds_no_image(head, name)
    compression = formats.of(head)
    digest, size = hashlib.sha256(), 0
    act = 'unpacking' if compression else 'reading'
    with progress.doing(f'{act} {name}') as work, _whole(destination) as write:
        for chunk in _raw(stream, head, compression, name):
            size += len(chunk)
            if size > limit:
                raise _too_large(name, compression, limit)
            digest.update(chunk)
            write(chunk)
            work.bytes(size)
    return Packed(digest.hexdigest(), size, compression)


def _too_large(name: str, compression: str, limit: int) -> Refused:
    amount = f'{limit >> 20} MB' if limit >> 20 else f'{limit} bytes'
    return Refused(
        f'{name} {"unpacks to" if compression else "has"} more than {amount}',
        hint='raise `unpacked_limit` in mirage.yml if this is a real image',
    )


def _refuse_what_holds_no_image(head: bytes, name: str) -> None:
    if not head:
        raise Refused(f'{name} is empty', hint='build and publish the image again')
    if head.startswith(LFS_POINTER):
        raise Refused(
            f'{name} is a Git LFS pointer, not the image itself',
            hint='take the path out of LFS in .gitattributes and commit the image again',
        )


def _raw(stream: BinaryIO, head: bytes, compression: str, name: str) -> Iterator[bytes]:
    if not compression:
        yield head
        yield from iter(lambda: stream.read(OUTPUT), b'')
        return
    start = b''
    for chunk in _members(stream, head, compression, name):
        if len(start) < formats.LONGEST_MAGIC:
            start = (start + chunk)[: formats.LONGEST_MAGIC]
            if nested := formats.of(start):
                raise Refused(f'{name} is {_a(nested)} archive inside {_a(compression)} archive')
        yield chunk
    if not start:
        raise Refused(f'{name} is {_a(compression)} archive of nothing')


def _members(stream: BinaryIO, data: bytes, compression: str, name: str) -> Iterator[bytes]:
    """The bytes of every member in turn: `cat a.gz b.gz` and pbzip2's output are archives too."""
    while data:
        if len(data) < formats.LONGEST_MAGIC:
            data += _read(stream, formats.LONGEST_MAGIC - len(data))
        if not data.startswith(formats.MAGIC[compression]):
            raise Refused(f'{name} goes on after the end of its {compression} archive')
        member = formats.decompressor(compression)
        while not member.eof:
            if member.needs_input and not data:
                data = stream.read(INPUT)
                if not data:
                    raise Refused(f'{name} is a truncated {compression} archive')
            yield _decompress(member, data, compression, name)
            data = b''
        data = member.unused_data or stream.read(INPUT)


def _decompress(member: formats.Decompressor, data: bytes, compression: str, name: str) -> bytes:
    try:
        return member.decompress(data, OUTPUT)
    except Exception as error:
        # Four libraries, as many sorts: OSError, LZMAError, zlib.error, ZstdError, MemoryError.
        reason = str(error) or type(error).__name__
        raise Refused(f'{name} is a broken {compression} archive: {reason}') from error


def _read(stream: BinaryIO, count: int) -> bytes:
    """`count` bytes, or fewer at the end of the stream: a pipe may give them in pieces."""
    read = b''
    while len(read) < count and (piece := stream.read(count - len(read))):
        read += piece
    return read


@contextmanager
def _whole(destination: Path) -> Iterator[Callable[[bytes], None]]:
    part = destination.with_name(f'{destination.name}.part')

    def write(chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:  # unbuffered, a nearly full disk takes a part
            with _writable(destination):
                rest = rest[file.write(rest) :]

    try:
        with _writable(destination):
            file = part.open('wb', buffering=0)
        with file:
            yield write
        with _writable(destination):
            part.chmod(0o755)
            part.replace(destination)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _writable(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f'cannot write {destination}: {error.strerror}') from error


def _a(compression: str) -> str:
    return f'an {compression}' if compression == 'xz' else f'a {compression}'
