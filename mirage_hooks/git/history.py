"""Commits: who wrote and signed them, and what came before them."""

from __future__ import annotations

import re

from ..messages import errors
from .asked import Asked
from .objects import bounded

# History as it was signed: without the operator's grafts, and no shallow boundary taken for a root.
SIGNED = {'GIT_GRAFT_FILE': '', 'GIT_SHALLOW_FILE': ''}

MOST = 4000  # commits of one folder that are listed
SUBJECT = 100  # characters of a commit's first line, which may have a million


class History(Asked):
    """The commits of a repository."""

    @bounded
    def author(self, commit: str) -> str:
        """Who the commit says wrote it."""
        return self._shown(commit, '%an <%ae>').rstrip('\n')

    @bounded
    def line(self, commit: str, folder: str = '', since: str = '') -> list[str]:
        """`commit` and what its branch was at before, oldest first, by first parents and as far as
        that is here: all that came after `since`, or the last MOST that changed `folder`."""
        limited = (f'--max-count={MOST}', commit, '--', folder) if folder else (
            commit, *((f'^{since}',) if since else ()), '--')
        return self._objects.output(
            '--literal-pathspecs', 'rev-list', '--first-parent', '--reverse', *limited,
            what=f'the list of commits up to {commit[:12]}',
        ).decode().split()

    @bounded
    def summary(self, commit: str) -> tuple[str, str]:
        """The day of the commit, and the first line of its message."""
        day, _, subject = self._shown(commit, '%cs %s').rstrip('\n').partition(' ')
        return day, subject[:SUBJECT]

    @bounded
    def source(self, commit: str) -> str:
        """The commit of the site that `publish` says it published by `commit`; '' for none."""
        found = re.search(r'^Source-Commit: ([0-9a-f]{7,64})$', self._shown(commit, '%B'), re.M)
        return found[1] if found else ''

    def _shown(self, commit: str, form: str) -> str:
        return self._objects.output(
            '-c', 'log.showSignature=false', 'show', '--no-patch', f'--format={form}', commit, '--',
            what=f'the message of commit {commit[:12]}',
        ).decode(errors='replace')

    @bounded
    def descends(self, commit: str, ancestor: str) -> bool:
        """Whether `commit` contains `ancestor`, by the history as it was signed."""
        status, said = self._status('merge-base', '--is-ancestor', ancestor, commit)
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
                'rev-list', '--topo-order', '--reverse', commit, f'^{ancestor}', more=SIGNED,
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
        status, said = self._status(*chosen, 'verify-commit', '--raw', commit)
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
            what=f'the parents of commit {commit[:12]}', more=SIGNED,
        )
        return tuple(said.decode('ascii').split()[2:])  # after `commit` and its name

    def _status(self, *arguments: str) -> tuple[int, str]:
        """The exit code and the words of a git command that sees history as it was signed."""
        return self._objects.status(*arguments, more=SIGNED)
