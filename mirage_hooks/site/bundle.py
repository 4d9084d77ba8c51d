"""What one publication adds to the deployment repository: files, and what its commit says."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from .. import __version__, image
from ..host import programs
from ..messages import errors, progress
from . import deployment, layout, releases

PART = 1 << 18  # bytes that are compressed at once
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


def require_file(path: Path) -> None:
    """Raise Refused unless `path` is a file that can be opened without waiting."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise errors.Refused(f'cannot read {path}: {error.strerror}') from None
    if not stat.S_ISREG(mode):
        raise errors.Refused(f'{path} is not a file')


def files(
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
    executable = {path: program for path in (place.image, place.stable) if path}
    return {**executable, **plain}


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
            with into, progress.doing('compressing the image') as work:
                while part := plain.read(PART):
                    into.write(part)
                    work.bytes(plain.tell(), raw.stat().st_size)
    with packed.open('rb') as stream:
        yield stream


def _config(path: Path) -> Path | None:
    """The config.ml that belongs to the image: next to it, or above MirageOS 4's dist/."""
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
            said[tool] = programs.run(tool, option, timeout=10).strip()[:80]
    return said


def message(
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
