"""The images that a branch has held."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from .. import config
from ..git import tree
from ..git.repository import Repository
from ..messages import errors, progress


def images(
    repository: Repository, name: str, wanted: config.Unikernel, tip: str
) -> list[tree.Found]:
    """The images of `name` that the branch has held up to the commit `tip`, oldest first, each with
    the commit that brought it."""
    folder = str(PurePosixPath(tree.inside(wanted.image, f'{name}.image')).parent)
    found: list[tree.Found] = []
    with progress.doing(f'looking for images of {name}') as work:
        for commit in repository.line(tip, folder):
            work.now(f'{len(found)} found')
            try:
                one = repository.named(commit, name, wanted)
            except errors.Unavailable:
                raise
            except errors.Refused:  # there was none then
                continue
            if not found or found[-1].blob != one.blob:
                found.append(one)
    return found


def between(
    repository: Repository, tip: str, found: list[tree.Found], good: str, bad: str
) -> list[tree.Found]:
    """Those of `found`, the images up to the commit `tip`, from the one that was there at the
    commit `good` (its first digits, '' for the oldest) to that at `bad` ('' for the newest). Raises
    Refused where that makes no sense."""
    line = repository.line(tip) if good or bad else []
    places = {commit: place for place, commit in enumerate(line)}
    first, last = 0, len(found) - 1
    if good:
        first = _at(good, line, places, found)
    if bad:
        last = _at(bad, line, places, found)
    if last <= first:
        raise errors.Refused(
            'the branch holds no good image with a bad one after it in that range: it has '
            f'{len(found)} in all',
            hint='--good is to name a commit before that of --bad; a shallow clone lacks older '
            'ones: git fetch --unshallow',
        )
    return found[first : last + 1]


def _at(text: str, line: list[str], places: dict[str, int], found: list[tree.Found]) -> int:
    """Which of `found` was there at the commit of `line` that begins with `text`."""
    known = [commit for commit in line if commit.startswith(text.lower())]
    if not re.fullmatch('[0-9a-fA-F]{4,40}', text) or len(known) != 1:
        what = 'several commits begin' if len(known) > 1 else 'no commit begins'
        raise errors.Refused(
            f'{what} with {text[:40]!r} on the deployed branch',
            hint='`mirage-hooks history` and git log --first-parent name them; 4 digits at least',
        )
    before = [index for index, one in enumerate(found) if places[one.commit] <= places[known[0]]]
    if not before:
        raise errors.Refused(f'commit {known[0][:12]} has no image yet, nor has one before it')
    return before[-1]
