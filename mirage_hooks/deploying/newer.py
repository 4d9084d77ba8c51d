"""Whether the branch holds another image than the one that runs, which nobody turned down."""

from __future__ import annotations

import msgspec

from .. import config
from ..git import shared
from ..git.repository import Repository
from ..messages import errors
from ..state import model
from ..state.releases import Releases
from .context import Context


def left_alone(
    outcome: model.Outcome, context: Context, settings: config.Settings
) -> model.Outcome:
    """`outcome`, which no newer image was to change: with the one that waits, if any."""
    name = outcome.unikernel
    commit = waits(context.repository, context.state.of(name), settings, name)
    return msgspec.structs.replace(outcome, waits=commit)


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
