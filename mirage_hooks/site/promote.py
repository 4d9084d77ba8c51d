"""The deployed branch follows the canary's, once the host that goes first has served that: a
rollout over two branches, without a cluster."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from ..messages import errors
from ..messages.report import plain
from . import canary, ci, deployment, pushing, replies

ATTEMPTS = 10


class Wanted(msgspec.Struct, frozen=True):
    """Make `branch` (the repository's own where it is '') of the deployment repository `to` what
    `source` is, once `host` has served it; `name` is of the one unikernel that counts there, ''
    for all."""

    to: str
    source: str
    host: canary.Place
    branch: str
    name: str
    serving: canary.Wanted


class Promoted(msgspec.Struct, frozen=True):
    """What was pushed; `same`: the branch contained `commit` already. `answer` is what the other
    side said, line by line."""

    commit: str
    to: str
    branch: str
    source: str
    answer: tuple[str, ...] = ()
    same: bool = False


def promote(wanted: Wanted) -> Promoted:
    """Wait, and move the branch; raises Refused where it is not to be moved."""
    with tempfile.TemporaryDirectory() as work, ci.ssh(os.environ) as environment, \
            ci.ssh(os.environ, 'CANARY') as asking:
        clone = deployment.Deployment(wanted.to, Path(work, 'deployment.git'), whole=True,
                                      branch=wanted.branch, environment=environment)
        commit = clone.fetched(wanted.source)
        if _contains(clone, commit, wanted.source):
            return Promoted(commit, clone.shown, clone.branch, wanted.source, same=True)
        canary.wait(wanted.host, commit, wanted.source, wanted.name, wanted.serving, asking)
        for _ in range(ATTEMPTS):
            clone.refresh()  # that was long ago
            if _contains(clone, commit, wanted.source):
                return Promoted(commit, clone.shown, clone.branch, wanted.source, same=True)
            try:
                answer = pushing.push(clone, commit).answer
            except pushing.Raced:
                continue
            return Promoted(commit, clone.shown, clone.branch, wanted.source, answer)
    raise errors.Unavailable(
        f'{clone.shown} changed under every one of {ATTEMPTS} attempts to push',
        hint='promote again when fewer push')


def told(promoted: Promoted, verdict: replies.Verdict = replies.SILENCE) -> list[str]:
    """What a person should know; the other side's words never reach the terminal raw."""
    where = f'{plain(promoted.branch)} of {plain(promoted.to)}'
    if promoted.same:
        return [f'nothing to do: {where} contains {promoted.commit[:12]} already']
    return [*(f'remote: {plain(line)}' for line in promoted.answer),
            f'{where} is {promoted.commit[:12]} now, as {plain(promoted.source)} is',
            *(['but the host there refused it, as it says above'] if verdict.refused else [])]


def _contains(clone: deployment.Deployment, commit: str, source: str) -> bool:
    """Whether the branch has `commit`; raises Refused where it could not simply move on to it."""
    if not clone.tip:
        raise errors.Refused(
            f'{clone.shown} has no branch {clone.branch}',
            hint=f'--branch names another; to begin it: git push {clone.shown} '
            f'{source}:{clone.branch}')
    if clone.follows(clone.tip, commit):
        return True
    if clone.follows(commit, clone.tip):
        return False
    raise errors.Refused(
        f'{clone.branch} of {clone.shown} has commits that {source} does not have',
        hint=f'put them on {source} first: git merge {clone.branch}, where {source} is checked out')
