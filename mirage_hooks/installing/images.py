"""What the branch holds for a unikernel, and what that needs on this host."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .. import config, image
from ..git import shared
from ..messages import errors
from ..switching import fitting
from . import needs
from .finding import Found, Place, fine, note, refused


def findings(place: Place, name: str, wanted: config.Unikernel) -> Found:
    repository, settings = place.repository, place.settings
    took, options = None, None
    if not repository.branches():
        yield note(name, 'the repository is empty: the first push of an image deploys it')
        return (yield from needs.of(name, wanted, took, repository, options))
    try:
        branch = repository.branch(wanted.branch or settings.branch)
        releases = place.state.of(name)
        found = shared.find(repository, releases, settings, name, repository.commit(branch))
        yield fine(name, f'{branch} is at {found.commit[:12]}, the image {found.path}')
        limit = settings.unpacked_limit * 1024 * 1024
        with tempfile.TemporaryDirectory() as folder:
            with repository.open(found.blob, limit, found.path) as stream:
                took = image.take(stream, Path(folder, 'image'), name=found.path, limit=limit)
            yield fine(name, f'it is {image.describe(took)}')
            if took.target == 'unix' and settings.trust is None:  # else it may be nobody's we trust
                options = fitting.options(repository.state, name, Path(folder))
        for text in fitting.disks(repository, found, took.target, wanted):
            yield note(name, text)
    except errors.Refused as why:
        yield refused(name, why)
    yield from needs.of(name, wanted, took, repository, options)
