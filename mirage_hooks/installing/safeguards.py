"""What trust, gate and notify need of this host: for `check`."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from .. import config
from ..git import discovery
from ..git.repository import Repository
from ..messages import errors
from . import hookfolder
from .finding import Finding, Found, Place, fine, problem, refused
from .needs import program


def findings(place: Place) -> Found:
    """What is there and what is missing, one by one; nothing for what is not asked for."""
    yield from _owner(place.repository)
    yield from _trust(place.settings.trust)
    yield from _gate(place.repository, place.settings)
    yield from _notify(place.settings.notify)


def _owner(repository: Repository) -> Found:
    """Whether root works for somebody else: git runs commands that a repository's own configuration
    names, and its hooks."""
    owner = discovery.owner_of(repository.folder)
    if os.geteuid() == 0 and owner != 'root':
        yield problem(
            'git', f'{repository.folder} belongs to {owner}, who makes root run commands by '
            'its configuration and hooks',
            f'run mirage-hooks and cron as {owner}, or give it to root: chown -R root '
            f'{shlex.quote(str(repository.folder))}',
        )


def _trust(wanted: config.Trust | None) -> Found:
    if wanted is None:
        return
    if wanted.signers is not None:
        yield program('trust', 'ssh-keygen', 'apt install openssh-client')
    if wanted.keyring is not None:
        yield program('trust', 'gpg', 'apt install gnupg')
    for key in ('signers', 'revoked', 'keyring'):
        if (name := getattr(wanted, key)) is not None:
            yield _unwritten(key, Path(name))


def _unwritten(key: str, path: Path) -> Finding:
    """Whether the file can be read, and nobody but its owner and root decides what is in it."""
    try:
        found, above = path.stat(), path.resolve().parent.stat()
    except OSError as error:
        return problem('trust', f'{key}: {path}: {error.strerror}', 'make it')
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        return problem('trust', f'{key}: {path} cannot be read',
                       f'chmod u+r {shlex.quote(str(path))}')
    sticky = above.st_mode & stat.S_ISVTX
    for mode, each in ((found.st_mode, path), (0 if sticky else above.st_mode, path.parent)):
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            return problem(
                'trust', f'{key}: others than its owner may write {each}',
                f'chmod go-w {shlex.quote(str(each))}',
            )
    return fine('trust', f'{key}: {path}')


def _gate(repository: Repository, settings: config.Settings) -> Found:
    if not settings.gate:
        return
    try:
        hook = hookfolder.place(repository.hooks(), 'pre-receive', None)
    except errors.Refused as why:
        yield refused('gate', why)
        return
    if hook.found == 'ours' and os.access(hook.path, os.X_OK):
        yield fine('gate', str(hook.path))
    else:
        yield problem('gate', f'{hook.path} is not our hook',
                      f'install it: mirage-hooks install {shlex.quote(str(repository.folder))}')


def _notify(wanted: config.Notify | None) -> Found:
    if wanted is not None and wanted.command:
        yield program('notify', wanted.command[0], 'fix `notify:` in mirage.yml')
