"""The host's mirage.yml: where it is, and that git's configuration names it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..git import repository
from ..messages import errors
from ..state import files, store
from . import starter

NAMED = 'mirage.config'  # of git's configuration: where mirage.yml is
OURS = 'mirage.installed'  # what the installer set NAMED to
BEFORE = 'mirage.before'  # what NAMED was before that


def path_of(where: repository.Repository, given: Path | None) -> Path:
    """The mirage.yml to use; raises Refused when it is not this repository's, or a push could
    write it."""
    named = where.setting(NAMED)
    path = given.absolute() if given else where.config_path() if named else starter.path(where)
    if path.is_dir():
        raise errors.Refused(f'{path} is a folder', hint='name a file with --config')
    inside = path.resolve().is_relative_to(where.folder)
    if inside and not path.resolve().is_relative_to(where.git_dir):
        raise errors.Refused(
            f'{path} is inside the repository, where a push could change it',
            hint='name a file outside with --config',
        )
    if not path.exists():
        files.require_writable(path.parent)
    elif not given and not named and starter.owner(path) not in ('', str(where.folder)):
        raise errors.Refused(
            f'{path} was written for {starter.owner(path)}',
            hint='name another file with --config, or the same one to share it',
        )
    return path


def put(
    where: repository.Repository, path: Path, undo: contextlib.ExitStack, text: str = ''
) -> list[str]:
    """Let git's configuration name the mirage.yml at `path`, which gets `text` (a starter's by
    default) when it is not there yet."""
    fresh = not path.exists()
    if fresh:
        content = text or starter.text(where)
        with files.writing(path):
            _make_folder(path.parent, undo)
            undo.callback(path.unlink, missing_ok=True)
            path.touch(0o600)  # a webhook's address in it is a secret
            path.write_text(content, 'utf-8', 'surrogateescape')
    _name(where, str(path), undo)
    names, warned = [], []
    try:
        names = list(store.settings(path).unikernels)
    except errors.Refused as refused:
        warned = [f'WARNING: {line}' for line in refused.lines]
    what = (
        'read it, and fill in what is open' if text
        else f'it names {", ".join(names)}; read it' if names else 'say there what should run'
    )
    return [f'mirage.yml: {path}{f" is new: {what}" if fresh else ""}', *warned]


def take(where: repository.Repository) -> list[str]:
    """Put git's setting back as `put` found it; one that was set by hand, before or since, stays.
    What was done, for a person."""
    named, before = where.setting(NAMED), where.setting(BEFORE)
    by_hand = where.setting(OURS) != named
    for key, value in ((OURS, ''), (BEFORE, ''), (NAMED, named if by_hand else before)):
        where.configure(key, value)
    return [f'kept: git config {NAMED}, which was set by hand'] if named and by_hand else []


def _name(where: repository.Repository, path: str, undo: contextlib.ExitStack) -> None:
    named, ours = where.setting(NAMED), where.setting(OURS)
    if named == path:
        return
    before = where.setting(BEFORE) if named == ours else named
    for key, value in ((BEFORE, before), (OURS, path), (NAMED, path)):
        undo.callback(where.configure, key, where.setting(key))
        where.configure(key, value)


def _make_folder(folder: Path, undo: contextlib.ExitStack) -> None:
    if not folder.exists():
        _make_folder(folder.parent, undo)
        folder.mkdir(0o755)
        undo.callback(folder.rmdir)
