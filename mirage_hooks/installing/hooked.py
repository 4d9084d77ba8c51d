"""Whether git runs our hooks in a repository."""

from __future__ import annotations

import os
import shlex

from ..git.repository import Repository
from . import hookfolder
from .finding import Finding, Found, Place, fine, note, problem

PULLED = ('post-merge', 'post-rewrite')
"""Those that pre-commit can call, see .pre-commit-hooks.yaml."""


def findings(place: Place) -> Found:
    """Each hook that git does not run; raises Refused where it looks for all in another folder."""
    repository = place.repository
    folder = repository.hooks()
    hooks = [hookfolder.place(folder, name, None) for name in hookfolder.NAMES]
    if any(_of_pre_commit(one) for one in hooks):
        hooks = [one for one in hooks if one.name in PULLED]
    wrong = {one.name: found for one in hooks if (found := _wrong(one, repository))}
    yield from wrong.values()
    if ours := [one.name for one in hooks if one.name not in wrong]:
        yield fine('hooks', f'git runs {", ".join(ours)} in {folder}')


def _wrong(hook: hookfolder.Place, repository: Repository) -> Finding | None:
    """Why git does not run our `hook`, None when it does."""
    install = f'mirage-hooks install {shlex.quote(str(repository.folder))}'
    if hook.found == 'nothing':
        return problem('hooks', f'{hook.path} is not there: git calls nobody', install)
    if _of_pre_commit(hook):
        return note('hooks', f'{hook.path} is pre-commit\'s: its configuration says whether it '
                    'calls ours')
    if hook.found == 'other':
        return problem('hooks', f'{hook.path} is another one, and calls nobody of ours',
                       f'{install} (that one then runs first)')
    if not os.access(hook.path, os.X_OK):
        return problem('hooks', f'{hook.path} is not executable: git passes it over',
                       f'chmod +x {shlex.quote(str(hook.path))}')
    python = hookfolder.interpreter(hook.path)
    if not os.access(python, os.X_OK):
        return problem('hooks', f'{hook.path} wants {python}, which is gone',
                       f'run install.sh again, or: {install}')
    return None


def _of_pre_commit(hook: hookfolder.Place) -> bool:
    """Whether pre-commit's stands alone there; else it calls ours, which it found."""
    return hook.found == 'other' and hookfolder.generated(hook.path)
