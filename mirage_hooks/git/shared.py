"""Unikernels that share a pointer: none takes the image of another in the place of its own."""

from __future__ import annotations

from pathlib import PurePosixPath

from .. import config
from ..messages import errors
from ..state import model
from ..state.releases import Releases
from . import tree
from .repository import Repository


def find(
    repository: Repository, releases: Releases, settings: config.Settings, name: str, commit: str
) -> tree.Found:
    """What `commit` holds for `name`, which `releases` is of; raises Refused when there is none, or
    none of its own any more."""
    limit = settings.unpacked_limit << 20
    found = repository.find(commit, name, settings.unikernels[name], limit)
    current = releases.current()
    if found.notice and current is not None and _had_its_own(current, found):
        for other in _sharing(repository, settings, name):
            if tree.called(found.path, other):
                raise _another(found.path, name, other, settings.unikernels[name].image)
    return found


def _had_its_own(current: model.Release, found: tree.Found) -> bool:
    """Whether the live image is called like its unikernel, and lay in a folder next to this one:
    who shared the only image from the beginning goes on sharing it."""
    folders = {PurePosixPath(one.path).parent.parent for one in (current, found)}
    return tree.called(current.path, current.unikernel) and len(folders) == 1


def _sharing(repository: Repository, settings: config.Settings, name: str) -> list[str]:
    """The other unikernels that are deployed from the same pointer of the same branch."""
    places = {
        one: (wanted.image, repository.branch(wanted.branch or settings.branch))
        for one, wanted in settings.unikernels.items()
    }
    return [one for one, place in places.items() if one != name and place == places[name]]


def _another(path: str, name: str, other: str, image: str) -> errors.Refused:
    return errors.Refused(
        f'{image} now leads to {path}, the image of {other}, and to none named {name}',
        hint="give each its own pointer: mirage-hooks publish --layout '{name}/{target}/{commit}', "
        f'and in mirage.yml image: {name}/{image}',
    )
