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
from typing import BinaryIO, Literal

from mirage_hooks import config, image
from mirage_hooks.config import reading
from mirage_hooks.git import repository, tree
from mirage_hooks.messages.errors import Refused

LIMIT = 1 << 16  # bytes that an archive may unpack to
IMAGE = b'\x7fELF'
OURS = ('mirage_hooks', 'elftools', 'yaml')


class Tree(repository.Repository):
    """A repository in memory of one commit: path to (mode, content)."""

    def __init__(self, files: dict[bytes, tuple[str, bytes]]) -> None:
        self.files = {shown(path): file for path, file in files.items()}

    def _list_tree(self, commit: str, *paths: str) -> list[tree.Entry]:
        found = []
        for wanted in (path for path in paths if path != '--'):
            if any(path.startswith(f'{wanted}/') for path in self.files):
                found.append(tree.Entry('040000', 'tree', '', wanted))
            found += [self._entry_of(path) for path in self.files
                      if path == wanted or (wanted[-1:] == '/' and path.startswith(wanted))]
        return found

    def _entry_of(self, path: str) -> tree.Entry:
        mode, _ = self.files[path]
        kinds: dict[str, Literal['tree', 'commit']] = {'040000': 'tree', '160000': 'commit'}
        number = list(self.files).index(path)
        return tree.Entry(mode, kinds.get(mode, 'blob'), f'{number:040x}', path)

    def open(self, oid: str, limit: int | None = None, name: str = '') -> BinaryIO:
        return io.BytesIO(list(self.files.values())[int(oid, 16)][1])


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
