"""Where things lie in a deployment repository; the original's layout unless told otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

import msgspec

from .. import errors

ORIGINAL = '{target}/{commit}'
POINTER = 'latest'
# Holds the newest image a second time, at a path that stays the same. git deltas what it sends
# only against a blob of the same path, and takes a blob's first path in the tree: `.` sorts
# before every commit. It costs one line of a tree and makes a pull 5 KB instead of 5 MB.
STABLE = '.latest'
# What a release folder is called: a commit, or the first digits of one.
COMMIT = r'[0-9a-f]{7,64}'
EXTENSIONS = {'unix': '', 'xen': '.xen', 'hvt': '.hvt', 'spt': '.spt', 'virtio': '.virtio'}
PACKED = {'': '', 'bzip2': '.bz2', 'gzip': '.gz'}


class Place(msgspec.Struct, frozen=True):
    """The paths of one release; `pointer` is '' for a layout without commit, `stable` when there
    is no use for it."""

    image: str
    config: str
    description: str
    pointer: str = ''
    stable: str = ''

    @property
    def folder(self) -> str:
        return str(PurePosixPath(self.image).parent)


def place(
    template: str, *, target: str, commit: str, name: str, branch: str, compress: str
) -> Place:
    """The paths that `template` means; raises Refused when it leads out of the repository or the
    host would not follow it."""
    words = {'target': target, 'commit': commit, 'name': name, 'branch': branch}
    try:
        folder = template.strip('/').format_map(words)
    except (KeyError, ValueError, IndexError, AttributeError):
        raise errors.Refused(
            f'--layout {template!r} is not a folder of {{target}}, {{commit}}, {{name}}, {{branch}}'
        ) from None
    plain = re.fullmatch(r'[A-Za-z0-9._/+-]+', folder)
    if not plain or any(part in ('', '.', '..', '.git') for part in folder.split('/')):
        raise errors.Refused(
            f'--layout {template!r} gives {folder!r}, which is not a plain path in the repository'
        )
    image = f'{folder}/{name}{EXTENSIONS[target]}{PACKED[compress]}'
    parent, _, last = f'./{folder}'.rpartition('/')
    parent = parent[2:]
    pointed = last == commit
    return Place(
        image=image,
        config=f'{folder}/config.ml',
        description=f'{folder}/{name}.json',
        pointer=_join(parent, POINTER) if pointed else '',
        stable=_join(parent, f'{STABLE}/{name}{EXTENSIONS[target]}')
        if pointed and not compress else '',
    )


def shelves(paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every folder that holds a pointer, with the release folders beside it."""
    known = set(paths)
    folders = {str(PurePosixPath(path).parent) for path in known if PurePosixPath(path).parts[1:]}
    found = {}
    for pointer in sorted(known):
        if PurePosixPath(pointer).name == POINTER:
            parent = str(PurePosixPath(pointer).parent)
            found[parent] = tuple(sorted(
                folder for folder in folders
                if str(PurePosixPath(folder).parent) == parent
                and re.fullmatch(COMMIT, PurePosixPath(folder).name)
            ))
    return found


def _join(parent: str, name: str) -> str:
    return f'{parent}/{name}' if parent else name
