"""Takes old images out of a deployment repository: out of its tree, or out of its history too."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from pathlib import Path

import msgspec

from ..messages import errors
from ..messages.report import plain
from . import ci, committing, deployment, pushing, releases

BACKUP = 'refs/mirage-hooks/before-prune/'
ATTEMPTS = 10
# What `git log` tells of each commit, so that it can be made again.
FORMAT = '%H%x00%an%x00%ae%x00%ad%x00%cn%x00%ce%x00%cd%x00%B%x01'


class Pruned(msgspec.Struct, frozen=True):
    """What was pushed; `commit` is '' when there was nothing to do or it was a dry run."""

    commit: str
    to: str
    branch: str
    removed: tuple[str, ...] = ()
    backup: str = ''
    answer: tuple[str, ...] = ()


def prune(
    to: str, *, keep: int, branch: str = '', history: bool = False, dry_run: bool = False
) -> Pruned:
    """Keep the newest `keep` releases of every pointer. With `history` the branch is rewritten,
    and what it was goes to a reference below BACKUP: a host follows with `rewound: follow`."""
    with tempfile.TemporaryDirectory() as work, ci.ssh(os.environ) as environment:
        clone = deployment.Deployment(
            to, Path(work, 'deployment.git'), branch=branch, whole=history, environment=environment
        )
        if not clone.tip and (others := clone.others()):
            raise errors.Refused(f'{clone.shown} has no branch {clone.branch}',
                                 hint=f'--branch: {" or ".join(others)}')
        for _ in range(ATTEMPTS):
            try:
                return _rewrite(clone, keep, dry_run) if history else _trim(clone, keep, dry_run)
            except pushing.Raced:
                clone.refresh()
    raise errors.Unavailable(
        f'{clone.shown} changed under every one of {ATTEMPTS} attempts to push',
        hint='prune when nobody publishes',
    )


def told(pruned: Pruned, dry_run: bool) -> list[str]:
    """What a person should know: a rewritten history has consequences elsewhere."""
    where, count = f'{pruned.branch} of {plain(pruned.to)}', len(pruned.removed)
    if not count and not pruned.commit:
        return [f'nothing to do: {where} holds no more releases than that']
    removal = 'would remove' if dry_run else 'removed'
    lines = [
        *(f'{removal} {plain(folder)}' for folder in pruned.removed),
        *(f'remote: {plain(line)}' for line in pruned.answer),
        f'{where} is {pruned.commit[:12]} now, without {count} old releases' if pruned.commit
        else f'would remove {count} releases from {where}',
    ]
    if pruned.backup:
        lines += [
            f'what it was is {pruned.backup}; to free its room, when nobody needs it: '
            f'git push {shlex.quote(plain(pruned.to))} --delete {pruned.backup}',
            'hosts follow with `rewound: follow` in mirage.yml, and where `trust:` is set after '
            '`mirage-hooks trust --forget`',
        ]
    return lines


def _trim(clone: deployment.Deployment, keep: int, dry_run: bool) -> Pruned:
    files = clone.files()
    old = releases.beyond(clone, files, keep)
    if not old or dry_run:
        return Pruned('', clone.shown, clone.branch, old)
    subject = f'Remove {len(old)} old releases'
    message = '\n'.join((subject, '', *old, ''))
    commit = committing.commit(clone, message, releases.without(files, old))
    return Pruned(commit, clone.shown, clone.branch, old, answer=pushing.push(clone, commit).answer)


def _rewrite(clone: deployment.Deployment, keep: int, dry_run: bool) -> Pruned:
    if not clone.tip:
        return Pruned('', clone.shown, clone.branch)
    files = clone.files()
    old = releases.beyond(clone, files, keep)
    kept = set(releases.folders(files)) - set(old)
    commits = _commits(clone)
    trees = {commit: clone.files(commit) for commit, *_ in commits}
    gone = {folder for tree in trees.values() for folder in releases.folders(tree)} - kept
    if not gone or dry_run:
        return Pruned('', clone.shown, clone.branch, tuple(sorted(gone)))
    if not committing.signs(clone) and '\ngpgsig' in clone.log('--first-parent', '--format=raw'):
        raise errors.Refused(
            f'{clone.branch} has signed commits, which would be made again without a signature',
            hint='let git sign them: git config --global commit.gpgsign true, and user.signingkey',
        )
    tip = _again(clone, commits, trees, kept, gone)
    backup = f'{BACKUP}{clone.branch}/{time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())}'
    answer = pushing.push(clone, tip, backup=backup).answer
    return Pruned(tip, clone.shown, clone.branch, tuple(sorted(gone)), backup, answer)


def _commits(clone: deployment.Deployment) -> list[list[str]]:
    """The branch's commits, oldest first, merged ones left out, each as FORMAT tells it."""
    told = clone.log('--first-parent', '--reverse', '--date=raw', f'--format={FORMAT}')
    return [entry.lstrip('\n').split('\0') for entry in told.split('\x01') if entry.strip('\n')]


def _again(
    clone: deployment.Deployment, commits: list[list[str]],
    trees: dict[str, dict[str, deployment.File]], kept: set[str], gone: set[str],
) -> str:
    """The commits since the first that has a release that stays, made again without the others;
    the new tip."""
    new = ''
    before: dict[str, deployment.File] = {}
    for commit, author, email, when, committer, committer_email, committed, message in commits:
        changes = releases.without(trees[commit], gone)
        tree = {path: file for path, file in trees[commit].items() if path not in changes}
        if tree == before or not (new or kept & set(releases.folders(tree)) or not kept):
            continue
        parents = (new,) if new else ()
        new = committing.commit(clone, message, changes, onto=commit, parents=parents, environment={
            'GIT_AUTHOR_NAME': author, 'GIT_AUTHOR_EMAIL': email, 'GIT_AUTHOR_DATE': when,
            'GIT_COMMITTER_NAME': committer, 'GIT_COMMITTER_EMAIL': committer_email,
            'GIT_COMMITTER_DATE': committed,
        })
        before = tree
    return new
