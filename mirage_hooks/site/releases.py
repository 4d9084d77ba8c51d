"""Which releases of a deployment repository are old, and its tree without them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import msgspec

from . import deployment, layout

TIME = '%Y-%m-%dT%H:%M:%SZ'  # UTC: in this form an earlier time sorts first
SMALL = 64  # files; more pointers than that in one folder are no pointers


class _Description(msgspec.Struct, frozen=True):
    published: str


def beyond(
    clone: deployment.Deployment, files: Mapping[str, deployment.File], keep: int,
    fresh: layout.Place | None = None,
) -> tuple[str, ...]:
    """The release folders in `files` beyond the newest `keep` of each releases; with `fresh`, only
    those on its releases. A folder that a pointer names always stays."""
    shelves = layout.shelves(files)
    if fresh is not None:
        releases = str(PurePosixPath(fresh.folder).parent)
        shelves = {releases: shelves.get(releases, ())}
    crowded = {releases: folders for releases, folders in shelves.items() if len(folders) > keep}
    if not crowded:
        return ()
    held = {folder for releases in crowded for folder in _pointed(clone, files, releases)}
    held |= {fresh.folder} if fresh else set()
    ages = _ages(clone, files, [folder for folders in crowded.values() for folder in folders])
    old: list[str] = []
    for folders in crowded.values():
        newest = sorted(folders, key=lambda folder: (folder in held, ages[folder], folder))
        old += [folder for folder in newest[:-keep] if folder not in held]
    return tuple(sorted(old))


def newest(
    clone: deployment.Deployment, files: Mapping[str, deployment.File], place: layout.Place
) -> str:
    """The folder that the pointer of `place` names, '' when there is none yet."""
    if place.pointer not in files:
        return ''
    named = clone.read(files[place.pointer].oid).decode(errors='replace').strip()
    return str(PurePosixPath(place.pointer).parent / named)


def next_to(
    clone: deployment.Deployment, files: Mapping[str, deployment.File], place: layout.Place,
    name: str,
) -> dict[str, dict[str, deployment.File]]:
    """By name the unikernels that share the pointer of `place` with `name`, and what they need in
    the folder that it is to name: hosts find them all through it."""
    shared = layout.names(files, newest(clone, files, place))
    return {
        other: {f'{place.folder}/{PurePosixPath(path).name}': files[path] for path in paths}
        for other, paths in shared.items() if other != name
    }


def folders(files: Iterable[str]) -> tuple[str, ...]:
    """The release folders of a tree."""
    return tuple(folder for releases in layout.shelves(files).values() for folder in releases)


def without(
    files: Iterable[str], folders: Iterable[str]
) -> dict[str, deployment.File | None]:
    """The changes that take `folders` out of a tree with `files`."""
    gone = set(folders)
    return {path: None for path in files
            if any(str(parent) in gone for parent in PurePosixPath(path).parents)}


def _pointed(
    clone: deployment.Deployment, files: Mapping[str, deployment.File], releases: str
) -> set[str]:
    """The folders that the pointers on `releases` name: `latest`, and others that people made."""
    pointers = [path for path in files if str(PurePosixPath(path).parent) == releases][:SMALL]
    named = set()
    for path in pointers:
        text = clone.read(files[path].oid).decode(errors='replace').strip()
        named.add(f'{releases}/{text}'.removeprefix('./'))
    return named


def _ages(
    clone: deployment.Deployment, files: Mapping[str, deployment.File], folders: list[str]
) -> dict[str, str]:
    """When each of `folders` was published: its description says, else the history does."""
    described = {path: str(PurePosixPath(path).parent) for path in files
                 if path.endswith('.json') and str(PurePosixPath(path).parent) in set(folders)}
    clone.fetch(files[path].oid for path in described)
    ages = dict.fromkeys(folders, '')
    for path, folder in described.items():
        with contextlib.suppress(msgspec.DecodeError):
            said = msgspec.json.decode(clone.read(files[path].oid), type=_Description)
            ages[folder] = max(ages[folder], said.published)
    if not all(ages.values()):
        history = _history(clone)
        ages = {folder: age or history.get(folder, '') for folder, age in ages.items()}
    return ages


def _history(clone: deployment.Deployment) -> dict[str, str]:
    """When each folder last got a file, from the whole history."""
    clone.deepen()
    if not clone.tip:
        return {}
    found: dict[str, str] = {}
    at = ''
    told = clone.log('--diff-filter=AM', '--name-only', '-z', f'--date=format-local:{TIME}',
                     '--format=%x01%cd')
    for word in filter(None, told.replace('\n', '').split('\0')):
        if word.startswith('\x01'):
            at = word[1:]
            continue
        found.setdefault(str(PurePosixPath(word).parent), at)
    return found
