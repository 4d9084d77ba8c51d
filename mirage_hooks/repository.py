"""The deployment repository, read through GitPython: commits, trees and blobs, never the work tree.

Everything that comes out of it is hostile until parsed."""

from __future__ import annotations

import contextlib
import functools
import re
import shlex
from collections.abc import Callable, Iterator
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import git
import git.exc
from gitdb.exc import BadName, BadObject

from . import alarm, errors, model, settled, tree
from .tree import Entry

PATIENCE = 900.0  # seconds for one question to git, which may have to ask a remote
FETCH = 120.0  # seconds for a fetch: what has not come by then is the next cron run's

# History as it was signed: without the operator's grafts, and no shallow boundary taken for a root.
SIGNED = {'GIT_GRAFT_FILE': '', 'GIT_SHALLOW_FILE': ''}


_FOREIGN = re.compile('dubious ownership|unsafe repository')  # the latter before git 2.36

Asking = TypeVar('Asking', bound=Callable[..., Any])


def _bounded(ask: Asking) -> Asking:
    """`ask`, whose git commands are given up after PATIENCE: one that hangs must not hold the lock
    for ever, nor let cron's ticks pile up behind it."""
    @functools.wraps(ask)
    def asked(*arguments: Any, **named: Any) -> Any:
        with _ended_after(PATIENCE):
            return ask(*arguments, **named)

    return asked  # type: ignore[return-value]


@contextlib.contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    try:
        with alarm.within(seconds):
            yield
    except alarm.Late:
        raise errors.Unavailable(
            f'git took more than {seconds:g} s, and was ended',
            hint='is its remote reachable, and its disk well?',
        ) from None


class _Whole(RawIOBase):
    """A blob's stream that raises Unavailable when git ends before the blob does: a part of an
    image must not pass for the whole."""

    def __init__(self, stream: BinaryIO, size: int, oid: str) -> None:
        self.stream, self.left, self.oid = stream, size, oid

    def readable(self) -> bool:
        return True

    @_bounded
    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(min(len(buffer), self.left)) if self.left else b''
        if not data and self.left:
            raise errors.Unavailable(f'git ended in the middle of object {self.oid[:12]}')
        buffer[: len(data)] = data
        self.left -= len(data)
        return len(data)


