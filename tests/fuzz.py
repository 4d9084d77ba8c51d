"""The readers of hostile bytes under a fuzzer that is guided by coverage; runs until it is stopped
or finds something:

    pip install -e '.[fuzz]' && python -m tests.fuzz image|config|pointer [LIBFUZZER'S OPTIONS]

As `-max_total_time=3600` (seconds), `-jobs=2`, or the file of a crash to try it again."""

from __future__ import annotations

import importlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mirage_hooks import config, image
from mirage_hooks.config import reading
from mirage_hooks.git import repository, tree
from mirage_hooks.messages.errors import Refused, Unavailable

LIMIT = 1 << 16  # bytes that an archive may unpack to
IMAGE = b'\x7fELF'
OURS = ('mirage_hooks', 'elftools', 'yaml')


class Tree(repository.Repository):
    """A repository in memory of one commit: path, of one folder at most, to (mode, content)."""

    def __init__(self, files: dict[bytes, tuple[str, bytes]]) -> None:
        self._trees = {}
        self._files = Memory(files)  # type: ignore[assignment]


class Memory:
    """What `catfile` gives of `files`, with trees as git itself writes them."""

    def __init__(self, files: dict[bytes, tuple[str, bytes]]) -> None:
        self.contents = [content for _, content in files.values()]
        folders: dict[bytes, bytes] = {b'': b''}
        for number, (path, (mode, _)) in enumerate(files.items()):
            folder, _, name = path.rpartition(b'/')
            row = mode.lstrip('0').encode() + b' ' + name + b'\0' + number.to_bytes(20, 'big')
            folders[folder] = folders.get(folder, b'') + row
        self.trees = {f'{"c" * 40}^{{tree}}': folders.pop(b'')}
        for number, (folder, rows) in enumerate(folders.items(), len(files)):
            oid = number.to_bytes(20, 'big')
            self.trees[oid.hex()] = rows
            self.trees[f'{"c" * 40}^{{tree}}'] += b'40000 ' + folder + b'\0' + oid

    def whole(self, name: str, kind: str, most: int, what: str) -> bytes:
        if name not in self.trees:
            raise Unavailable(f'git cannot read object {name[:12]}')
        return self.trees[name]

    def small(self, oid: str, limit: int | None, name: str) -> bytes:
        return self.contents[int(oid, 16)]

    def open(self, oid: str, limit: int | None, name: str) -> BinaryIO:
        return io.BytesIO(self.contents[int(oid, 16)])


def shown(path: bytes) -> str:
    """`path` as our reader of trees gives it."""
    return tree.parsed(b'100644 blob 0\t' + path).path


def pointer(content: bytes) -> None:
    """`content` as a pointer file in a tree with one release."""
    host = Tree({b'xen/latest': ('100644', content), b'xen/a/www.xen': ('100644', IMAGE)})
    try:
        found = host.find('c' * 40, 'www', config.Unikernel(image='xen/latest'))
    except Refused:
        return
    assert found.path == 'xen/a/www.xen' or content.startswith(tree.MAGIC), found


def configuration(content: bytes) -> None:
    """`content` as mirage.yml."""
    try:
        reading.parse(content, 'mirage.yml')
    except Refused:
        return


def bytes_of_an_image(content: bytes) -> None:
    """`content` as an image, packed or not."""
    with tempfile.TemporaryDirectory() as made:
        try:
            image.take(io.BytesIO(content), Path(made, 'image'), name='www', limit=LIMIT)
        except Refused:
            return


TARGETS: dict[str, Callable[[bytes], None]] = {
    'image': bytes_of_an_image, 'config': configuration, 'pointer': pointer,
}


def main() -> None:
    import atheris  # an extra: pip install -e '.[fuzz]'

    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f'usage: python -m tests.fuzz {"|".join(TARGETS)} [OPTIONS]')
    for name in [name for name in sys.modules if name.partition('.')[0] in OURS]:
        del sys.modules[name]  # to be loaded anew, with counters inside
    with atheris.instrument_imports(include=list(OURS)):
        fresh = importlib.import_module('tests.fuzz')
    atheris.Setup([sys.argv[0], *sys.argv[2:]], fresh.TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == '__main__':
    main()
