"""Commits made in the clone of a deployment repository, without a work tree and without the blobs
that stay as they are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

import git.exc

from ..messages import errors
from . import deployment, plumbing, replies


def commit(
    clone: deployment.Deployment, message: str, changes: Mapping[str, deployment.File | None], *,
    onto: str = '', parents: tuple[str, ...] | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """A commit with `onto`'s tree (by default the tip's) but for `changes`, None removing."""
    onto = onto or clone.tip
    parents = parents if parents is not None else tuple(filter(None, (clone.tip,)))
    with tempfile.TemporaryDirectory(dir=clone.folder) as place:
        index = {'GIT_INDEX_FILE': f'{place}/index'}
        if onto:
            clone.git.told(['git', 'read-tree', onto], environment=index)
        clone.git.told(['git', 'update-index', '-z', '--index-info'],
                       given=_index(clone, changes), environment=index)
        # The blobs of older releases are elsewhere, and may stay there.
        tree = clone.git.told(['git', 'write-tree', '--missing-ok'], environment=index)
    signed = ['-S'] if signs(clone) else []
    known = [word for parent in parents for word in ('-p', parent)]
    try:
        return clone.git.run(
            ['git', *clone.personal, 'commit-tree', *signed, *known, tree],
            given=message.encode(), environment={**_identity(clone), **(environment or {})},
        )
    except git.exc.GitCommandError as error:
        lines = plumbing.said(error).split('\n')
        raise errors.Refused(
            f'git does not make the commit: {"; ".join(lines)}',
            hint='commit.gpgsign is on: is the key there, and may it be used here?'
            if signed else '',
        ) from None


def signs(clone: deployment.Deployment) -> bool:
    """Whether git is told to sign commits; raises Refused when it is told nonsense."""
    try:
        return clone.git.run(['git', *clone.personal, 'config', '--type=bool', '--default=false',
                              '--get', 'commit.gpgsign']) == 'true'
    except git.exc.GitCommandError as error:
        raise errors.Refused(f'git: {replies.why(plumbing.said(error))}') from None


def _index(clone: deployment.Deployment, changes: Mapping[str, deployment.File | None]) -> bytes:
    """`changes` as `update-index --index-info` reads them."""
    nothing = '0' * (len(clone.tip) or 40)
    lines = (f'{file.mode} {file.oid}\t{path}' if file else f'0 {nothing}\t{path}'
             for path, file in changes.items())
    return b''.join(os.fsencode(line) + b'\0' for line in lines)


def _identity(clone: deployment.Deployment) -> dict[str, str]:
    """Who commits, where git cannot tell, as on a fresh CI machine."""
    try:
        clone.git.run(['git', *clone.personal, 'var', 'GIT_COMMITTER_IDENT'])
        return {}
    except git.exc.GitCommandError:
        who = {'NAME': 'mirage-hooks publish', 'EMAIL': 'mirage-hooks@localhost'}
        return {f'GIT_{role}_{key}': os.environ.get(f'GIT_{role}_{key}') or value
                for role in ('AUTHOR', 'COMMITTER') for key, value in who.items()}
