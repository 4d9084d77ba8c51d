"""Where things lie in a deployment repository; the original's layout unless told otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

import msgspec

from ..config import fields
from ..git import tree
from ..messages import errors

ORIGINAL = '{target}/{commit}'
POINTER = 'latest'
# Holds the newest image a second time, at a path that stays the same. git deltas what it sends
# only against a blob of the same path, and takes a blob's first path in the tree: `.` sorts
# before every commit. It costs one line of a tree and makes a pull 5 KB instead of 5 MB.
STABLE = '.latest'
# What a release folder is called: a commit, or the first digits of one.
COMMIT = r'[0-9a-f]{7,64}'
PACKED = {'': '', 'bzip2': '.bz2', 'gzip': '.gz'}


class Place(msgspec.Struct, frozen=True):
    """The paths of one release; `pointer` is '' for a layout without commit, `stable` when there
    is no use for it. `others` would be taken for the same image, packed in another way."""

    image: str
    config: str
    description: str
    pointer: str = ''
    stable: str = ''
    others: tuple[str, ...] = ()

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
    if not plain or any(part.lower() in ('', '.', '..', '.git') for part in folder.split('/')):
        raise errors.Refused(
            f'--layout {template!r} gives {folder!r}, which is not a plain path in the repository'
        )
    file = f'{name}{fields.EXTENSIONS[target]}'
    if tree.parts(tree.Entry('100755', 'blob', '', file)) != (name, fields.EXTENSIONS[target][1:]):
        raise errors.Refused(
            f'a host would not take {file} for the image of {name!r}', hint='--name: another one'
        )
    parent, _, last = f'./{folder}'.rpartition('/')
    parent = parent[2:]
    pointed = last == commit
    stable = _join(parent, f'{STABLE}/{file}') if pointed else ''
    return Place(
        image=f'{folder}/{file}{PACKED[compress]}',
        config=f'{folder}/config.ml',
        description=f'{folder}/{name}.json',
        pointer=_join(parent, POINTER) if pointed else '',
        stable=stable if not compress else '',
        others=(*(f'{folder}/{file}{packed}' for kind, packed in PACKED.items()
                  if kind != compress), *((stable,) if compress and stable else ())),
    )


def require_room(files: Iterable[str], fresh: Iterable[str]) -> None:
    """Raise Refused when one of `fresh` would stand where `files` has a folder, or below a file:
    git would drop what is there without a word."""
    known = set(files)
    folders = {str(parent) for path in known for parent in PurePosixPath(path).parents}
    for path in fresh:
        above = next((str(up) for up in PurePosixPath(path).parents if str(up) in known), '')
        if above or path in folders:
            raise errors.Refused(
                f'{above or path} is there already, and is a {"file" if above else "folder"}',
                hint='--layout or --name: another one',
            )


def names(files: Iterable[str], folder: str) -> dict[str, tuple[str, ...]]:
    """What `publish` put into `folder`: the files of each unikernel, by its name."""
    known = set(files)
    described = [path for path in known if path.endswith('.json')
                 and str(PurePosixPath(path).parent) == folder]
    kinds = fields.EXTENSIONS.values()
    ways = (*(f'{kind}{packed}' for kind in kinds for packed in PACKED.values()), '.json')
    return {
        PurePosixPath(path).stem: tuple(
            each for way in ways if (each := f'{path.removesuffix(".json")}{way}') in known)
        for path in sorted(described)
    }


def shelves(paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Every folder that holds a pointer, with the release folders next to it."""
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
