"""Whether the branch holds another image than the one that runs, which nobody turned down."""

from __future__ import annotations

from .. import config
from ..messages import errors
from ..state.releases import Releases
from . import shared
from .repository import Repository


def waits(
    repository: Repository, releases: Releases, settings: config.Settings, name: str
) -> str:
    """The commit of the image that waits to be deployed as `name`; '' when none does: it runs, it
    was refused, or a rollback turned it down."""
    wanted, current = settings.unikernels[name], releases.current()
    if current is None:
        return ''
    try:
        commit = repository.commit(repository.branch(wanted.branch or settings.branch))
        found = shared.find(repository, releases, settings, name, commit)
    except errors.Refused:  # there is none; the next deployment says so
        return ''
    failure, pin = releases.failure(), releases.pin()
    known = {current.blob, failure.blob if failure else '', pin.blob if pin else ''}
    return '' if known & {found.blob, f'commit {commit}'} else commit
