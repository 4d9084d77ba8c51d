"""The deployment repository, read through GitPython: commits, trees and blobs, never the work tree.

Everything that comes out of it is hostile until parsed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import git
import git.exc

from .. import config
from ..messages import errors
from ..state import caller
from . import discovery, objects, tree
from .objects import Objects, bounded
from .references import References
from .tree import Entry

FETCH = 120.0  # seconds for a fetch: what has not come by then is the next cron run's

# History as it was signed: without the operator's grafts, and no shallow boundary taken for a root.
SIGNED = {'GIT_GRAFT_FILE': '', 'GIT_SHALLOW_FILE': ''}


class Repository:
    """A clone or a bare repository at `path`; raises Refused when there is none."""

    def __init__(self, path: Path) -> None:
        place = discovery.find(path)
        self.git_dir, self.bare = place.git_dir, place.tree is None
        self.folder = place.tree or place.git_dir
        self.state = self.git_dir / 'mirage-hooks'
        self._settings: dict[str, str] = {}
        self._lost = self.bare and not place.bare
        # Told, it discovers nothing again.
        told = {} if place.tree is None else {'GIT_WORK_TREE': str(place.tree)}
        self._git = git.cmd.Git(str(self.folder))
        # A push may bring refs/replace/…, which would stand in for the commit that was verified.
        self._git.update_environment(
            GIT_DIR=str(self.git_dir), GIT_NO_REPLACE_OBJECTS='1', **told
        )
        self._objects = Objects(self.git_dir, self.folder)
        self._references = References(self._run, self._values)

    def setting(self, key: str) -> str:
        """The value of `key` in git's configuration, '' when it is not set; asked once."""
        if key not in self._settings:
            self._settings[key] = self._run('config', '--get', key, absent=1)
        return self._settings[key]

    def _values(self, key: str) -> list[str]:
        """Every value of `key`, which may be there several times."""
        found = self._run('config', '-z', '--get-all', key, absent=1)
        return found.split('\0')[:-1]

    def configure(self, key: str, value: str) -> None:
        """Set `key` in the repository's own configuration; '' takes it out."""
        arguments = (key, value) if value else ('--unset-all', key)
        try:
            self._git.config('--local', *arguments)
            self._settings.clear()
        except git.exc.GitCommandError as error:
            if value or error.status != 5:  # 5: it was not there
                raise _said(error, self.folder) from None

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

    def branches(self) -> list[str]:
        """The local branches, the one that HEAD is on first."""
        return self._references.branches()

    def files(self, commit: str) -> dict[str, str]:
        """Every plain file of `commit`: path and object."""
        return {entry.path: entry.oid for entry in self._list_tree(commit, '-r')
                if entry.mode in ('100644', '100755')}

    def images(self, commit: str) -> list[tuple[str, str]]:
        """What `commit` seems to publish: (pointer file or image, name of the unikernel)."""
        blobs = [entry for entry in self._list_tree(commit, '-r') if entry.kind == 'blob']
        pointers = [entry.path for entry in blobs if Path(entry.path).name == 'latest']
        plain = [entry.path for entry in blobs if tree.parts(entry)[1] in tree.KERNELS]
        found = {path: self._published(commit, path) for path in pointers or plain}
        return [(path, name) for path, name in found.items() if name]

    def _published(self, commit: str, path: str) -> str:
        """The name of the unikernel whose image `path` means, '' when it means none."""
        try:
            image = self.find(commit, '-', config.Unikernel(image=path)).path
        except errors.Refused:
            return ''
        stem = tree.parts(Entry('100755', 'blob', '', image))[0].removeprefix('mir-')
        return stem if re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9._-]{0,39}', stem) else ''

    def config_path(self) -> Path:
        """The host's mirage.yml, which `git config mirage.config` names."""
        named = self.setting('mirage.config')
        if not named:
            raise errors.Refused(
                f'{self.folder} has no mirage.yml yet',
                hint='run install.sh on it, or name one: git config mirage.config /path/mirage.yml',
            )
        path = Path(named).expanduser()
        return path if path.is_absolute() else self.folder / path

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

    def head(self) -> str:
        """What HEAD holds, as in its file."""
        return (self.git_dir / 'HEAD').read_text().strip()

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
        names = ', '.join(self.branches()) or 'it is empty'
        raise errors.Refused(
            f'{self.folder} has no branch {branch} ({names})',
            hint='push it, or name another in mirage.yml: branch: …',
        )

    @bounded
    def subject(self, commit: str) -> str:
        """The first line of the commit's message."""
        return self._shown(commit, '%B').partition('\n')[0]

    @bounded
    def author(self, commit: str) -> str:
        """Who the commit says wrote it."""
        return self._shown(commit, '%an <%ae>').rstrip('\n')

    def _shown(self, commit: str, form: str) -> str:
        return self._objects.output(
            '-c', 'log.showSignature=false', 'show', '--no-patch', f'--format={form}', commit, '--',
            what=f'the message of commit {commit[:12]}',
        ).decode(errors='replace')

    @bounded
    def descends(self, commit: str, ancestor: str) -> bool:
        """Whether `commit` contains `ancestor`, by the history as it was signed."""
        status, said = self._asked('merge-base', '--is-ancestor', ancestor, commit)
        if status not in (0, 1):
            raise errors.Unavailable(
                f'git cannot follow the history of {commit[:12]} back to {ancestor[:12]}: {said}',
                hint='a shallow clone lacks it: git fetch --unshallow',
            )
        return status == 0

    @bounded
    def between(self, ancestor: str, commit: str) -> list[str]:
        """The commits that `commit` has and `ancestor` has not, oldest first, by every parent."""
        try:
            listed = self._objects.output(
                'rev-list', '--topo-order', '--reverse', commit, f'^{ancestor}', signed=SIGNED,
                what=f'the list of commits up to {commit[:12]}',
            ).decode().split()
        except errors.Unavailable as error:
            raise errors.Unavailable(
                f'git cannot list the commits from {ancestor[:12]} to {commit[:12]}: '
                f'{error.reason}',
                hint='a shallow clone lacks some: git fetch --unshallow',
            ) from None
        self._objects.require_small(listed)
        return listed

    @bounded
    def signature(self, commit: str) -> str:
        """What kind of signature `commit` has: SSH, PGP, SIGNED (X.509), '' for none."""
        raw = self._objects.output('cat-file', 'commit', commit, what=f'commit {commit[:12]}')
        head = raw.partition(b'\n\n')[0]
        found = re.search(rb'^gpgsig(?:-sha256)? -----BEGIN (\w+)', head, re.M)
        return found[1].decode() if found else ''

    @bounded
    def verify(self, commit: str, settings: tuple[str, ...]) -> tuple[bool, str]:
        """Whether `git verify-commit` accepts `commit` when configured by `settings`, and the raw
        words of the program that verified."""
        chosen = (word for setting in settings for word in ('-c', setting))
        status, said = self._asked(*chosen, 'verify-commit', '--raw', commit)
        return status == 0, said

    @bounded
    def raw(self, commit: str) -> bytes:
        """The bytes of `commit`, which git names by them; raises Refused when nobody wrote so many
        by hand."""
        self._objects.require_small([commit])
        return self._objects.output('cat-file', 'commit', commit, what=f'commit {commit[:12]}')

    @bounded
    def links(self, commit: str) -> tuple[str, ...]:
        """The tree and the parents that git follows from `commit`."""
        said = self._objects.output(
            'rev-list', '--no-walk', '--format=%T %P', commit,
            what=f'the parents of commit {commit[:12]}', signed=SIGNED,
        )
        return tuple(said.decode('ascii').split()[2:])  # after `commit` and its name

    @bounded
    def find(
        self, commit: str, unikernel: str, wanted: config.Unikernel, limit: int | None = None
    ) -> tree.Found:
        """The blob that `wanted.image` means in `commit`; raises Refused, naming what is wrong, and
        for a file of more than `limit` bytes."""
        path = tree.inside(wanted.image, f'{unikernel}.image')
        entry = self._entry(commit, path)
        head = self._head(entry, None)  # what is too long for a pointer is told as such
        if head.startswith(tree.MAGIC):
            return tree.Found(commit, path, entry.oid, read=(tree.line(entry),))
        folder = tree.pointed(entry, head)
        target = self._entry(commit, folder, pointer=path)
        if target.kind == 'blob':
            self._head(target, limit)
            return tree.Found(commit, folder, target.oid, (tree.line(entry), tree.line(target)))
        image, notice = tree.choose(self._list(commit, folder), folder, unikernel, wanted.target)
        self._head(image, limit)
        read = (tree.line(entry), tree.line(target))
        return tree.Found(commit, image.path, image.oid, read, notice)

    @bounded
    def disks(self, found: tree.Found) -> list[str]:
        """The disk images that lie in one folder with the image at `found`."""
        folder = str(PurePosixPath(found.path).parent)
        entries = self._list(found.commit, folder) if folder != '.' else []
        return [entry.path for entry in entries
                if entry.kind == 'blob' and tree.parts(entry)[1] == 'img']

    @bounded
    def open(self, oid: str, limit: int | None = None, name: str = '') -> BinaryIO:
        """The bytes of blob `oid`, called `name`, as a stream; raises Refused when they are more
        than `limit`. In a partial clone git fetches it now."""
        return self._objects.open(oid, limit, name or f'object {oid[:12]}')

    @bounded
    def entries(self, commit: str, paths: tuple[str, ...]) -> tuple[str, ...]:
        """The tree's lines for `paths`, as they stand in Found.read."""
        return tuple(tree.line(entry) for entry in self._list_tree(commit, '--', *paths))

    def remote(self, branch: str) -> str:
        """The remote that `branch` is pulled from, '' when it has none."""
        return self.setting(f'branch.{branch}.remote')

    def track(self, branch: str) -> None:
        """Make `branch` where only the remote has it, so that pulls move it. (One that is checked
        out and has no commit yet is made by `git pull`, with its files.)"""
        if self._checked_out(branch):
            return
        self._references.track(branch)
        self._settings.clear()

    def upstream(self, branch: str) -> str:
        """The commit where the remote's branch was last seen, '' before the first fetch, or when
        it is gone."""
        reference = self._references.upstream(branch)
        return self._references.at(reference) if reference else ''

    def local(self, branch: str) -> str:
        """The commit that `branch` is at here, '' when it is not there."""
        return self._references.at(f'refs/heads/{branch}')

    def fork_point(self, branch: str) -> str:
        """The newest commit that `branch` took over from the remote's branch; see References."""
        return self._references.fork_point(branch)

    def fetch(self, remote: str) -> None:
        """Ask `remote` what is new. In a partial clone too all of it comes at once: the remote
        then knows the image that is here, and sends a delta of kilobytes where fetching the new
        one alone, when it is read, takes megabytes."""
        # A hostile .gitmodules in the work tree would make git refuse to fetch at all.
        with objects.ended_after(min(FETCH, objects.PATIENCE)):
            self._run('fetch', '--quiet', '--no-filter', '--no-recurse-submodules', remote)

    def references(self) -> str:
        """Every reference and what it is at."""
        return self._run('for-each-ref', '--format=%(refname) %(objectname)')

    @bounded
    def contains(self, commit: str, ancestor: str) -> bool:
        status, said = self._status('merge-base', '--is-ancestor', ancestor, commit)
        if status not in (0, 1):
            raise discovery.complaint(said, self.folder)
        return status == 0

    @bounded
    def merge(self, branch: str) -> str:
        """Take in what was fetched, as the user's `git pull` would; what its hooks say. Ours leave
        the converging to the caller."""
        if self._lost:
            raise errors.Refused(
                f'{self.folder} does not say where its work tree is',
                hint='name the work tree, not its git directory, with -C',
            )
        if self.bare:
            self._run('update-ref', f'refs/heads/{branch}', self.upstream(branch))
        elif self._checked_out(branch):
            return self._heard('pull', '--quiet', '--no-edit', '--no-recurse-submodules')
        else:
            came = self._references.upstream(branch)
            self._run('fetch', '--quiet', '--no-recurse-submodules', '.',
                      f'{came}:refs/heads/{branch}')
        return ''

    @bounded
    def rewind(self, branch: str, commit: str) -> None:
        """Move `branch` to `commit`; changes in the work tree are kept or stop it."""
        if not self.bare and self._checked_out(branch):
            self._run('reset', '--quiet', '--keep', commit)
        else:
            self._run('update-ref', f'refs/heads/{branch}', commit)

    def _checked_out(self, branch: str) -> bool:
        return self._references.on() == branch

    def _heard(self, *arguments: str) -> str:
        """What a git command and its hooks print next to its output; ours leave the rest to us."""
        try:
            _, _, said = self._git.execute(
                ['git', *arguments], with_extended_output=True, env={caller.PULLING: '1'}
            )
            return str(said).strip()
        except git.exc.GitCommandError as error:
            raise _said(error, self.folder) from None

    def _asked(self, *arguments: str) -> tuple[int, str]:
        """The exit code and the words of a git command that sees history as it was signed."""
        return self._status(*arguments, env=SIGNED)

    def _status(self, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        status, printed, said = self._git.execute(
            ['git', *arguments], with_extended_output=True, with_exceptions=False, env=env
        )
        return int(status), f'{printed}{said}'.strip()

    def _run(self, *arguments: str, absent: int | None = None) -> str:
        """What a git command prints, '' when it ends with `absent`."""
        try:
            return str(self._git.execute(['git', *arguments]))
        except git.exc.GitCommandError as error:
            if error.status == absent:
                return ''
            raise _said(error, self.folder) from None

    def _entry(self, commit: str, path: str, pointer: str = '') -> Entry:
        return tree.named(self._list_tree(commit, '--', path), commit, path, pointer)

    def _list(self, commit: str, folder: str) -> list[Entry]:
        return self._list_tree(commit, '--', f'{folder}/')

    def _list_tree(self, commit: str, *paths: str) -> list[Entry]:
        # --literal-pathspecs: a path with * or :( in it means itself.
        raw = self._objects.output(
            '--literal-pathspecs', 'ls-tree', '-z', '--full-tree', commit, *paths,
            what=f'the list of files in commit {commit[:12]}',
        )
        return [tree.parsed(line) for line in raw.split(b'\0') if line]

    def _head(self, entry: Entry, limit: int | None) -> bytes:
        """The first bytes of a file that may be an image or a pointer."""
        first = tree.POINTER_LIMIT + 1
        if entry.kind != 'blob':
            head = b''
        else:
            with self.open(entry.oid, limit, entry.path) as stream:
                head = stream.read(first)
        tree.check(entry, head)
        return head


def _said(error: git.exc.GitCommandError, folder: Path) -> errors.Refused:
    text = str(error.stderr).strip().removeprefix("stderr: '").removesuffix("'")
    return discovery.complaint(text or str(error), folder)
