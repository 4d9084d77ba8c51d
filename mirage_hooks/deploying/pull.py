"""cron's half of the road: bring the branch up to the remote, whatever state the clone is in."""

from __future__ import annotations

from .. import config
from ..git.repository import Repository
from ..messages import errors, progress
from ..messages.report import Reporter, plain
from ..state import store

PATIENCE = 900.0  # seconds to wait for another pull of the same repository


def pull(repository: Repository, report: Reporter) -> int:
    """Pull as the user's git configuration says; 1 when that failed, which is told, to cron once.
    What should run is converged by the caller in any case."""
    if report.quiet:
        progress.hold(report.held)
    state = store.opened(repository.state)
    if report.quiet:  # as cron runs it
        state.ran()
    try:
        settings = store.settings(repository.config_path(), repository.state)
    except errors.Refused:
        return 1  # whoever converges says so
    troubles = []
    try:
        branches = _tracked(repository, settings)
        if not branches:
            return 0  # a bare repository that is pushed to, or branches of its own
        # Two at once would trip over each other's FETCH_HEAD and work tree.
        with state.lock('pull', PATIENCE, report.waiting, 'pulling'):
            seen = {branch: repository.upstream(branch) for branch in branches}
            for remote in dict.fromkeys(map(repository.remote, branches)):
                repository.fetch(remote)
            for branch in branches:
                try:
                    told = _taken_in(repository, branch, seen[branch], settings.rewound)
                    for line in told.splitlines():
                        report.line(plain(line))
                except errors.Refused as refused:
                    troubles.append(refused)
    except errors.Refused as refused:
        troubles.append(refused)
    news = state.news('pull', '; '.join(trouble.reason for trouble in troubles))
    for trouble in troubles if news or not report.quiet else ():
        report.refused(trouble.reason, trouble.hint)
    return int(bool(troubles))


def _tracked(repository: Repository, settings: config.Settings) -> list[str]:
    """The branches that something is deployed from, and that a remote has."""
    named = [settings.branch, *(one.branch or settings.branch
                                for one in settings.unikernels.values())]
    branches = list(dict.fromkeys(repository.branch(name) for name in dict.fromkeys(named)))
    for branch in branches:
        repository.track(branch)
    return [branch for branch in branches if repository.remote(branch)]


def _taken_in(repository: Repository, branch: str, seen: str, rewound: str) -> str:
    """Take in what came to `branch`, which was at `seen`; what a person should know of it."""
    after = repository.upstream(branch)
    if not after:
        raise errors.Refused(
            f'{branch} is no longer on the remote',
            hint='name the branch that is to be deployed in mirage.yml: branch: main',
        )
    # Not only what this fetch changed: an earlier one may have brought a rewind that was refused.
    # A bare repository has no reflog that tells it, and no commits of its own.
    before = repository.local(branch) if repository.bare else repository.fork_point(branch)
    before = before or seen
    if not before or repository.contains(after, before):
        if not repository.contains(repository.commit(branch), after):
            return repository.merge(branch)
        return ''
    if rewound == 'refuse':
        raise errors.Refused(
            f'{branch} was rewound on the remote: {before[:12]} is no longer part of it',
            hint='if that was meant: git fetch && git reset --keep @{upstream}, or say '
            '`rewound: follow` in mirage.yml',
        )
    if repository.commit(branch) != before:
        raise errors.Refused(
            f'{branch} was rewound on the remote, and this clone has commits of its own',
            hint='rebase or drop them: git rebase @{upstream}',
        )
    repository.rewind(branch, after)
    return f'{branch} was rewound on the remote: followed it from {before[:12]} to {after[:12]}'
