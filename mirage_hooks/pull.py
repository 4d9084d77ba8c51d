"""cron's half of the road: bring the branch up to the remote, whatever state the clone is in."""

from __future__ import annotations

from . import config, errors, store
from .report import Reporter, plain
from .repository import Repository

PATIENCE = 900.0  # seconds to wait for another pull of the same repository


def pull(repository: Repository, report: Reporter) -> int:
    """Pull as the user's git configuration says; 1 when that failed, which is told, to cron once.
    What should run is converged by the caller in any case."""
    state = store.Store(repository.state)
    try:
        settings = config.load(repository.config_path())
    except errors.Refused:
        return 1  # whoever converges says so
    try:
        branch = repository.branch(settings.branch)
        if not repository.remote(branch):
            return 0  # a bare repository that is pushed to, or a branch of its own
        # Two at once would trip over each other's FETCH_HEAD and work tree.
        with state.lock('pull', PATIENCE, report.waiting, 'pulling'):
            told = _brought(repository, branch, settings.rewound)
    except errors.Refused as refused:
        if state.news('pull', refused.reason) or not report.quiet:
            report.refused(refused.reason, refused.hint)
        return 1
    state.news('pull', '')
    for line in told.splitlines():
        report.line(plain(line))
    return 0


def _brought(repository: Repository, branch: str, rewound: str) -> str:
    """Fetch and take in what came; what a person should know of it."""
    seen = repository.upstream(branch)
    repository.fetch(branch)
    after = repository.upstream(branch)
    # Not only what this fetch changed: an earlier one may have brought a rewind that was refused.
    before = repository.fork_point(branch) or seen
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
