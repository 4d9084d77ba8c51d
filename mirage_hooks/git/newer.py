"""What became of the image that the branch holds: it runs, it waits, or it was turned down."""

from __future__ import annotations

import contextlib
from typing import Literal

import msgspec

from .. import config
from ..messages import errors
from ..state.releases import Releases
from . import shared
from .repository import Repository


class Tip(msgspec.Struct, frozen=True):
    """The tip of a `branch`, and what became of the image that it holds: it is `live`, it was
    `refused`, turned down by a `rollback`, `ready` for Pacemaker to start, or `waits` to be
    deployed; `none`: it holds none."""

    branch: str
    commit: str
    image: Literal['live', 'refused', 'rollback', 'ready', 'waits', 'none']


def tip(
    repository: Repository, releases: Releases, settings: config.Settings, name: str
) -> Tip | None:
    """Of the branch that `name` follows; None where there is no such branch."""
    wanted = settings.unikernels[name]
    try:
        branch = repository.branch(wanted.branch or settings.branch)
        commit = repository.commit(branch)
    except errors.Refused:  # the next deployment says so
        return None
    blobs = {f'commit {commit}'}  # what was refused before an image was found goes by that
    with contextlib.suppress(errors.Refused):  # there is none
        blobs.add(shared.find(repository, releases, settings, name, commit).blob)
    current, failure, pin = releases.current(), releases.failure(), releases.pin()
    if current is not None and current.blob in blobs:
        return Tip(branch, commit, 'live')
    if failure is not None and failure.blob in blobs:
        return Tip(branch, commit, 'refused')
    if pin is not None and pin.blob in blobs:
        return Tip(branch, commit, 'rollback')
    ready = releases.ready()
    if ready is not None and ready.blob in blobs:
        return Tip(branch, commit, 'ready')
    return Tip(branch, commit, 'waits' if len(blobs) > 1 else 'none')


def waits(
    repository: Repository, releases: Releases, settings: config.Settings, name: str
) -> str:
    """The commit of the image that waits to be deployed as `name` in the place of another; '' when
    none does."""
    found = tip(repository, releases, settings, name) if releases.current() else None
    return found.commit if found is not None and found.image == 'waits' else ''
