"""The entries of a tree as data: which of them is the image, by pointers, names and extensions.

All of it is hostile until looked at here."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Literal

import msgspec

from ..messages import errors

POINTER_LIMIT = 4096  # bytes; the original's pointers have 41
LFS = b'version https://git-lfs.github.com/spec/'
PACKED = ('bz2', 'gz', 'xz', 'zst')
KERNELS = ('xen', 'hvt', 'spt', 'virtio', 'ukvm', 'muen', 'genode', 'qubes', 'exe')
# What an unpacked or packed image begins with: ELF, a script, bzip2, gzip, xz, zstd.
MAGIC = (b'\x7fELF', b'#!', b'BZh', b'\x1f\x8b', b'\xfd7zXZ\x00', b'\x28\xb5\x2f\xfd')


# In git's own bytes: a mode in octal, a name, twenty bytes of a name of an object.
_ENTRY = re.compile(rb'([0-7]{1,7}) ([^\0]+)\0(.{20})', re.S)


class Found(msgspec.Struct, frozen=True):
    """Where the wanted image is in a commit's tree; `read` are the tree entries that say so."""

    commit: str
    path: str
    blob: str
    read: tuple[str, ...]
    notice: str = ''


class Entry(msgspec.Struct, frozen=True):
    """One line of a tree."""

    mode: str
    kind: Literal['blob', 'tree', 'commit']
    oid: str
    path: str


def parsed(line: bytes) -> Entry:
    """A line of `git ls-tree -z`."""
    facts, _, path = line.partition(b'\t')
    mode, kind, oid = facts.decode().split(' ')
    # What is not UTF-8 is written out: surrogates could be neither printed nor kept.
    return Entry(mode, kind, oid, path.decode(errors='backslashreplace'))  # type: ignore[arg-type]


def entries(raw: bytes, above: str) -> list[Entry]:
    """What git's own bytes `raw` of a tree hold, which lies at `above` (as `xen/`); raises
    Unavailable when they are damaged."""
    found, end = [], 0
    for one in _ENTRY.finditer(raw):
        mode, name, oid = one.groups()
        path = above + name.decode(errors='backslashreplace')
        found.append(Entry(*_kind(int(mode, 8)), oid.hex(), path))
        end += len(one[0])
    if end != len(raw):
        raise errors.Unavailable(f'git holds a damaged tree at {above or "the top"}',
                                 hint='`git fsck` checks a repository')
    return found


def _kind(mode: int) -> tuple[str, Literal['blob', 'tree', 'commit']]:
    """A mode as `git ls-tree` writes it: of a file's it knows two."""
    if stat.S_ISREG(mode):
        return '100755' if mode & stat.S_IXUSR else '100644', 'blob'
    if stat.S_ISLNK(mode):
        return '120000', 'blob'
    return ('040000', 'tree') if stat.S_ISDIR(mode) else ('160000', 'commit')


def line(entry: Entry) -> str:
    """The line again, as it stands in Found.read."""
    return f'{entry.mode} {entry.kind} {entry.oid}\t{entry.path}'


def named(entries: list[Entry], commit: str, path: str, pointer: str = '') -> Entry:
    """The one of `entries` at `path`, which the file `pointer` may have named; raises Refused when
    `commit` has none, or none that can be read."""
    for entry in entries:
        if entry.path == path:
            return _readable(entry)
    if pointer:
        shown = path if len(path) <= 200 else f'{path[:200]}…'
        raise errors.Refused(
            f'{pointer} points to {shown}, which commit {commit[:12]} does not have',
            hint='publish again: pointer and image belong into one commit',
        )
    raise errors.Refused(
        f'commit {commit[:12]} has no {path}', hint='publish an image, or fix `image:`'
    )


def check(entry: Entry, head: bytes) -> None:
    """Raise Refused unless `entry`, which begins with `head`, is a file of some content of its
    own."""
    if entry.kind != 'blob':
        raise errors.Refused(
            f'{entry.path} is a folder', hint='name the pointer file or the image in it'
        )
    if not head:
        raise errors.Refused(f'{entry.path} is empty', hint='publish the image again')
    if head.startswith(LFS):
        raise errors.Refused(
            f'{entry.path} is a Git LFS pointer, not an image',
            hint='commit the image itself: git keeps it small by deltas',
        )


