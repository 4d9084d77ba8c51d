"""Branches, asked by the full names of references that are there: git itself would go on to look
for tags and other references that end like a name which is not."""

from __future__ import annotations

from collections.abc import Callable

from ..messages import errors
from . import objects

LOCAL = 'refs/heads/'
FORMAT = '--format=%(objectname) %(objectsize) %(objecttype) %(refname)'


class References:
    """The references of the repository that `run` asks (its `absent` is the exit code that means
    nothing), and that `settings` tells the values of a key in git's configuration of."""

    def __init__(self, run: Callable[..., str], settings: Callable[[str], list[str]]) -> None:
        self.run, self.settings = run, settings
        self._seen: dict[str, str] | None = None

    def hold(self) -> None:
        """From now on take each reference to be where it is when it is first asked for."""
        self._seen = {}

    def at(self, reference: str) -> str:
        """The commit that the reference of exactly this name is at, '' when it is not there."""
        return self._once(reference, lambda: self._at(reference))

    def _once(self, key: str, ask: Callable[[], str]) -> str:
        if self._seen is None:
            return ask()
        if key not in self._seen:
            self._seen[key] = ask()
        return self._seen[key]

    def _at(self, reference: str) -> str:
        for line in self.run('for-each-ref', FORMAT, reference).split('\n'):
            oid, size, kind, name = line.split(' ', 3) if line else ('', '', '', '')
            if name == reference and kind == 'commit':
                if int(size) > objects.COMMIT:
                    raise objects.too_long(oid)
                return oid
        return ''

    def branches(self) -> list[str]:
        """The local branches, the one that HEAD is on first."""
        named = self.run('for-each-ref', '--format=%(refname)', LOCAL).split('\n')
        on = self.on()
        names = [name.removeprefix(LOCAL) for name in named if name]
        return sorted(names, key=lambda name: (name != on, name))

    def on(self) -> str:
        """The branch that HEAD is on, with or without a commit; '' when it is detached."""
        name = self._once('HEAD', lambda: self.run('symbolic-ref', '--quiet', 'HEAD', absent=1))
        return name.removeprefix(LOCAL) if name.startswith(LOCAL) else ''

    def holding(self, branch: str) -> str:
        """The reference that holds `branch`: the local one, else the only remote's."""
        local = f'{LOCAL}{branch}'
        if self.at(local):
            return local
        there = [name for remote in self.run('remote').split('\n') if remote
                 if self.at(name := f'refs/remotes/{remote}/{branch}')]
        return there[0] if len(there) == 1 else local

    def upstream(self, branch: str) -> str:
        """The reference that says where the remote's branch was last seen, by git's configuration;
        '' when there is none."""
        remote = _last(self.settings(f'branch.{branch}.remote'))
        merged = _last(self.settings(f'branch.{branch}.merge'))
        if not merged or remote == '.':
            return merged
        for refspec in self.settings(f'remote.{remote}.fetch'):
            if found := mapped(merged, refspec):
                return found
        return ''

    def track(self, branch: str) -> None:
        """Make `branch`, which only a remote has, and let it follow that one."""
        held = self.holding(branch)
        if not held.startswith('refs/remotes/'):
            return
        remote = held.removeprefix('refs/remotes/').removesuffix(f'/{branch}')
        # Killed in between, there is no branch yet, and the next pull does it again.
        self.run('config', '--local', f'branch.{branch}.remote', remote)
        self.run('config', '--local', f'branch.{branch}.merge', f'{LOCAL}{branch}')
        self.run('update-ref', f'{LOCAL}{branch}', self.at(held), '')

    def fork_point(self, branch: str) -> str:
        """The newest commit that `branch` took over from the remote's branch, by the latter's
        reflog; '' when there is none, as in a bare repository. Raises Refused where a tag stands in
        for that reference: whether it was rewound could not be told."""
        upstream, commit = self.upstream(branch), self.at(f'{LOCAL}{branch}')
        if not self.at(upstream) or not commit:
            return ''
        try:
            return self.run('merge-base', '--fork-point', upstream, commit, absent=1)
        except errors.Refused as refused:
            if 'mbiguous' not in refused.reason:
                raise
            raise errors.Refused(
                f'a tag or branch stands in for {upstream}',
                hint=f'delete it: git for-each-ref | grep -F /{upstream}',
            ) from None


def mapped(reference: str, refspec: str) -> str:
    """Where a fetch by `refspec` (as in remote.origin.fetch) puts `reference`, '' for nowhere."""
    source, _, target = refspec.removeprefix('+').partition(':')
    if '*' not in source:
        return target if source == reference else ''
    head, _, tail = source.partition('*')
    if not (reference.startswith(head) and reference.endswith(tail)) or '*' not in target:
        return ''
    return target.replace('*', reference[len(head) : len(reference) - len(tail)], 1)


def _last(values: list[str]) -> str:
    return values[-1] if values else ''
