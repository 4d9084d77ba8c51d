"""A deployment repository elsewhere: cloned without history, blobs or work tree, and read.

Apart from git/repository.py, which reads the repository of this host and never writes to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import git
import git.exc
import msgspec

from ..messages import errors
from . import checkout, plumbing

FILTER = '--filter=blob:none'
PROGRAM, PLAIN = '100755', '100644'  # modes of files


class File(msgspec.Struct, frozen=True):
    """What stands at a path of a tree."""

    mode: str
    oid: str


class Deployment:
    """A bare, shallow, blobless clone of `url` in `folder`. A server that cannot filter or cut
    history sends all of it, and everything works the same."""

    def __init__(
        self, url: str, folder: Path, *, branch: str = '', whole: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url
        self.folder = folder
        self._depth = () if whole else ('--depth=1',)
        self.git = plumbing.Plumbing(url, folder, environment or {})
        self.shown = self.git.shown
        self.personal = checkout.personal()
        self._here: set[str] = set()  # blobs that need no fetching
        self.branch = self._clone(branch)
        self.tip = self._tip()

    def _clone(self, branch: str) -> str:
        """The branch that was asked for, or the one that the other side's HEAD is on."""
        # The name of the remote by a setting: older gits refuse --origin next to --bare.
        command = ['git', '-c', 'clone.defaultRemoteName=origin', 'clone', '--bare', '--quiet',
                   '--progress', '--no-tags', '--no-local', '--single-branch', '--template=']
        named = [f'--branch={branch}'] if branch else []
        where, act = ['--', self.url, str(self.folder)], f'cloning {self.shown}'
        try:
            self.git.run([*command, *self._depth, FILTER, *named, *where], doing=act)
        except git.exc.GitCommandError as error:
            if not branch or f'Remote branch {branch} not found' not in plumbing.said(error):
                raise self.git.unavailable(error) from None
            self.git.told([*command, *self._depth, FILTER, *where], doing=act)
        return branch or self.git.run(['git', 'symbolic-ref', '--short', 'HEAD'])

    def _tip(self) -> str:
        """The commit that the branch is at, '' when it does not exist yet."""
        return self.git.run(['git', 'for-each-ref', '--format=%(objectname)',
                             f'refs/heads/{self.branch}'])

    def others(self) -> tuple[str, ...]:
        """The other side's other branches."""
        listed = self.git.told(['git', 'ls-remote', '--heads', 'origin'])
        names = (line.partition('\trefs/heads/')[2] for line in listed.split('\n'))
        return tuple(name for name in names if name not in ('', self.branch))

    def refresh(self) -> None:
        """Learn what the branch is at now."""
        reference = f'refs/heads/{self.branch}'
        try:
            self.git.run(['git', 'fetch', '--quiet', '--no-tags', *self._depth, FILTER, 'origin',
                          f'+{reference}:{reference}'])
        except git.exc.GitCommandError as error:
            if "couldn't find remote ref" not in plumbing.said(error):
                raise self.git.unavailable(error) from None
        self.tip = self._tip()

    def fetched(self, branch: str) -> str:
        """The commit that the other side's `branch` is at, which is here now; raises Refused when
        there is none."""
        reference = f'refs/heads/{branch}'
        try:
            self.git.run(['git', 'fetch', '--quiet', '--no-tags', FILTER, 'origin',
                          f'+{reference}:refs/fetched/{branch}'])
        except git.exc.GitCommandError as error:
            if "couldn't find remote ref" not in plumbing.said(error):
                raise self.git.unavailable(error) from None
            others = (name for name in (self.branch, *self.others()) if name != branch)
            raise errors.Refused(f'{self.shown} has no branch {branch}',
                                 hint=f'it has {", ".join(others)}') from None
        return self.git.run(['git', 'rev-parse', '--verify', f'refs/fetched/{branch}'])

    def follows(self, later: str, earlier: str) -> bool:
        """Whether the commit `later` contains `earlier`, in a clone of the whole history."""
        found = self.git.told(['git', 'rev-list', '--max-count=1', earlier, f'^{later}', '--'])
        return not found

    def files(self, commit: str = '') -> dict[str, File]:
        """Every file of `commit`, by default the tip, by path."""
        commit = commit or self.tip
        if not commit:
            return {}
        listed = self.git.told(['git', 'ls-tree', '-r', '-z', '--full-tree', commit])
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
                ['git', 'cat-file', 'blob', oid], env=self.git.environment, stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        except git.exc.GitCommandError as error:
            raise self.git.unavailable(error) from None
        return raw

    def fetch(self, oids: Iterable[str]) -> None:
        """Bring blobs here in one request; what does not come that way `read` gets one by one."""
        missing = sorted(set(oids) - self._here)
        if not missing:
            return
        with contextlib.suppress(git.exc.GitCommandError):
            self.git.run(
                ['git', '-c', 'fetch.negotiationAlgorithm=noop', 'fetch', '--quiet', '--no-tags',
                 '--no-write-fetch-head', FILTER, 'origin', '--stdin'],
                given=''.join(f'{oid}\n' for oid in missing).encode(),
            )
            self._here.update(missing)

    def deepen(self) -> None:
        """Bring the whole history here, still without blobs."""
        if (self.folder / 'shallow').exists():
            self.git.told(['git', 'fetch', '--quiet', '--no-tags', '--unshallow', FILTER,
                               'origin'])
        self._depth = ()

    def log(self, *arguments: str) -> str:
        """`git log` of the branch; `arguments` choose what of it."""
        # A rename is looked for in blobs, which are not here.
        plain = ('-c', 'core.quotePath=false', '-c', 'log.showSignature=false')
        command = ['git', *plain, 'log', '--no-renames', *arguments]
        return self.git.told([*command, self.tip, '--'], environment={'TZ': 'UTC'})

    def write(self, content: bytes | IO[bytes]) -> str:
        """Store a blob; the name that git has for it."""
        # Beyond that size git packs it once, as it reads: the push then sends it as it is.
        packed = ['git', '-c', 'core.bigFileThreshold=1m', 'hash-object', '-w', '--stdin']
        oid = self.git.told(packed, given=content, doing='packing the image')
        self._here.add(oid)
        return oid
