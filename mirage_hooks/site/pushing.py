"""A push to a deployment repository elsewhere, and what the other side makes of it."""

from __future__ import annotations

import msgspec

from ..messages import errors
from ..messages.report import masked
from . import deployment, replies


class Raced(Exception):
    """Somebody else pushed meanwhile: refresh, build the commit anew, push again."""


class Declined(errors.Refused):
    """The other side does not take the push; `answer` is what it said, line by line."""

    def __init__(self, reason: str, hint: str, answer: tuple[str, ...]) -> None:
        super().__init__(reason, hint)
        self.answer = answer


class Pushed(msgspec.Struct, frozen=True):
    commit: str
    answer: tuple[str, ...]
    """What the other side said, line by line; not to be trusted with a terminal."""


def push(clone: deployment.Deployment, commit: str, *, backup: str = '') -> Pushed:
    """Make the branch `commit`. With `backup` what the branch was goes to that reference and
    may be rewritten. Raises Raced, or Refused with what the other side said."""
    reference = f'refs/heads/{clone.branch}'
    wanted = [f'{commit}:{reference}']
    lease = []
    if backup:
        wanted.append(f'{clone.tip}:{backup}')
        lease = ['--atomic', f'--force-with-lease={reference}:{clone.tip}']
    # A thin pack would want the old image here first, as a base; hooks are not for this push.
    plain = ['--porcelain', '--progress', '--no-thin', '--no-verify']
    command = ['git', 'push', *plain, *lease, 'origin', *wanted]
    status, out, err = clone.git.watched(command, f'pushing to {clone.shown}')
    said = tuple(replies.remote(err))
    if status == 0:
        clone.git.told(['git', 'update-ref', reference, commit])
        return Pushed(commit, said)
    reasons = replies.reasons(out)
    before = clone.tip
    if reasons:
        clone.refresh()
    if reasons and (clone.tip != before or replies.raced(reasons)):
        raise Raced
    raise _refused(clone, reasons, said, err)


def _refused(
    clone: deployment.Deployment, reasons: list[str], lines: tuple[str, ...], err: str
) -> errors.Refused:
    if not reasons:
        why = masked(replies.why(err))
        return errors.Unavailable(f'cannot push to {clone.shown}: {why}', hint=replies.hint(err))
    # What is pushed together with what was rejected is rejected for that alone.
    why = next((reason for reason in reasons if 'atomic' not in reason), reasons[0])
    return Declined(
        f'{clone.shown} refuses the push: {why}',
        hint=replies.hint('\n'.join((why, *lines))), answer=lines,
    )
