"""Which release broke it, for people and programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..state import caller

if TYPE_CHECKING:
    from ..deploying.bisect import Answer
    from ..git.repository import Repository
    from ..git.tree import Found

SHOWN = 20  # commits between two images


def add(command: Callable[..., Any], name: Callable[..., None]) -> None:
    """Add the command, which takes the `name` of a unikernel."""
    one = command('bisect', do_bisect, 'find the first bad image: old ones are tried, by halves, '
                  'apart from what runs', json=True)
    name(one)
    one.add_argument('--good', default='', metavar='COMMIT',
                     help='a commit of the branch whose image was good (its first)')
    one.add_argument('--bad', default='', metavar='COMMIT',
                     help='one whose image is bad (its last)')
    one.add_argument('--run', default='', metavar='COMMAND',
                     help='what the shell runs to tell, in place of health:, with '
                     'MIRAGE_HOOKS_ADDRESS and MIRAGE_HOOKS_PORT: exit code 0 good, 125 cannot '
                     'tell, up to 124 bad')


def do_bisect(given: argparse.Namespace) -> int:
    from ..deploying import bisect
    from ..git.repository import Repository
    from ..messages.report import Reporter, encoded, plain
    from . import names

    repository = Repository(Path(given.repository))
    names.require_configured(repository, [given.name])
    report = Reporter(stream=sys.stderr if given.json else None)
    answer = bisect.bisect(
        repository, given.name, given.good, given.bad, given.run, f'bisect by {caller.person()}',
        report,
    )
    if given.json:
        print(encoded(_fields(repository, answer)), flush=True)
    else:
        for line in _lines(repository, given.name, answer):
            report.line(plain(line))
    return 0


def _lines(repository: Repository, name: str, answer: Answer) -> Iterator[str]:
    good, bad = answer.good, answer.bad
    yield (f'{name}: the first bad image is that of commit {bad.commit[:12]}: {bad.path} '
           f'({answer.tried} of {answer.of} tried)')
    yield f'  it is bad: {answer.reason}'
    yield f'  the last good one is that of commit {good.commit[:12]}: {good.path}'
    if answer.skipped:
        yield (f'  {len(answer.skipped)} between them could not be tried, and may be the first bad '
               f'one too: {", ".join(one.commit[:12] for one in answer.skipped[:SHOWN])}')
    old, new = _source(repository, good), _source(repository, bad)
    if new:
        yield f'  its source: commit {new}'
        if old:
            yield f'    what changed there: git log {old[:12]}..{new[:12]}'
    yield '  the commits after the good one, up to it:'
    between = repository.line(bad.commit, since=good.commit)
    for commit in between[-SHOWN:]:
        yield f'    {commit[:12]} {" ".join(repository.summary(commit))}'
    if len(between) > SHOWN:
        yield f'    and {len(between) - SHOWN} before these'


def _fields(repository: Repository, answer: Answer) -> dict[str, Any]:
    return {
        'good': _image(repository, answer.good), 'bad': _image(repository, answer.bad),
        'reason': answer.reason, 'skipped': [one.commit for one in answer.skipped],
        'commits': repository.line(answer.bad.commit, since=answer.good.commit),
        'tried': answer.tried, 'of': answer.of,
    }


def _image(repository: Repository, one: Found) -> dict[str, str]:
    return {'commit': one.commit, 'path': one.path, 'source': _source(repository, one)}


def _source(repository: Repository, one: Found) -> str:
    """The commit of the site that the image was built from, as `publish` says, or as its folder is
    called; '' where neither does."""
    import re

    folder = Path(one.path).parent.name
    return repository.source(one.commit) or (
        folder if re.fullmatch('[0-9a-f]{7,64}', folder) else '')
