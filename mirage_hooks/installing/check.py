"""What is missing on this host for what mirage.yml wants, and how to get it."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import config, image
from ..git import shared
from ..git.repository import Repository
from ..messages import errors
from ..messages.report import encoded, plain
from ..messages.terminal import fitted, green, red
from ..state import store
from ..switching import fitting
from . import needs, safeguards, slim
from .needs import Finding


def check(folder: Path, as_json: bool) -> int:
    """Print every finding; 1 when something is missing."""
    found = list(findings(Repository(folder)))
    if as_json:
        print(encoded(found))
    else:
        for one in found:
            said = f'{green("ok     ") if one.fine else red("MISSING")}  {one.subject}: '
            print(fitted(said + plain(one.text)))
            if one.hint and not one.fine:
                print(fitted(f'         hint: {plain(one.hint)}'))
    return int(not all(one.fine for one in found))


def findings(repository: Repository) -> Iterator[Finding]:
    """Everything that a deployment of `repository` needs, one by one."""
    yield from _lock(repository)
    try:
        path = repository.config_path()
        settings = store.settings(path)
    except errors.Refused as refused:
        hint = '' if len(refused.lines) > 1 else refused.hint
        yield from (Finding('mirage.yml', False, line, hint) for line in refused.lines)
        return
    yield Finding('mirage.yml', True, f'{path} names {", ".join(settings.unikernels) or "nothing"}')
    yield from safeguards.findings(repository, settings)
    yield from _weight(repository, settings)
    for name, wanted in settings.unikernels.items():
        yield from _unikernel(repository, settings, name, wanted)


def _weight(repository: Repository, settings: config.Settings) -> Iterator[Finding]:
    """How the clone grows, and what would make it lighter; never a reason to fail."""
    try:
        weight = slim.weigh(repository, repository.branch(settings.branch))
    except errors.Refused:
        return  # each unikernel says it
    for line in slim.told(repository.folder, weight):
        yield Finding('git', True, line)


def _lock(repository: Repository) -> Iterator[Finding]:
    lock = repository.git_dir / 'index.lock'
    if lock.exists():
        yield Finding(
            'git', False, f'{lock} is there: git pull refuses to work next to it',
            'if no git runs here, it was left by one that was killed: '
            f'rm {shlex.quote(str(lock))}',
        )


def _unikernel(
    repository: Repository, settings: config.Settings, name: str, wanted: config.Unikernel
) -> Iterator[Finding]:
    took, options = None, None
    try:
        branch = repository.branch(wanted.branch or settings.branch)
        releases = store.opened(repository.state).of(name)
        found = shared.find(repository, releases, settings, name, repository.commit(branch))
        yield Finding(name, True, f'{branch} is at {found.commit[:12]}, the image {found.path}')
        limit = settings.unpacked_limit * 1024 * 1024
        with tempfile.TemporaryDirectory() as folder:
            with repository.open(found.blob, limit, found.path) as stream:
                took = image.take(stream, Path(folder, 'image'), name=found.path, limit=limit)
            yield Finding(name, True, f'it is {image.describe(took)}')
            if took.target == 'unix' and settings.trust is None:  # else it may be nobody's we trust
                options = fitting.options(repository.state, name, Path(folder))
        for text in fitting.disks(repository, found, took.target, wanted):
            yield Finding(name, True, text)
    except errors.Refused as refused:
        yield Finding(name, False, refused.reason, refused.hint)
    yield from needs.of(name, wanted, took, repository, options)
