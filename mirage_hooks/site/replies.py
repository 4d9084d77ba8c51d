"""What git and the other side of a push say, in its own words: a reason, lines to pass on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from ..git import tree

# What git says when somebody else pushed first.
RACED = re.compile(
    r'fetch first|cannot lock ref|failed to update ref|incorrect old value|'
    r'reference already exists|stale info'
)

# How a line of the host on one of its unikernels begins, see report.py.
NAME = r'[A-Za-z0-9][A-Za-z0-9._-]{0,39}'
WORDS = r'(?:REFUSED|still refused): |release \d+ \(.*\) (?:now runs|runs)'

ADDRESS = 'is the address right, and may this key read and write there?'
# By what is said; the last one for all else.
HINTS = (
    ('currently checked out',
     'let it be bare, or there: git config receive.denyCurrentBranch updateInstead'),
    ('denying non-fast-forward',
     'there, for as long as this takes: git config receive.denyNonFastForwards false'),
    ('dubious ownership', 'git config --global --add safe.directory THAT_FOLDER, if you trust it'),
    ('Host key verification failed',
     "does DEPLOY_KNOWN_HOSTS (or ~/.ssh/known_hosts) have that host's key of today?"),
    (r'Permission denied \(',
     'is DEPLOY_KEY the private half of a deploy key that may write there?'),
    ('hook declined', ''),
    ('', ADDRESS),
)


def raced(reasons: list[str]) -> bool:
    """Did somebody else push first, by the reasons that git gives for its refusal?"""
    return any(RACED.search(reason) for reason in reasons)


def reasons(porcelain: str) -> list[str]:
    """Why references were rejected, from the output of `git push --porcelain`."""
    return [line.split('\t')[-1] for line in porcelain.split('\n') if line.startswith('!')]


def remote(err: str) -> Iterator[str]:
    """What the other side said; git puts `remote: ` before each of its lines."""
    for line in err.split('\n'):
        if line.startswith('remote:'):
            yield line.removeprefix('remote:').removeprefix(' ').rstrip()


class Verdict(msgspec.Struct, frozen=True):
    """What the host says of what was pushed: whether it `refused` the image, and which `others` of
    its unikernels it refused now. With both, one of these may be the image's own."""

    refused: bool = False
    others: tuple[str, ...] = ()


SILENCE = Verdict()


def verdict(lines: Iterable[str], name: str) -> Verdict:
    """What mirage-hooks' own words on the host mean for the unikernel `name`, which the host may
    spell in another way. Where it says nothing of that one, what it refuses may be it, under a name
    of its own; that another is still refused is no news."""
    said = [found for line in lines if (found := re.match(rf'({NAME}): ({WORDS})', line))]
    ours = [found[2] for found in said if tree.spelled(found[1]) == tree.spelled(name)]
    others = tuple(dict.fromkeys(
        found[1] for found in said
        if found[2].startswith('REFUSED') and tree.spelled(found[1]) != tree.spelled(name)
    ))
    all_of_it = ('mirage-hooks', 'REFUSED: ')  # what the host says where it deployed nothing
    if any('refused: ' in words.lower() for words in ours) or all_of_it in [
        (found[1], found[2]) for found in said
    ]:
        return Verdict(True)
    return Verdict(bool(others and not ours), others)


def why(said: str) -> str:
    """The line of git's words that says why; where git only says that ssh failed, ssh's own."""
    lines = [line.strip() for line in said.split('\n') if line.strip()] or ['git said nothing']
    fatal = [number for number, line in enumerate(lines) if line.startswith(('fatal:', 'error:'))]
    first = fatal[0] if fatal else 0
    return lines[first - 1 if first and 'Could not read from remote' in lines[first] else first]


def hint(said: str) -> str:
    """What a person can do about it, by what git, ssh or the other side said."""
    return next((text for found, text in HINTS if re.search(found, said)), HINTS[-1][1])

