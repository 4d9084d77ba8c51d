"""What is watched: every unikernel of the repositories, as their last converges left them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from .. import config
from ..git.repository import Repository
from ..messages import errors
from ..state import known, model, proc, store
from ..state.releases import Releases, began
from ..switching import certified
from . import policy


class Watched(msgspec.Struct, frozen=True):
    """One unikernel, as mirage.yml wants it, and how it is watched."""

    repository: Path
    name: str
    wanted: config.Unikernel
    rule: config.Watch
    releases: Releases

    @property
    def key(self) -> tuple[Path, str]:
        return self.repository, self.name

    def release(self) -> model.Release | None:
        """The one that is to be asked now; None where none is to serve."""
        current = None if self.releases.stopped() else self.releases.current()
        if current is not None and self.releases.placed() and self.down(current):
            return None  # Pacemaker has not told yet that it is to run no longer
        return current

    def asked(self, release: model.Release) -> config.Unikernel:
        """As it is wanted, with the certificate of `release`."""
        return certified.running(self.wanted, self.releases, release)

    def down(self, release: model.Release) -> bool:
        """Whether the process of `release` is known to have ended; what Xen or systemd runs, they
        may have started again."""
        run = self.releases.run(release.number)
        if release.plan.domain or release.plan.unit or run is None:
            return False
        return proc.identity(run.pid) != (run.pid, run.started, run.boot)

    def facts(self, release: model.Release) -> policy.Release:
        """What decides whether `release` is to blame, and who could serve instead."""
        try:
            earlier = self.releases.previous()
        except errors.Refused:  # it is damaged: a restart helps all the same
            earlier = None
        there = earlier is not None and (self.releases.folder(earlier.number) / 'image').exists()
        before = release.created - earlier.created if earlier is not None and there else None
        return policy.Release(
            release.number, release.digest, release.created,
            began(self.releases.folder(release.number)), before)


class Known:
    """The repositories, read anew when something of them has changed."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[object, list[Watched]]] = {}
        self._paths: dict[Path, tuple[Path, Path]] = {}

    def all(self, folders: Iterable[Path]) -> list[Watched]:
        """Everything that is watched in the repositories `folders`."""
        return [one for folder in dict.fromkeys(folders) for one in self._of(folder)]

    def _of(self, folder: Path) -> list[Watched]:
        """What mirage.yml means a converge has read: until then the former one holds."""
        before, found = self._read.get(folder, (None, []))
        try:
            root, path = self._paths.get(folder) or self._found(folder)
            state = store.opened(root)
            seen = tuple(_stat(one) for one in (root.parent / 'config', root / known.FILE, path))
            if before == seen:
                return found
            root, path = self._found(folder)
        except errors.Refused:
            return []  # it is gone, or not ours: whoever converges says so
        with contextlib.suppress(errors.Refused):  # so does who reads a wrong mirage.yml
            if settings := known.find(root, store.mirage_yml(path)):
                found = [
                    Watched(folder, name, wanted, rule, state.of(name))
                    for name, wanted in settings.unikernels.items()
                    if (rule := wanted.watched) is not None
                ]
        self._read[folder] = seen, found
        return found

    def _found(self, folder: Path) -> tuple[Path, Path]:
        """The state and mirage.yml of the repository `folder`, which git is asked for."""
        repository = Repository(folder)
        self._paths[folder] = repository.state, repository.config_path()
        return self._paths[folder]


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
