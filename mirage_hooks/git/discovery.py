"""Which repository a folder belongs to, by git's own word, and none that a push could have brought:
a tree may hold folders that look like git directories, with a configuration and state of theirs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..messages import errors
from ..state import caller, ownership

PATIENCE = 60.0  # seconds for one question
ASKED = ('--is-bare-repository', '--absolute-git-dir', '--git-common-dir', '--show-toplevel')


class Place(NamedTuple):
    """A repository: `git_dir` is the same from each of its linked work trees, `tree` the top of its
    main work tree; None for a bare one, or (`bare` is false then) when it cannot be told."""

    git_dir: Path
    tree: Path | None
    bare: bool


class _Said(NamedTuple):
    """What git says in a folder; `top` is None outside a work tree."""

    bare: bool
    own: Path
    common: Path
    top: Path | None


def find(path: Path) -> Place:
    """The repository that `path` lies in; raises Refused when there is none, or when a push to
    another one could have written it."""
    if not path.exists():
        raise errors.Refused(f'{path} does not exist')
    if not path.is_dir():
        raise errors.Refused(
            f'{path} is no folder', hint='give a clone or a bare repository with -C'
        )
    said = _ask(path)
    for git_dir in dict.fromkeys((said.own, said.common)):
        _require_apart(git_dir)
    main = said if said.own == said.common else _ask(said.common)
    if main.own != said.common:
        raise errors.Refused(f'{said.common}, which {said.own} names, is not a git directory')
    return Place(said.common, None if main.bare else main.top or _next_to(said.common), main.bare)


def ahead(path: Path) -> Callable[[], Place]:
    """Begin `find`, while something else is done; it is ended by calling what this returns."""
    found: list[Place] = []
    raised: list[Exception] = []

    def ask() -> None:
        try:
            found.append(find(path))
        except Exception as error:  # for whoever asks for the result
            raised.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()

    def result() -> Place:
        asking.join()
        if raised:
            raise raised[0]
        return found[0]

    return result


def _next_to(git_dir: Path) -> Path | None:
    """The work tree that the folder `.git` is in, as git sees it from there."""
    said = _ask(git_dir.parent) if git_dir.name == '.git' else None
    return said.top if said is not None and said.own == git_dir else None


def _require_apart(git_dir: Path) -> None:
    """Refuse a git directory that a push could write. In each work tree that is everything but what
    is called .git, which git takes from nobody."""
    for above in git_dir.parents:
        if '.git' in git_dir.relative_to(above).parts:
            continue
        if (above / '.git').exists() and (top := _top(above)) and git_dir.is_relative_to(top):
            raise errors.Refused(
                f'{git_dir} lies in the work tree of {top}: a push to that one could have made it',
                hint=f'name the repository that you mean with -C {shlex.quote(str(top))}, or move '
                'this one out of that work tree',
            )


def _top(folder: Path) -> Path | None:
    """The top of the work tree that `folder` is in, also when it is another user's."""
    try:
        return _ask(folder).top
    except NoRepository:
        return None
    except errors.Refused:
        return folder


class NoRepository(errors.Refused):
    """There is no repository at all."""


def _ask(folder: Path) -> _Said:
    try:
        done = subprocess.run(
            ('git', '-C', str(folder), 'rev-parse', *ASKED), env=_environment(), check=False,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise errors.Unavailable(
            f'git took more than {PATIENCE:g} s, and was ended', hint='is its disk well?'
        ) from None
    lines = os.fsdecode(done.stdout).split('\n')[:-1]
    if not lines:
        raise complaint(os.fsdecode(done.stderr), folder)
    if len(lines) != len(ASKED) - bool(done.returncode):  # without a work tree the last one fails
        raise errors.Refused(f'{folder} has a line end in its name', hint='rename it')
    bare, own, common, *top = lines
    return _Said(
        bare == 'true', Path(own).resolve(), (folder / common).resolve(),
        Path(top[0]).resolve() if top else None,
    )


def _environment() -> dict[str, str]:
    """The caller's, without what git exports about the repository that the caller works on."""
    kept = {key: value for key, value in os.environ.items()
            if key not in caller.LOCAL and key not in caller.QUARANTINE}
    return {**kept, 'LC_ALL': 'C', 'LANGUAGE': 'C', 'GIT_DISCOVERY_ACROSS_FILESYSTEM': '1'}


def complaint(text: str, folder: Path) -> errors.Refused:
    """What git printed on stderr in `folder`, as what is wrong and what to do."""
    lock = re.search(r"Unable to create '(.+\.lock)': File exists", text)
    if lock:
        return errors.Unavailable(
            f'git: {lock[0]}',
            hint=f'if no git runs in {folder}, one that was killed left it: '
            f'rm {shlex.quote(lock[1])}',
        )
    if 'dubious ownership' in text or 'unsafe repository' in text:  # the latter before git 2.36
        named = re.search(r"dubious ownership in repository at '(.+)'$", text, re.M)
        return _another_s(Path(named[1]) if named else folder)
    if 'not a git repository' in text:
        return NoRepository(
            f'{folder} is not a git repository', hint='give a clone or a bare repository with -C'
        )
    return errors.Unavailable(f'git: {_gist(text) or "it ended without a word"}')


def _another_s(folder: Path) -> errors.Refused:
    owner = owner_of(folder)
    us = 'root' if os.geteuid() == 0 else 'you'
    return errors.Refused(
        f'git refuses {folder}: it belongs to another user, {owner}',
        hint=f'run this as its owner: sudo -u {shlex.quote(owner)} …; git\'s own way out, '
        f'safe.directory, would run as {us} whatever {owner} writes into its configuration and '
        'hooks',
    )


def owner_of(folder: Path) -> str:
    """Whose repository the one at `folder` is: the other's where two users share it."""
    owners = [path.stat().st_uid for path in (folder / '.git', folder) if path.exists()]
    return ownership.user(next((one for one in owners if one != os.geteuid()), os.geteuid()))


def _gist(text: str) -> str:
    """The line of git's many that says what is wrong."""
    lines = [line.strip() for line in text.split('\n') if line.strip()]
    for index, line in enumerate(lines):
        if line.startswith(('fatal: ', 'error: ')):
            more = lines[index + 1 : index + 2] if line.endswith(':') else []
            return ' '.join([line.partition(': ')[2], *more])
    return lines[0] if lines else ''
