"""What lies in a commit: its tree, never the work tree. All of it is hostile until parsed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from .. import config
from ..messages import errors
from . import discovery, objects, tree
from .asked import Asked
from .catfile import SMALL
from .objects import bounded
from .tree import Entry

PUBLISHED = 1000  # files that are looked at for what a commit publishes


class Reading(Asked):
    """The files of a repository's commits."""

    def __init__(self, path: Path, find: Callable[[], discovery.Place] | None = None) -> None:
        super().__init__(path, find)
        # A hundred unikernels lie in a few folders.
        self._trees: dict[tuple[str, str], list[Entry]] = {}

    @bounded
    def find(
        self, commit: str, unikernel: str, wanted: config.Unikernel, limit: int | None = None
    ) -> tree.Found:
        """The blob that `wanted.image` means in `commit`; raises Refused, naming what is wrong, and
        for a file of more than `limit` bytes."""
        entry = self._wanted(commit, unikernel, wanted)
        head = self._head(entry)  # what is too long for a pointer is told as such
        if head.startswith(tree.MAGIC):
            return tree.Found(commit, entry.path, entry.oid, read=(tree.line(entry),))
        found, image = self._pointed(commit, unikernel, wanted, entry, head)
        self._require_content(image, limit)
        return found

    @bounded
    def named(self, commit: str, unikernel: str, wanted: config.Unikernel) -> tree.Found:
        """As `find`, but no image is looked into: a partial clone need not fetch it."""
        entry = self._wanted(commit, unikernel, wanted)
        if tree.marked(entry) or (head := self._head(entry)).startswith(tree.MAGIC):
            return tree.Found(commit, entry.path, entry.oid, read=(tree.line(entry),))
        return self._pointed(commit, unikernel, wanted, entry, head)[0]

    def _wanted(self, commit: str, unikernel: str, wanted: config.Unikernel) -> Entry:
        return self._entry(commit, tree.inside(wanted.image, f'{unikernel}.image'))

    def _pointed(
        self, commit: str, unikernel: str, wanted: config.Unikernel, entry: Entry, head: bytes
    ) -> tuple[tree.Found, Entry]:
        """What the pointer file `entry`, which begins with `head`, leads to."""
        folder = tree.pointed(entry, head)
        target = self._entry(commit, folder, pointer=entry.path)
        read = (tree.line(entry), tree.line(target))
        if target.kind == 'blob':
            return tree.Found(commit, folder, target.oid, read), target
        image, notice = tree.choose(
            self._listed(target.oid, f'{folder}/', commit), folder, unikernel, wanted.target
        )
        return tree.Found(commit, image.path, image.oid, read, notice), image

    @bounded
    def disks(self, found: tree.Found) -> list[str]:
        """The disk images that lie in one folder with the image at `found`."""
        folder = str(PurePosixPath(found.path).parent)
        return [entry.path for above in self._at(found.commit, folder) if above.kind == 'tree'
                for entry in self._listed(above.oid, f'{folder}/', found.commit)
                if entry.kind == 'blob' and tree.parts(entry)[1] == 'img']

    @bounded
    def open(self, oid: str, limit: int | None = None, name: str = '') -> BinaryIO:
        """The bytes of blob `oid`, called `name`, as a stream; raises Refused when they are more
        than `limit`. In a partial clone git fetches it now."""
        return self._files.open(oid, limit, name or f'object {oid[:12]}')

    def files(self, commit: str) -> dict[str, str]:
        """Every plain file of `commit`: path and object."""
        return {entry.path: entry.oid for entry in self._everything(commit)
                if entry.mode in ('100644', '100755')}

    def images(self, commit: str) -> list[tuple[str, str]]:
        """What `commit` seems to publish: (pointer file or image, name of the unikernel)."""
        blobs = [entry for entry in self._everything(commit) if entry.kind == 'blob']
        pointers = [entry.path for entry in blobs if Path(entry.path).name == 'latest']
        plain = [entry.path for entry in blobs if tree.parts(entry)[1] in tree.KERNELS]
        found = {path: self._published(commit, path) for path in (pointers or plain)[:PUBLISHED]}
        return [(path, name) for path, name in found.items() if name]

    def _published(self, commit: str, path: str) -> str:
        """The name of the unikernel whose image `path` means, '' when it means none."""
        try:
            image = self.find(commit, '-', config.Unikernel(image=path)).path
        except errors.Refused:
            return ''
        stem = tree.parts(Entry('100755', 'blob', '', image))[0].removeprefix('mir-')
        return stem if re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9._-]{0,39}', stem) else ''

    def _everything(self, commit: str) -> list[Entry]:
        raw = self._objects.output('ls-tree', '-r', '-z', '--full-tree', commit, what=_what(commit))
        return [tree.parsed(line) for line in raw.split(b'\0') if line]

    def _entry(self, commit: str, path: str, pointer: str = '') -> Entry:
        return tree.named(self._at(commit, path), commit, path, pointer)

    def _at(self, commit: str, path: str) -> list[Entry]:
        """What `commit` has at `path`: one entry, or none."""
        found = [Entry('040000', 'tree', f'{commit}^{{tree}}', '')]
        for part in path.split('/'):
            if not found or found[0].kind != 'tree':
                return []
            above = f'{found[0].path}/'.lstrip('/')
            found = [one for one in self._listed(found[0].oid, above, commit)
                     if one.path == f'{above}{part}'][:1]
        return found

    def _listed(self, oid: str, above: str, commit: str) -> list[Entry]:
        """The entries of the tree `oid`, which lies at `above` in `commit`."""
        if found := self._trees.get((oid, above)):
            return found
        raw = self._files.whole(oid, 'tree', objects.OUTPUT, _what(commit))
        found = tree.entries(raw, above)
        if len(raw) <= SMALL:
            self._trees[oid, above] = found
        return found

    def _head(self, entry: Entry) -> bytes:
        """The first bytes of a file that may be an image or a pointer."""
        head = b''
        if entry.kind == 'blob':
            with self.open(entry.oid, None, entry.path) as stream:
                head = stream.read(tree.POINTER_LIMIT + 1)
        tree.check(entry, head)
        return head

    def _require_content(self, entry: Entry, limit: int | None) -> None:
        """Raise Refused unless the file may be an image, of at most `limit` bytes. What is larger
        than any stand-in for one is not read for that."""
        if (content := self._files.small(entry.oid, limit, entry.path)) is not None:
            tree.check(entry, content)


def _what(commit: str) -> str:
    return f'the list of files in commit {commit[:12]}'
