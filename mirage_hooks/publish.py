"""The CI step that puts an image into the deployment repository: DEPLOY=1 of the original."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import msgspec

from . import __version__, ci, deployment, errors, image, layout, releases, system

LIMIT = 512 << 20  # bytes unpacked; what mirage.yml allows by default
# Every round of a race has a winner: this outlasts some dozens of publishers at once.
ATTEMPTS = 60
LONGEST = 3.0  # seconds between two attempts
TOOLS = (('mirage', '--version'), ('opam', '--version'), ('ocamlc', '-version'))


class Wanted(msgspec.Struct, frozen=True):
    """What is to be published, and how."""

    image: Path
    to: str
    name: str
    source: str
    layout: str = layout.ORIGINAL
    compress: str = ''
    keep: int = 0
    branch: str = ''
    dry_run: bool = False


class Published(msgspec.Struct, frozen=True):
    """What was pushed: `commit` is '' when there was nothing to do or it was a dry run."""

    commit: str
    branch: str
    place: layout.Place
    image: image.Image
    removed: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    same: bool = False


def publish(wanted: Wanted) -> Published:
    """Put the image into the deployment repository; raises Refused for what its host would refuse
    and for what the other side refuses, Unavailable when that is out of reach."""
    with tempfile.TemporaryDirectory() as work, ci.ssh(os.environ) as environment:
        raw = Path(work, 'image')
        identity = _taken(wanted.image, raw)
        clone = deployment.Deployment(
            wanted.to, Path(work, 'deployment.git'), branch=wanted.branch, environment=environment
        )
        place = layout.place(
            wanted.layout, target=identity.target, commit=wanted.source, name=wanted.name,
            branch=clone.branch, compress=wanted.compress,
        )
        blobs = _blobs(wanted, identity, place, raw, clone)
        for attempt in range(ATTEMPTS):
            try:
                return _once(wanted, identity, place, blobs, clone)
            except deployment.Raced:
                _wait(attempt)
                clone.refresh()
    raise errors.Unavailable(
        f'{clone.shown} changed under every one of {ATTEMPTS} attempts to push',
        hint='publish again when fewer do',
    )


def _once(
    wanted: Wanted, identity: image.Image, place: layout.Place,
    blobs: Mapping[str, deployment.File], clone: deployment.Deployment,
) -> Published:
    files = clone.files()
    if _same(files, place, blobs, clone):
        return Published('', clone.branch, place, identity, same=True)
    old: tuple[str, ...] = ()
    if wanted.keep and place.pointer:
        old = releases.beyond(clone, {**files, **blobs}, wanted.keep, place)
    commit = clone.commit(
        _message(wanted, identity, place, old), {**releases.without(files, old), **blobs}
    )
    if wanted.dry_run:
        return Published('', clone.branch, place, identity, old)
    pushed = clone.push(commit)
    return Published(pushed.commit, clone.branch, place, identity, old, pushed.answer)


def _same(
    files: Mapping[str, deployment.File], place: layout.Place,
    blobs: Mapping[str, deployment.File], clone: deployment.Deployment,
) -> bool:
    """Is the image that the tree names newest this one, whatever commit it was built from?"""
    ours = blobs[place.image].oid
    if not place.pointer:
        return place.image in files and files[place.image].oid == ours
    if place.pointer not in files:
        return False
    named = clone.read(files[place.pointer].oid).decode(errors='replace').strip()
    newest = str(Path(place.pointer).parent / named / Path(place.image).name)
    return newest in files and files[newest].oid == ours


def _taken(path: Path, raw: Path) -> image.Image:
    try:
        with path.open('rb') as stream:
            identity = image.take(stream, raw, name=str(path), limit=LIMIT)
    except OSError as error:
        raise errors.Refused(f'cannot read {path}: {error.strerror}') from None
    if identity.target not in layout.EXTENSIONS:
        raise errors.Refused(
            f'{path} is built for {identity.target}, which no host of ours runs',
            hint=f'targets: {", ".join(sorted(layout.EXTENSIONS))}',
        )
    return identity


def _blobs(
    wanted: Wanted, identity: image.Image, place: layout.Place, raw: Path,
    clone: deployment.Deployment,
) -> dict[str, deployment.File]:
    """What the commit adds, stored in the clone: image, config.ml, description, pointer."""
    with _compressed(raw, wanted.compress) as stream:
        program = deployment.File(deployment.PROGRAM, clone.write(stream))
    config = _config(wanted.image)
    texts = {
        place.config: config.read_bytes() if config else b'',
        place.description: _description(wanted, identity),
        place.pointer: f'{wanted.source}\n'.encode(),
    }
    plain = {path: deployment.File(deployment.PLAIN, clone.write(content))
             for path, content in texts.items() if path and content}
    programs = {path: program for path in (place.image, place.stable) if path}
    return {**programs, **plain}


@contextlib.contextmanager
def _compressed(raw: Path, compress: str) -> Iterator[IO[bytes]]:
    """The image as it is stored; the same bytes give the same blob every time."""
    packed = raw.with_name('packed')
    with raw.open('rb') as plain:
        if not compress:
            yield plain
            return
        with packed.open('wb') as file:
            # mtime: gzip would write the time of day into its header.
            into = bz2.BZ2File(file, 'wb') if compress == 'bzip2' else gzip.GzipFile(
                '', 'wb', fileobj=file, mtime=0)
            with into:
                shutil.copyfileobj(plain, into)
    with packed.open('rb') as stream:
        yield stream


def _config(path: Path) -> Path | None:
    """The config.ml that belongs to the image: beside it, or above MirageOS 4's dist/."""
    tried = (path.parent / 'config.ml', path.resolve().parent.parent / 'config.ml')
    return next((config for config in tried if config.is_file()), None)


def _description(wanted: Wanted, identity: image.Image) -> bytes:
    told = {
        'name': wanted.name,
        'target': identity.target,
        'digest': f'sha256:{identity.digest}',
        'size': identity.size,
        'source': wanted.source,
        'published': time.strftime(releases.TIME, time.gmtime()),
        'versions': {'mirage-hooks': __version__, **_versions()},
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b'\n'


def _versions() -> dict[str, str]:
    """What the tools of the build say of themselves; one that is missing is left out."""
    said = {}
    for tool, option in TOOLS:
        with contextlib.suppress(errors.Unavailable):
            said[tool] = system.run(tool, option, timeout=10).strip()[:80]
    return said


def _message(
    wanted: Wanted, identity: image.Image, place: layout.Place, removed: tuple[str, ...]
) -> str:
    told = [f'Publish {wanted.name} for {identity.target} from {wanted.source[:12]}', '']
    if removed:
        told += [f'Remove {len(removed)} older releases:', *removed, '']
    return '\n'.join([
        *told,
        f'Image: {place.image}',
        f'Image-Target: {identity.target}',
        f'Image-Digest: sha256:{identity.digest}',
        f'Image-Size: {identity.size}',
        f'Source-Commit: {wanted.source}',
        '',
    ])


def _wait(attempt: int) -> None:
    """Back off, each publisher for another while."""
    time.sleep(random.uniform(0, min(LONGEST, 0.1 * 2**attempt)))  # noqa: S311