def pointed(entry: Entry, head: bytes) -> str:
    """The path that a pointer file's text means."""
    where = f'{entry.path} is neither an image nor a pointer'
    if len(head) > POINTER_LIMIT:
        raise errors.Refused(f'{where}: longer than {POINTER_LIMIT} bytes')
    try:
        text = head.decode('ascii')
    except UnicodeDecodeError:
        raise errors.Refused(f'{where}: not plain text') from None
    lines = text.split('\n')
    if lines[-1] == '':
        lines.pop()
    if len(lines) != 1:
        raise errors.Refused(f'{where}: {len(lines)} lines, one wanted')
    if not lines[0].strip():
        raise errors.Refused(f'{where}: it is blank')
    if not re.fullmatch(r'[A-Za-z0-9._/+-]+', lines[0]):
        raise errors.Refused(f'{where}: {lines[0][:60]!r} is not a plain path')
    path = inside(lines[0], entry.path)
    return os.path.join(os.path.dirname(entry.path), path)  # noqa: PTH118, PTH120


def called(path: str, unikernel: str) -> bool:
    """Whether the file at `path` is named after `unikernel`."""
    stem = parts(Entry('100755', 'blob', '', path))[0]
    return spelled(stem) == spelled(unikernel)


def marked(entry: Entry) -> bool:
    """Whether a file looks like an image without a look into it: executable, or called so."""
    plain = entry.kind == 'blob' and entry.mode != '120000'
    return plain and (entry.mode == '100755' or parts(entry)[1] in KERNELS)


def choose(
    entries: list[Entry], folder: str, unikernel: str, target: str | None
) -> tuple[Entry, str]:
    """The one image in a release folder: by the unikernel's name, else by its extension, else the
    only executable file; and what a person should know about the choice."""
    blobs = [entry for entry in entries if entry.kind == 'blob']
    kernels = [entry for entry in blobs if parts(entry)[1] in KERNELS]
    rows = (
        [entry for entry in blobs if called(entry.path, unikernel)
         and (parts(entry)[1] in KERNELS or not parts(entry)[1])],
        kernels,
        [entry for entry in blobs if entry.mode == '100755' and not parts(entry)[1]],
    )
    for index, row in enumerate(rows):
        chosen = [e for e in row if parts(e)[1] == target] or row if target else row
        if len(chosen) == 1:
            entry = _readable(chosen[0])
            renamed = f'{folder} holds no image named {unikernel}; took {entry.path}'
            return entry, '' if index == 0 else renamed
        if chosen:
            raise errors.Refused(
                f'{folder} holds {len(chosen)} images: {_names(chosen)}',
                hint='name one with `image:`, or set `target:`, in mirage.yml',
            )
    raise errors.Refused(
        f'{folder} holds no image, only {_names(entries) or "nothing"}',
        hint='publish again; older releases may have been removed from the repository',
    )


def _names(entries: list[Entry], most: int = 10) -> str:
    """The files' names as a list to read: a hostile folder may have millions, of any length."""
    names = sorted(Path(entry.path).name for entry in entries)
    shown = ', '.join(name if len(name) <= 80 else f'{name[:80]}…' for name in names[:most])
    return shown if len(names) <= most else f'{shown} and {len(names) - most} more'


def parts(entry: Entry) -> tuple[str, str]:
    """(`mir-mort.io`, `xen`) of `mir-mort.io.xen.bz2`."""
    stem, dot, last = Path(entry.path).name.rpartition('.')
    if dot and last in PACKED:
        stem, dot, last = stem.rpartition('.')
        if not dot:
            return last, ''
    if dot and last in KERNELS:
        return stem, last
    known = re.fullmatch(r'ml|md|txt|json|ya?ml|img|html|sha256|sig|asc|opam|lock|log|sh|in', last)
    return (stem, last) if dot and known else (f'{stem}{dot}{last}', '')


def spelled(name: str) -> str:
    """A name as MirageOS's own tools would spell it: no dots, no dashes, no `mir-`."""
    return re.sub(r'[._-]', '', name.removeprefix('mir-')).lower()


def inside(path: str, said_by: str) -> str:
    """`path` when it stays inside the tree; raises Refused otherwise."""
    parts = path.rstrip('/').split('/')
    if path.startswith('/') or any(part in ('', '.', '..') for part in parts) or '\0' in path:
        raise errors.Refused(
            f'{said_by} says {path[:60]!r}, which is not a path inside the repository'
        )
    return '/'.join(parts)


def _readable(entry: Entry) -> Entry:
    kinds = {'120000': 'a symbolic link', '160000': 'a submodule'}
    if entry.mode in kinds:
        raise errors.Refused(
            f'{entry.path} is {kinds[entry.mode]}', hint='commit a plain file in its place'
        )
    return entry
