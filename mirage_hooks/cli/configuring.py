"""The commands that look at mirage.yml itself."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import errors
from ..messages.report import Reporter, plain

if TYPE_CHECKING:
    from ..git.repository import Repository


def check(paths: list[Path]) -> int:
    """Say of each file that it is well, or all that is wrong in it, 1 when anything is; and what
    is doubtful."""
    from ..config import doubts, reading

    wrong = 0
    for path in paths:
        try:
            settings = reading.load(path)
            found, count = list(doubts.doubts(settings)), len(settings.unikernels)
            well = ', but look again at this:' if found else ', all well'
            print(plain(f'{path}: {count} unikernel{"s" * (count != 1)}{well}'))
            for doubt in found:
                print(plain(f'  {doubt}'))
        except errors.Refused as refused:
            Reporter(stream=sys.stderr).failure(refused)
            wrong = 1
    return wrong


def do_schema(given: argparse.Namespace) -> int:
    import json

    from ..config import reference

    print(reference.reference() if given.markdown else json.dumps(reference.schema(), indent=2))
    return 0


def do_config(given: argparse.Namespace) -> int:
    from ..git.repository import Repository
    from ..state import draft, store

    repository = Repository(Path(given.repository))
    path = repository.config_path()
    if given.what == 'discard':
        gone = draft.discard(path.resolve())
        print(plain(f'{gone} is gone; {path} is as it was' if gone else 'there is no draft'))
        return 0
    before = store.mirage_yml(path)
    if given.what == 'edit':
        return _edited(repository, path.resolve(), before)
    text = before.decode(errors='replace')
    for line in (f'# {path}', *text.removesuffix('\n').split('\n')):
        print(plain(line))
    return 0


def _edited(repository: Repository, path: Path, before: bytes) -> int:
    """Have a draft of the mirage.yml at `path`, which says `before`, edited until it is well, and
    put it in place."""
    from ..config import reading, source
    from ..state import draft

    file = draft.begun(path, before)
    while True:
        _edit(file, repository)
        text = source.read(file)
        if text == before:
            file.unlink()
            print('nothing is changed')
            return 0
        try:
            reading.parse(text, str(file))
            break
        except errors.Mistakes as wrong:
            Reporter(stream=sys.stderr).failure(wrong)
            if not _again():
                print(plain(f'{path} stays as it was; to go on with the draft {file}: '
                            f'{_config(repository, "edit")}; to throw it away: '
                            f'{_config(repository, "discard")}'))
                return 1
    draft.put(file, path, before)
    print(plain(f'{path} is written; `mirage-hooks deploy`, or the next push or pull, does this:'))
    return _shown(repository)


def _config(repository: Repository, what: str) -> str:
    return f'mirage-hooks -C {shlex.quote(str(repository.folder))} config {what}'


def _edit(file: Path, repository: Repository) -> None:
    from ..host import programs

    editor = os.environ.get('VISUAL') or os.environ.get('EDITOR') or 'vi'
    try:
        words = shlex.split(editor)
    except ValueError as error:
        raise errors.Refused(f'the editor {editor!r} is no command: {error}') from None
    try:
        code = programs.attended((*words, str(file)))
    except errors.Unavailable as missing:
        raise errors.Refused(
            missing.reason, hint=f'name another: EDITOR=nano {_config(repository, "edit")}; the '
            f'draft is kept as {file}, to throw it away: {_config(repository, "discard")}'
        ) from None
    if code:
        raise errors.Refused(f'the editor {editor} ended with {code}: nothing is put in place',
                             hint=f'the draft is kept as {file}; to go on: '
                             f'{_config(repository, "edit")}; to throw it away: '
                             f'{_config(repository, "discard")}')


def _again() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input('Edit it again? [Y/n] ').strip().lower() in ('', 'y', 'yes')
    except EOFError:
        return False


def _shown(repository: Repository) -> int:
    """Print what a deployment would do now; 1 when it would be refused."""
    from ..deploying import foreseen
    from ..state import store
    from . import planned

    names = tuple(store.settings(repository.config_path()).unikernels)
    said = Reporter(stream=sys.stderr)
    try:
        planned.show(foreseen.dry_run(repository, names, said), as_json=False)
    except errors.Refused as refused:
        said.failure(refused)
        return 1
    return 0
