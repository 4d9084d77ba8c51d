"""What the remote has: fetched, taken in or followed. Nothing else in this room moves a branch."""

from __future__ import annotations

from ..messages import errors, progress
from ..state import caller
from . import discovery, objects
from .asked import Asked
from .objects import bounded

FETCH = 120.0  # seconds for a fetch: what has not come by then is the next cron run's


class Pulling(Asked):
    """The branches of a repository, here and on its remotes."""

    def track(self, branch: str) -> None:
        """Make `branch` where only the remote has it, so that pulls move it. (One that is checked
        out and has no commit yet is made by `git pull`, with its files.)"""
        if self._checked_out(branch):
            return
        self._references.track(branch)
        self._settings = None

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
        limit = min(FETCH, objects.PATIENCE)
        with progress.doing(f'fetching from {remote}', limit) as work, objects.ended_after(limit):
            self._objects.shown(work.now, 'fetch', '--quiet', '--no-filter',
                                '--no-recurse-submodules', remote)

    @bounded
    def contains(self, commit: str, ancestor: str) -> bool:
        status, said = self._objects.status('merge-base', '--is-ancestor', ancestor, commit)
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
            self._objects.text('update-ref', f'refs/heads/{branch}', self.upstream(branch))
        elif self._checked_out(branch):
            return self._objects.heard('pull', '--quiet', '--no-edit', '--no-recurse-submodules',
                                       more={caller.PULLING: '1'})
        else:
            came = self._references.upstream(branch)
            self._objects.text('fetch', '--quiet', '--no-recurse-submodules', '.',
                               f'{came}:refs/heads/{branch}')
        return ''

    @bounded
    def rewind(self, branch: str, commit: str) -> None:
        """Move `branch` to `commit`; changes in the work tree are kept or stop it."""
        if not self.bare and self._checked_out(branch):
            self._objects.text('reset', '--quiet', '--keep', commit)
        else:
            self._objects.text('update-ref', f'refs/heads/{branch}', commit)

    def _checked_out(self, branch: str) -> bool:
        return self._references.on() == branch
