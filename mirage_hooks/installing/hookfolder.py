"""The hooks folder of a repository: ours are copies, and one that was there before is kept."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path
from typing import Literal

import msgspec

from ..messages import errors

NAMES = ('post-merge', 'post-receive', 'post-rewrite', 'pre-receive')
BEFORE = '.before-mirage-hooks'
"""Runs first, see hook.py."""
TRACKED = '.tracked-not-run'
"""Was a link into the work tree, where a push decides what it does: kept, never run."""

_BODIES = next(
    folder
    for folder in (Path(__file__).parents[1] / 'hooks', Path(__file__).parents[2] / 'hooks')
    if folder.is_dir()
)
_OURS = b'from mirage_hooks import hook\n'
_LONGEST = 127  # bytes of a first line; Linux before 5.1 cuts off the rest


class Place(msgspec.Struct, frozen=True):
    """Where our hook `name` goes, what stands there now, and where that is kept."""

    name: str
    path: Path
    found: Literal['nothing', 'ours', 'other', 'tracked']

    @property
    def kept(self) -> Path:
        return self.path.with_name(self.name + (TRACKED if self.found == 'tracked' else BEFORE))


def places(folder: Path, tree: Path | None) -> list[Place]:
    """Where our hooks go in `folder`; `tree` is the work tree. Raises Refused when a hook could
    not be kept."""
    found = [place(folder, name, tree) for name in NAMES]
    for each in found:
        taken = each.found in ('other', 'tracked') and os.path.lexists(each.kept)
        if taken and not os.path.samestat(each.path.lstat(), each.kept.lstat()):
            raise errors.Refused(
                f'{each.path} is not ours, and {each.kept.name} is there from an earlier one',
                hint=f'put what you need of both into {each.path} and remove {each.kept}',
            )
    return found


def place(folder: Path, name: str, tree: Path | None) -> Place:
    """Where our hook `name` goes in `folder`, and what is there now."""
    # `pre-commit install` moves a hook that it finds to NAME.legacy and runs it from there.
    legacy = folder / f'{name}.legacy'
    path = legacy if _is_ours(legacy) else folder / name
    if _is_ours(path):
        return Place(name, path, 'ours')
    if not os.path.lexists(path):
        return Place(name, path, 'nothing')
    if path.is_dir() and not path.is_symlink():
        raise errors.Refused(f'{path} is a folder', hint='move it away')
    return Place(name, path, 'tracked' if tree and _leads_into(path, tree) else 'other')


def text(name: str, python: Path) -> str:
    """Our hook `name`, run by `python` and nothing else: -I keeps the caller's environment and
    folder out."""
    body = (_BODIES / name).read_text('utf-8').partition('\n')[2]
    plain = f'#!{python} -I'
    if len(os.fsencode(plain)) <= _LONGEST and not any(c.isspace() for c in str(python)):
        return f'{plain}\n{body}'
    if '\\' in str(python):
        raise errors.Refused(f'{python} has a backslash in it', hint='install to another --prefix')
    # Both languages read it: sh an exec, Python a text that it passes over.
    return f"#!/bin/sh\n'''exec' {shlex.quote(str(python))} -I \"$0\" \"$@\"\n' '''\n{body}"


def put(place: Place, hook: str, undo: contextlib.ExitStack) -> bool:
    """Make `hook` stand at `place`; True when that changed anything. At no moment is there none."""
    if place.found == 'ours' and _reads(place.path) == hook.encode() and _runs(place.path):
        return False
    if place.found == 'ours':
        old, mode = place.path.read_bytes(), place.path.stat().st_mode
        undo.callback(_write, place.path, old, mode)
    else:
        undo.callback(_restore, place)
    if place.found in ('other', 'tracked') and not os.path.lexists(place.kept):
        os.link(place.path, place.kept, follow_symlinks=False)
    _write(place.path, hook.encode(), 0o755)
    return True


def take_back(place: Place) -> bool:
    """Take our hook away and put back what was there before; True when ours was there."""
    if _reads(place.path) is None or not _is_ours(place.path):
        return False
    for tail in (BEFORE, TRACKED):
        kept = place.path.with_name(place.name + tail)
        if os.path.lexists(kept):
            kept.replace(place.path)
            return True
    place.path.unlink()
    return True


def _restore(place: Place) -> None:
    if not take_back(place) and place.found != 'nothing' and os.path.lexists(place.kept):
        place.kept.unlink()  # the second name of what still stands at `path`


def _leads_into(path: Path, tree: Path) -> bool:
    """Whether a chain of links that begins at `path` passes through `tree`."""
    for _ in range(40):  # the kernel's limit
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
        path = path.parent.resolve() / path.name
        if path.is_relative_to(tree) and not path.is_relative_to(tree / '.git'):
            return True
    return False


def _is_ours(path: Path) -> bool:
    return _OURS in (_reads(path) or b'')


def _reads(path: Path) -> bytes | None:
    try:
        with path.open('rb') as file:
            return file.read(4096)
    except OSError:
        return None


def _runs(path: Path) -> bool:
    return not path.is_symlink() and os.access(path, os.X_OK)


def _write(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(path.name + '.new')
    fresh.unlink(missing_ok=True)
    fresh.write_bytes(content)
    fresh.chmod(mode)
    fresh.replace(path)
