"""What init says when its files are made."""

from __future__ import annotations

import shlex
from pathlib import Path

from .. import checkout
from . import lacking
from .questions import Answers
from .scaffold import Plan


def lines(folder: Path, plan: Plan, answers: Answers) -> list[str]:
    """What was made, what the owner's files want, what was assumed, and what is to be done."""
    return [
        *_made(folder, plan),
        *_assumed(folder, plan, answers),
        *_misplaced(folder),
        _next(folder, plan, answers.words['branch']),
    ]


def _made(folder: Path, plan: Plan) -> list[str]:
    wants = {path: lacking.lacking(folder, path) for path in plan.left}
    site = ['there is a site already: no pages were made', lacking.published(folder)]
    return [
        *(f'left alone  {path}' + (f' ({want})' if want else '') for path, want in wants.items()),
        *(['mirage-hooks init in an empty folder shows what they lack'] if any(wants.values())
          else []),
        *(f'made        {path}' for path in plan.make),
        *(text for text in site if text and plan.site),
    ]


def _assumed(folder: Path, plan: Plan, answers: Answers) -> list[str]:
    """The assumed answers that stand in what was made, and where."""
    texts = {path: (folder / path).read_text() for path in plan.make}
    values = {key: answers.words[key] for key in answers.assumed}
    told = [f'{key} {value}' for key, value in values.items()
            if any(value in text for text in texts.values())]
    where = [path for path, text in texts.items() if any(map(text.count, values.values()))]
    return [f'assumed: {", ".join(told)}; to be changed in {", ".join(where)}'] if told else []


def _misplaced(folder: Path) -> list[str]:
    """A warning where `folder` is below the top of its repository."""
    below = checkout.told(folder, 'rev-parse', '--show-prefix')
    if not below:
        return []
    return ['GitHub and Travis read .github and .travis.yml at the top of a repository only, '
            f'not in {below}: move them there, and let them call {below}ci/build']


def _next(folder: Path, plan: Plan, branch: str) -> str:
    begun = checkout.told(folder, 'rev-parse', '--git-dir')
    start = '' if begun else f'git init -b {branch} && '
    lost = 'README.md' in plan.left and lacking.lacking(folder, 'README.md')
    road = '' if lost else '; the README tells the road'
    first = 'zones' if plan.dns else 'site'
    return f'next: cd {shlex.quote(str(folder))} && {start}make {first}{road}'
