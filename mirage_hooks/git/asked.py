"""A repository as git knows it: where it is, its configuration, its branches and where they are."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from ..messages import errors, nearest
from . import discovery
from .catfile import CatFile
from .objects import Objects, bounded
from .references import References


class Asked:
    """The clone or bare repository that the folder `path` belongs to; raises Refused when there is
    none. `find` has its place, when that was asked for ahead."""

    def __init__(self, path: Path, find: Callable[[], discovery.Place] | None = None) -> None:
        place = discovery.find(path) if find is None else find()
        self.git_dir, self.bare = place.git_dir, place.tree is None
        self.folder = place.tree or place.git_dir
        self.state = self.git_dir / 'mirage-hooks'
        self._lost = self.bare and not place.bare
        self._objects = Objects(self.git_dir, self.folder, place.tree)
        self._files = CatFile(self._objects)
        self._references = References(self._objects.text, self._values)
        self._settings: dict[str, list[str]] | None = None

    def setting(self, key: str) -> str:
        """The value of `key` in git's configuration, '' when it is not set."""
        return next(reversed(self._values(key)), '')

    def _values(self, key: str) -> list[str]:
        """Every value of `key`, which may be there several times; git is asked once for all."""
        if self._settings is None:
            self._settings = {}
            for pair in self._objects.text('config', '-z', '--list').split('\0')[:-1]:
                name, _, value = pair.partition('\n')
                self._settings.setdefault(name, []).append(value)
        section, _, last = key.rpartition('.')
        section, dot, middle = section.partition('.')
        # git spells a section and a key as it likes, what stands between them as it is.
        return self._settings.get(f'{section.lower()}{dot}{middle}.{last.lower()}', [])

    def configure(self, key: str, value: str) -> None:
        """Set `key` in the repository's own configuration; '' takes it out."""
        if value:
            self._objects.text('config', '--local', key, value)
        else:  # 5: it was not there
            self._objects.text('config', '--local', '--unset-all', key, absent=5)
        self._settings = None

    def hooks(self) -> Path:
        """The folder whose hooks git runs here; raises Refused when it is not this repository's
        alone, or a push could write into it."""
        named = self.setting('core.hooksPath')
        if not named:
            return self.git_dir / 'hooks'
        path = (self.folder / Path(named).expanduser()).resolve()
        if path.is_relative_to(self.git_dir):
            return path
        raise errors.Refused(
            f'core.hooksPath makes git run the hooks in {path}, '
            f'which is not inside {self.git_dir} and so not for this repository alone',
            hint='give it hooks of its own: ' + shlex.join((
                'git', '-C', str(self.folder), 'config', 'core.hooksPath', f'{self.git_dir}/hooks'
            )),
        )

    def config_path(self) -> Path:
        """The host's mirage.yml, which `git config mirage.config` names."""
        named = self.setting('mirage.config')
        if not named:
            raise errors.Refused(
                f'{self.folder} has no mirage.yml yet',
                hint='is this the deployment repository? Another is named with -C; if it is: '
                'mirage-hooks install REPOSITORY',
            )
        path = Path(named).expanduser()
        return path if path.is_absolute() else self.folder / path

    def branches(self) -> list[str]:
        """The local branches, the one that HEAD is on first."""
        return self._references.branches()

    def branch(self, configured: str) -> str:
        """The tracked branch: the configured one, else the one HEAD is on."""
        if configured:
            return configured
        if on := self._references.on():
            return on
        raise errors.Refused(
            f'{self.folder} is on no branch (detached HEAD)',
            hint='name the branch to deploy in mirage.yml: branch: master',
        )

    def hold(self) -> None:
        """Let a deployment see each branch at one commit, whatever is pushed meanwhile; the hook of
        that push comes after it."""
        self._references.hold()

    def head(self) -> str:
        """What HEAD holds, as in its file."""
        return (self.git_dir / 'HEAD').read_text().strip()

    def references(self) -> str:
        """Every reference and what it is at."""
        return self._objects.text('for-each-ref', '--format=%(refname) %(objectname)')

    def remote(self, branch: str) -> str:
        """The remote that `branch` is pulled from, '' when it has none."""
        return self.setting(f'branch.{branch}.remote')

    def revision(self, branch: str) -> str:
        """The reference that holds `branch`: the local one, else the only remote's."""
        return self._references.holding(branch)

    @bounded
    def commit(self, branch: str) -> str:
        """The commit that `branch` is at; raises Refused when it has none."""
        if self.setting('extensions.objectFormat') == 'sha256':
            raise errors.Refused(
                f'{self.folder} names its objects by SHA-256, which cannot be read yet',
                hint='make it anew with git init --object-format=sha1',
            )
        if found := self._references.at(self.revision(branch)):
            return found
        names = self.branches()
        known = f'it has {", ".join(names)}' if names else 'it is empty'
        meant = nearest.question(branch, names)
        raise errors.Refused(
            f'{self.folder} has no branch {branch}; {known}',
            hint=f'{meant} push it, or name another in mirage.yml: branch: …'.lstrip(),
        )
