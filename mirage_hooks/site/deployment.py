"""A deployment repository elsewhere, through GitPython: cloned without history, blobs or work tree,
and added to.

Apart from repository.py, which reads the repository of this host and never writes to it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import git
import git.exc
import msgspec

from ..messages import errors
from ..messages.report import masked
from . import checkout, replies

FILTER = '--filter=blob:none'
PROGRAM, PLAIN = '100755', '100644'  # modes of files


class Raced(Exception):
    """Somebody else pushed meanwhile: refresh, build the commit anew, push again."""


class Declined(errors.Refused):
    """The other side does not take the push; `answer` is what it said, line by line."""

    def __init__(self, reason: str, hint: str, answer: tuple[str, ...]) -> None:
        super().__init__(reason, hint)
        self.answer = answer


class File(msgspec.Struct, frozen=True):
    """What stands at a path of a tree."""

    mode: str
    oid: str


class Pushed(msgspec.Struct, frozen=True):
    commit: str
    answer: tuple[str, ...]
    """What the other side said, line by line; not to be trusted with a terminal."""


class Deployment:
    """A bare, shallow, blobless clone of `url` in `folder`. A server that cannot filter or cut
    history sends all of it, and everything works the same."""

    def __init__(
        self, url: str, folder: Path, *, branch: str = '', whole: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url
        self.folder = folder
        self.shown = masked(url)
        self._depth = () if whole else ('--depth=1',)
        self._environment = {**(environment or {}), 'GIT_DIR': str(folder)}
        self._personal = checkout.personal()
        self._here: set[str] = set()  # blobs that need no fetching
        self.branch = self._clone(branch)
        self.tip = self._tip()

    def _clone(self, branch: str) -> str:
        """The branch that was asked for, or the one that the other side's HEAD is on."""
        # The name of the remote by a setting: older gits refuse --origin beside --bare.
        command = ['git', '-c', 'clone.defaultRemoteName=origin', 'clone', '--bare', '--quiet',
                   '--no-tags', '--no-local', '--single-branch', '--template=']
        named = [f'--branch={branch}'] if branch else []
        where = ['--', self.url, str(self.folder)]
        try:
            self._run([*command, *self._depth, FILTER, *named, *where])
        except git.exc.GitCommandError as error:
            if not branch or f'Remote branch {branch} not found' not in _said(error):
                raise self._unavailable(error) from None
            self._run_or_tell([*command, *self._depth, FILTER, *where])
        return branch or self._run(['git', 'symbolic-ref', '--short', 'HEAD'])

    def _tip(self) -> str:
        """The commit that the branch is at, '' when it does not exist yet."""
        return self._run(['git', 'for-each-ref', '--format=%(objectname)',
                          f'refs/heads/{self.branch}'])

    def others(self) -> tuple[str, ...]:
        """The other side's branches beside this one."""
        listed = self._run_or_tell(['git', 'ls-remote', '--heads', 'origin'])
        names = (line.partition('\trefs/heads/')[2] for line in listed.split('\n'))
        return tuple(name for name in names if name not in ('', self.branch))

    def refresh(self) -> None:
        """Learn what the branch is at now."""
        reference = f'refs/heads/{self.branch}'
        try:
            self._run(['git', 'fetch', '--quiet', '--no-tags', *self._depth, FILTER, 'origin',
                       f'+{reference}:{reference}'])
        except git.exc.GitCommandError as error:
            if "couldn't find remote ref" not in _said(error):
                raise self._unavailable(error) from None
        self.tip = self._tip()

    def files(self, commit: str = '') -> dict[str, File]:
        """Every file of `commit`, by default the tip, by path."""
        commit = commit or self.tip
        if not commit:
            return {}
        listed = self._run_or_tell(['git', 'ls-tree', '-r', '-z', '--full-tree', commit])
        found = {}
        for line in filter(None, listed.split('\0')):
            facts, _, path = line.partition('\t')
            mode, _, oid = facts.split(' ')
            found[path] = File(mode, oid)
        return found

    def read(self, oid: str) -> bytes:
        """A small blob, fetched now if need be."""
        try:
            raw: bytes = git.cmd.Git().execute(
                ['git', 'cat-file', 'blob', oid], env=self._environment, stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        except git.exc.GitCommandError as error:
            raise self._unavailable(error) from None
        return raw

    def fetch(self, oids: Iterable[str]) -> None:
        """Bring blobs here in one request; what does not come that way `read` gets one by one."""
        missing = sorted(set(oids) - self._here)
        if not missing:
            return
        with contextlib.suppress(git.exc.GitCommandError):
            self._run(
                ['git', '-c', 'fetch.negotiationAlgorithm=noop', 'fetch', '--quiet', '--no-tags',
                 '--no-write-fetch-head', FILTER, 'origin', '--stdin'],
                given=''.join(f'{oid}\n' for oid in missing).encode(),
            )
            self._here.update(missing)

    def deepen(self) -> None:
        """Bring the whole history here, still without blobs."""
        if (self.folder / 'shallow').exists():
            self._run_or_tell(['git', 'fetch', '--quiet', '--no-tags', '--unshallow', FILTER,
                               'origin'])
        self._depth = ()

    def log(self, *arguments: str) -> str:
        """`git log` of the branch; `arguments` choose what of it."""
        # A rename is looked for in blobs, which are not here.
        plain = ('-c', 'core.quotePath=false', '-c', 'log.showSignature=false')
        command = ['git', *plain, 'log', '--no-renames', *arguments]
        return self._run_or_tell([*command, self.tip, '--'], environment={'TZ': 'UTC'})

    def write(self, content: bytes | IO[bytes]) -> str:
        """Store a blob; the name that git has for it."""
        oid = self._run_or_tell(['git', 'hash-object', '-w', '--stdin'], given=content)
        self._here.add(oid)
        return oid

    def commit(
        self, message: str, changes: Mapping[str, File | None], *, onto: str = '',
        parents: tuple[str, ...] | None = None, environment: Mapping[str, str] | None = None,
    ) -> str:
        """A commit with `onto`'s tree (by default the tip's) but for `changes`, None removing."""
        onto = onto or self.tip
        parents = parents if parents is not None else tuple(filter(None, (self.tip,)))
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            index = {'GIT_INDEX_FILE': f'{place}/index'}
            if onto:
                self._run_or_tell(['git', 'read-tree', onto], environment=index)
            self._run_or_tell(['git', 'update-index', '-z', '--index-info'],
                              given=self._index(changes), environment=index)
            # The blobs of older releases are elsewhere, and may stay there.
            tree = self._run_or_tell(['git', 'write-tree', '--missing-ok'], environment=index)
        signed = ['-S'] if self.signs() else []
        known = [word for parent in parents for word in ('-p', parent)]
        try:
            return self._run(
                ['git', *self._personal, 'commit-tree', *signed, *known, tree],
                given=message.encode(), environment={**self._identity(), **(environment or {})},
            )
        except git.exc.GitCommandError as error:
            lines = _said(error).split('\n')
            raise errors.Refused(
                f'git does not make the commit: {"; ".join(lines)}',
                hint='commit.gpgsign is on: is the key there, and may it be used here?'
                if signed else '',
            ) from None

    def signs(self) -> bool:
        """Whether git is told to sign commits; raises Refused when it is told nonsense."""
        try:
            return self._run(['git', *self._personal, 'config', '--type=bool', '--default=false',
                              '--get', 'commit.gpgsign']) == 'true'
        except git.exc.GitCommandError as error:
            raise errors.Refused(f'git: {replies.why(_said(error))}') from None

    def push(self, commit: str, *, backup: str = '') -> Pushed:
        """Make the branch `commit`. With `backup` what the branch was goes to that reference and
        may be rewritten. Raises Raced, or Refused with what the other side said."""
        reference = f'refs/heads/{self.branch}'
        wanted = [f'{commit}:{reference}']
        lease = []
        if backup:
            wanted.append(f'{self.tip}:{backup}')
            lease = ['--atomic', f'--force-with-lease={reference}:{self.tip}']
        # A thin pack would want the old image here first, as a base; hooks are not for this push.
        plain = ['--porcelain', '--no-thin', '--no-verify']
        command = ['git', 'push', *plain, *lease, 'origin', *wanted]
        status, out, err = git.cmd.Git().execute(
            command, env=self._environment, with_extended_output=True, with_exceptions=False
        )
        said = tuple(replies.remote(str(err)))
        if status == 0:
            self._run_or_tell(['git', 'update-ref', reference, commit])
            return Pushed(commit, said)
        reasons = replies.reasons(str(out))
        before = self.tip
        if reasons:
            self.refresh()
        if reasons and (self.tip != before or replies.raced(reasons)):
            raise Raced
        raise self._refused(reasons, said, str(err))

    def _refused(self, reasons: list[str], lines: tuple[str, ...], err: str) -> errors.Refused:
        if not reasons:
            why = masked(replies.why(err))
            return errors.Unavailable(f'cannot push to {self.shown}: {why}', hint=replies.hint(err))
        # What is pushed beside what was rejected is rejected for that alone.
        why = next((reason for reason in reasons if 'atomic' not in reason), reasons[0])
        return Declined(
            f'{self.shown} refuses the push: {why}',
            hint=replies.hint('\n'.join((why, *lines))), answer=lines,
        )

    def _index(self, changes: Mapping[str, File | None]) -> bytes:
        """`changes` as `update-index --index-info` reads them."""
        nothing = '0' * (len(self.tip) or 40)
        lines = (f'{file.mode} {file.oid}\t{path}' if file else f'0 {nothing}\t{path}'
                 for path, file in changes.items())
        return b''.join(os.fsencode(line) + b'\0' for line in lines)

    def _identity(self) -> dict[str, str]:
        """Who commits, where git cannot tell, as on a fresh CI machine."""
        try:
            self._run(['git', *self._personal, 'var', 'GIT_COMMITTER_IDENT'])
            return {}
        except git.exc.GitCommandError:
            who = {'NAME': 'mirage-hooks publish', 'EMAIL': 'mirage-hooks@localhost'}
            return {f'GIT_{role}_{key}': os.environ.get(f'GIT_{role}_{key}') or value
                    for role in ('AUTHOR', 'COMMITTER') for key, value in who.items()}

    def _run(
        self, command: list[str], given: bytes | IO[bytes] = b'',
        environment: Mapping[str, str] | None = None,
    ) -> str:
        with contextlib.ExitStack() as stack:
            if isinstance(given, bytes):
                content = given
                given = stack.enter_context(tempfile.TemporaryFile())
                given.write(content)
                given.seek(0)
            stream: Any = given  # GitPython's types know it as a BinaryIO only
            return str(git.cmd.Git().execute(
                command, istream=stream, env={**self._environment, **(environment or {})}
            ))

    def _run_or_tell(
        self, command: list[str], given: bytes | IO[bytes] = b'',
        environment: Mapping[str, str] | None = None,
    ) -> str:
        try:
            return self._run(command, given, environment)
        except git.exc.GitCommandError as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: git.exc.GitCommandError) -> errors.Unavailable:
        return errors.Unavailable(
            f'{self.shown}: {masked(replies.why(_said(error)))}',
            hint=replies.hint(_said(error)),
        )


def _said(error: git.exc.GitCommandError) -> str:
    return str(error.stderr).strip().removeprefix("stderr: '").removesuffix("'").strip()