class Repository:
    """A clone or a bare repository at `path`; raises Refused when there is none."""

    def __init__(self, path: Path) -> None:
        try:
            found = git.Repo(path, search_parent_directories=True)
            # A linked work tree has a HEAD of its own; what should run is the same from each.
            linked = Path(found.git_dir).resolve() != Path(found.common_dir).resolve()
            self._git = git.Repo(found.common_dir) if linked else found
        except git.exc.NoSuchPathError:
            raise errors.Refused(f'{path} does not exist') from None
        except git.exc.InvalidGitRepositoryError:
            raise errors.Refused(
                f'{path} is not a git repository', hint='give a clone or a bare repository with -C'
            ) from None
        # A push may bring refs/replace/…, which would stand in for the commit that was verified.
        self._git.git.update_environment(GIT_NO_REPLACE_OBJECTS='1')
        self.folder = Path(self._git.working_tree_dir or self._git.git_dir).resolve()
        self.bare = self._git.working_tree_dir is None
        self.git_dir = Path(self._git.common_dir).resolve()
        self.state = self.git_dir / 'mirage-hooks'
        self._settings: dict[str, str] = {}
        if not self.bare and not (self.folder / '.git').exists():  # git init --separate-git-dir
            self._git.git.update_environment(GIT_DIR=str(self.git_dir))

    def require_own(self) -> None:
        """Raise Refused when git refuses the repository as another user's: nothing in it may be
        believed then, its state least of all."""
        _, said = self._asked('rev-parse', '--git-dir')
        if _FOREIGN.search(said):
            raise _foreign(self.folder)

    def setting(self, key: str) -> str:
        """The value of `key` in git's configuration, '' when it is not set; asked once."""
        if key not in self._settings:
            try:
                self._settings[key] = str(self._git.git.config('--get', key))
            except git.exc.GitCommandError as error:
                if error.status != 1:
                    raise _said(error, self.folder) from None
                self._settings[key] = ''
        return self._settings[key]

    def configure(self, key: str, value: str) -> None:
        """Set `key` in the repository's own configuration; '' takes it out."""
        arguments = (key, value) if value else ('--unset-all', key)
        try:
            self._git.git.config('--local', *arguments)
            self._settings.clear()
        except git.exc.GitCommandError as error:
            if value or error.status != 5:  # 5: it was not there
                raise _said(error, self.folder) from None

    def hooks(self) -> Path:
        """The folder whose hooks git runs here; raises Refused when it is not this repository's
        alone, or a push could write into it."""
        try:
            self._git.git.rev_parse('--git-dir')  # `git config` would not mention another owner
        except git.exc.GitCommandError as error:
            raise _said(error, self.folder) from None
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
        names = [str(head.name) for head in self._git.heads]
        on = self._git.head.reference.name if not self._git.head.is_detached else ''
        return sorted(names, key=lambda name: (name != on, name))

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
            image = self.find(commit, '-', model.Unikernel(image=path)).path
        except errors.Refused:
            return ''
        stem = tree.parts(Entry('100755', 'blob', '', image))[0].removeprefix('mir-')
        return stem if re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9._-]{0,39}', stem) else ''

    def config_path(self) -> Path:
        """The host's mirage.yml, which `git config mirage.config` names."""
        named = self.setting('mirage.config')
        if not named:
            self._run('rev-parse', '--git-dir')  # `git config` is silent about another owner
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
        try:
            return str(self._git.head.reference.name)
        except TypeError:
            raise errors.Refused(
                f'{self.folder} is on no branch (detached HEAD)',
                hint='name the branch to deploy in mirage.yml: branch: master',
            ) from None

    def head(self) -> str:
        """What HEAD holds, as in its file."""
        return (self.git_dir / 'HEAD').read_text().strip()

    def revision(self, branch: str) -> str:
        """The reference that holds `branch`: the local one, else the only remote's."""
        local = f'refs/heads/{branch}'
        if self._has(local):
            return local
        tracked = [
            f'refs/remotes/{remote.name}/{branch}' for remote in self._git.remotes
            if self._has(f'refs/remotes/{remote.name}/{branch}')
        ]
        return tracked[0] if len(tracked) == 1 else local

    def _has(self, reference: str) -> bool:
        try:
            return bool(self._run('rev-parse', '--verify', '--quiet', f'{reference}^{{commit}}'))
        except errors.Refused:
            return False

    @_bounded
    def commit(self, branch: str) -> str:
        """The commit that `branch` is at; raises Refused when it has none."""
        try:
            return str(self._git.commit(self.revision(branch)).hexsha)
        except (BadName, BadObject, ValueError, OSError, git.exc.GitCommandError) as error:
            if isinstance(error, git.exc.GitCommandError):
                raise _said(error, self.folder) from None
            if isinstance(error, OSError):
                raise errors.Unavailable(
                    f'git ended when it was asked for branch {branch}: {error.strerror}'
                ) from None
        if self.setting('extensions.objectFormat') == 'sha256':
            raise errors.Refused(
                f'{self.folder} names its objects by SHA-256, which cannot be read yet',
                hint='make it anew with git init --object-format=sha1',
            )
        names = ', '.join(head.name for head in self._git.heads) or 'it is empty'
        raise errors.Refused(
            f'{self.folder} has no branch {branch} ({names})',
            hint='push it, or name another in mirage.yml: branch: …',
        )

    @_bounded
    def subject(self, commit: str) -> str:
        """The first line of the commit's message."""
        return str(self._git.commit(commit).summary)

    @_bounded
    def author(self, commit: str) -> str:
        """Who the commit says wrote it."""
        return self._run(
            '-c', 'log.showSignature=false', 'show', '--no-patch', '--format=%an <%ae>', commit
        )

    @_bounded
    def descends(self, commit: str, ancestor: str) -> bool:
        """Whether `commit` contains `ancestor`, by the history as it was signed."""
        status, said = self._asked('merge-base', '--is-ancestor', ancestor, commit)
        if status not in (0, 1):
            raise errors.Unavailable(
                f'git cannot follow the history of {commit[:12]} back to {ancestor[:12]}: {said}',
                hint='a shallow clone lacks it: git fetch --unshallow',
            )
        return status == 0

    @_bounded
    def between(self, ancestor: str, commit: str) -> list[str]:
        """The commits that `commit` has and `ancestor` has not, oldest first, by every parent."""
        status, said = self._asked('rev-list', '--topo-order', '--reverse', commit, f'^{ancestor}')
        if status != 0:
            raise errors.Unavailable(
                f'git cannot list the commits from {ancestor[:12]} to {commit[:12]}: {said}',
                hint='a shallow clone lacks some: git fetch --unshallow',
            )
        return said.split()

    @_bounded
    def signature(self, commit: str) -> str:
        """What kind of signature `commit` has: SSH, PGP, SIGNED (X.509), '' for none."""
        head = self._run('cat-file', 'commit', commit).partition('\n\n')[0]
        found = re.search(r'^gpgsig(?:-sha256)? -----BEGIN (\w+)', head, re.M)
        return found[1] if found else ''

    @_bounded
    def verify(self, commit: str, settings: tuple[str, ...]) -> tuple[bool, str]:
        """Whether `git verify-commit` accepts `commit` when configured by `settings`, and the raw
        words of the program that verified."""
        chosen = (word for setting in settings for word in ('-c', setting))
        status, said = self._asked(*chosen, 'verify-commit', '--raw', commit)
        return status == 0, said

    @_bounded
    def raw(self, commit: str, limit: int) -> bytes:
        """The bytes of `commit`, which git names by them; raises Refused for more than `limit`."""
        size = int(self._run('cat-file', '-s', commit))
        if size > limit:
            raise errors.Refused(
                f'commit {commit[:12]} has {size} bytes; {limit} are read',
                hint='make it anew with a shorter message, and push again',
            )
        return self._signed('cat-file', 'commit', commit)

    @_bounded
    def links(self, commit: str) -> tuple[str, ...]:
        """The tree and the parents that git follows from `commit`."""
        said = self._signed('rev-list', '--no-walk', '--format=%T %P', commit)
        return tuple(said.decode('ascii').split()[2:])  # after `commit` and its name

    @_bounded
    def find(self, commit: str, unikernel: str, wanted: model.Unikernel) -> model.Found:
        """The blob that `wanted.image` means in `commit`; raises Refused, naming what is wrong."""
        path = tree.inside(wanted.image, f'{unikernel}.image')
        entry = self._entry(commit, path)
        head = self._head(entry)
        if head.startswith(tree.MAGIC):
            return model.Found(commit, path, entry.oid, read=(tree.line(entry),))
        folder = tree.pointed(entry, head)
        target = self._entry(commit, folder, pointer=path)
        if target.kind == 'blob':
            self._head(target)
            return model.Found(commit, folder, target.oid, (tree.line(entry), tree.line(target)))
        image, notice = tree.choose(self._list(commit, folder), folder, unikernel, wanted.target)
        self._head(image)
        read = (tree.line(entry), tree.line(target))
        return model.Found(commit, image.path, image.oid, read, notice)

    @_bounded
    def open(self, oid: str) -> BinaryIO:
        """The bytes of blob `oid` as a stream. In a partial clone git fetches it now."""
        try:
            stream = self._git.odb.stream(bytes.fromhex(oid))
            return BufferedReader(_Whole(stream, int(stream.size), oid))
        except (ValueError, BadObject, OSError, git.exc.GitCommandError):
            raise errors.Unavailable(
                f'git cannot read object {oid[:12]}',
                hint='in a partial clone it comes from the remote: is that reachable? '
                '`git fsck` checks a whole one',
            ) from None

    @_bounded
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
        held = self.revision(branch)
        if held.startswith('refs/remotes/'):
            self._run('branch', '--quiet', '--track', branch, held.removeprefix('refs/remotes/'))
            self._settings.clear()

    def upstream(self, branch: str) -> str:
        """The commit where the remote's branch was last seen, '' before the first fetch, or when
        it is gone."""
        return self._at(f'{branch}@{{upstream}}')

    def local(self, branch: str) -> str:
        """The commit that `branch` is at here, '' when it is not there."""
        return self._at(f'refs/heads/{branch}')

    def _at(self, name: str) -> str:
        try:
            return self._run('rev-parse', '--verify', '--quiet', name)
        except errors.Refused:
            return ''

    def fork_point(self, branch: str) -> str:
        """The newest commit that `branch` took over from the remote's branch, by the latter's
        reflog; '' when there is none, as in a bare repository."""
        try:
            return self._run('merge-base', '--fork-point', f'{branch}@{{upstream}}', branch)
        except errors.Refused:
            return ''

    def fetch(self, remote: str) -> None:
        """Ask `remote` what is new. In a partial clone too all of it comes at once: the remote
        then knows the image that is here, and sends a delta of kilobytes where fetching the new
        one alone, when it is read, takes megabytes."""
        # A hostile .gitmodules in the work tree would make git refuse to fetch at all.
        with _ended_after(min(FETCH, PATIENCE)):
            self._run('fetch', '--quiet', '--no-filter', '--no-recurse-submodules', remote)

    def references(self) -> str:
        """Every reference and what it is at."""
        return self._run('for-each-ref', '--format=%(refname) %(objectname)')

    @_bounded
    def contains(self, commit: str, ancestor: str) -> bool:
        return bool(self._git.is_ancestor(self._git.commit(ancestor), self._git.commit(commit)))

    @_bounded
    def merge(self, branch: str) -> str:
        """Take in what was fetched, as the user's `git pull` would; what its hooks say. Ours leave
        the converging to the caller."""
        if self.bare:
            self._run('update-ref', f'refs/heads/{branch}', self.upstream(branch))
        elif self._checked_out(branch):
            return self._heard('pull', '--quiet', '--no-edit', '--no-recurse-submodules')
        else:
            came = self._run('rev-parse', '--symbolic-full-name', f'{branch}@{{upstream}}')
            self._run('fetch', '--quiet', '--no-recurse-submodules', '.',
                      f'{came}:refs/heads/{branch}')
        return ''

    @_bounded
    def rewind(self, branch: str, commit: str) -> None:
        """Move `branch` to `commit`; changes in the work tree are kept or stop it."""
        if not self.bare and self._checked_out(branch):
            self._run('reset', '--quiet', '--keep', commit)
        else:
            self._run('update-ref', f'refs/heads/{branch}', commit)

    def _checked_out(self, branch: str) -> bool:
        head = self._git.head
        return not head.is_detached and head.reference.name == branch

    def _heard(self, *arguments: str) -> str:
        """What a git command and its hooks print beside its output; ours leave the rest to us."""
        try:
            _, _, said = self._git.git.execute(
                ['git', *arguments], with_extended_output=True, env={settled.PULLING: '1'}
            )
            return str(said).strip()
        except git.exc.GitCommandError as error:
            raise _said(error, self.folder) from None

    def _asked(self, *arguments: str) -> tuple[int, str]:
        """The exit code and the words of a git command that sees history as it was signed."""
        status, printed, said = self._git.git.execute(
            ['git', *arguments], with_extended_output=True, with_exceptions=False, env=SIGNED
        )
        return int(status), f'{printed}{said}'.strip()

    def _signed(self, *arguments: str) -> bytes:
        """What a git command prints that sees history as it was signed."""
        try:
            return bytes(self._git.git.execute(
                ['git', *arguments], env=SIGNED, stdout_as_string=False,
                strip_newline_in_stdout=False,
            ))
        except git.exc.GitCommandError as error:
            raise _said(error, self.folder) from None

    def _run(self, *arguments: str) -> str:
        try:
            return str(self._git.git.execute(['git', *arguments]))
        except git.exc.GitCommandError as error:
            raise _said(error, self.folder) from None

    def _entry(self, commit: str, path: str, pointer: str = '') -> Entry:
        return tree.named(self._list_tree(commit, '--', path), commit, path, pointer)

    def _list(self, commit: str, folder: str) -> list[Entry]:
        return self._list_tree(commit, '--', f'{folder}/')

    def _list_tree(self, commit: str, *paths: str) -> list[Entry]:
        try:
            # --literal-pathspecs: a path with * or :( in it means itself.
            raw = self._git.git.execute(
                ['git', '--literal-pathspecs', 'ls-tree', '-z', '--full-tree', commit, *paths],
                stdout_as_string=False, strip_newline_in_stdout=False,
            )
        except git.exc.GitCommandError as error:
            raise _said(error, self.folder) from None
        return [tree.parsed(line) for line in raw.split(b'\0') if line]

    def _head(self, entry: Entry) -> bytes:
        """The first bytes of a file that may be an image or a pointer."""
        first = tree.POINTER_LIMIT + 1
        head = self.open(entry.oid).read(first) if entry.kind == 'blob' else b''
        tree.check(entry, head)
        return head


def _said(error: git.exc.GitCommandError, folder: Path) -> errors.Refused:
    text = str(error.stderr).strip().removeprefix("stderr: '").removesuffix("'")
    lock = re.search(r"Unable to create '(.+\.lock)': File exists", text)
    if lock:
        return errors.Unavailable(
            f'git: {lock[0]}',
            hint=f'if no git runs in {folder}, one that was killed left it: '
            f'rm {shlex.quote(lock[1])}',
        )
    if _FOREIGN.search(text):
        return _foreign(folder)
    return errors.Unavailable(f'git: {_gist(text) or error}')


def _foreign(folder: Path) -> errors.Refused:
    return errors.Refused(
        f'git refuses {folder}: it belongs to another user',
        hint=f'git config --global --add safe.directory {shlex.quote(str(folder))}',
    )


def _gist(text: str) -> str:
    """The line of git's many that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for index, line in enumerate(lines):
        if line.startswith(('fatal: ', 'error: ')):
            more = lines[index + 1 : index + 2] if line.endswith(':') else []
            return ' '.join([line.partition(': ')[2], *more])
    return lines[0] if lines else ''
