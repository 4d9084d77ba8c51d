"""The archive formats that an image may be packed with, known by their first bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol

# What `xz -9` (65 MiB) needs, with room to spare; an archive may ask for gigabytes. zstd's own
# limit is 128 MiB.
XZ_MEMORY = 128 << 20
ZSTD_WINDOW = 128 << 20

MAGIC = {
    'bzip2': b'BZh',
    'gzip': b'\x1f\x8b',
    'xz': b'\xfd7zXZ\x00',
    'zstd': b'\x28\xb5\x2f\xfd',
}
LONGEST_MAGIC = max(map(len, MAGIC.values()))


class Decompressor(Protocol):
    """The interface that the decompressors of bz2, lzma and zstd share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def of(head: bytes) -> str:
    """The format of an archive that begins with `head`, '' for anything else."""
    return next((name for name, magic in MAGIC.items() if head.startswith(magic)), '')


def decompressor(compression: str) -> Decompressor:
    """A fresh decompressor for one member."""
    return _FORMATS[compression]()


class _Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        import zlib

        self._zlib = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        raw = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        # A full output may hide more of it inside zlib, with no input left.
        self.needs_input = len(raw) < max_length
        return raw


class Zstandard:
    """Debian's python3-zstandard with the interface of the others."""

    # It bounds no output of its own. A block of 128 KiB takes 4 bytes, so this gives 2 MiB at most.
    FED = 64

    def __init__(self) -> None:
        import zstandard

        self._zstandard = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
        self._input = b''
        self._output = b''

    @property
    def eof(self) -> bool:
        return not self._output and bool(self._zstandard.eof)

    @property
    def needs_input(self) -> bool:
        return not (self._input or self._output)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._zstandard.unused_data) + self._input

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._input += data
        while self._input and not self._output and not self._zstandard.eof:
            piece, self._input = self._input[: self.FED], self._input[self.FED :]
            self._output = self._zstandard.decompress(piece)
        given, self._output = self._output[:max_length], self._output[max_length:]
        return given


def _bzip2() -> Decompressor:
    import bz2

    return bz2.BZ2Decompressor()


def _xz() -> Decompressor:
    import lzma

    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


def _zstd() -> Decompressor:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        try:
            from backports import zstd
        except ImportError:  # Debian has no package of it
            return Zstandard()

    decompressor: Decompressor = zstd.ZstdDecompressor()
    return decompressor


_FORMATS: dict[str, Callable[[], Decompressor]] = {
    'bzip2': _bzip2,
    'gzip': _Gzip,
    'xz': _xz,
    'zstd': _zstd,
}
