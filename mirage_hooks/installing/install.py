"""Into a repository, and out of it again: hooks, mirage.yml, the cron lines."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path

import msgspec

from ..git import discovery, repository
from ..messages import errors
from ..state import files, pipe, store
from ..switching import launcher
from . import crontab, hookfolder, starter


class Decision(msgspec.Struct, frozen=True):
    """What an installation will do. `table` is the crontab as it is, None where cron is not; `when`
    is our line's schedule, '' for no line."""

    hooks: dict[str, str]
    places: list[hookfolder.Place]
    settings: Path
    table: bytes | None
    when: str
    command: Path


def install(path: Path, settings: Path | None = None, when: str | None = None) -> list[str]:
    """Install into the repository at `path`; what was done, for a person. `when` is a cron
    schedule, '' for none; None keeps the one that is there. Raises Refused, with nothing
    changed."""
    where = repository.Repository(path)
    decision = _decide(where, settings, when)
    with contextlib.ExitStack() as undo:
        said = [
            *warned(where),
            *_put_hooks(decision, undo),
            *put_settings(where, decision.settings, undo),
            *_put_line(where, decision, undo),
        ]
        remember(where.folder, True)
        undo.pop_all()
    return said


def warned(where: repository.Repository) -> list[str]:
    owner = discovery.owner_of(where.folder)
    if os.geteuid() or owner == 'root':
        return []
    return [f'WARNING: {where.folder} belongs to {owner}, who makes root run commands by its '
            f'configuration and hooks: rather install it as {owner}']


def uninstall(path: Path) -> list[str]:
    """Put back all that `install` changed; what was done, for a person. What runs goes on."""
    if not path.exists():
        said = _take_line(path.absolute())
        remember(path.absolute(), False)
        return said or [f'{path} does not exist, and cron does not know it']
    where = repository.Repository(path)
    _require_writable(where.git_dir)
    pipe.dismiss(where.state)
    said = [*_take_line(where.folder), *_take_hooks(where), *_running(where)]
    with contextlib.suppress(errors.Refused):
        said.append(f'kept: {where.config_path()}')
    if where.state.exists():
        said.append(f'kept: {where.state}, with the releases and the history')
    where.configure('mirage.config', '')
    remember(where.folder, False)
    return said


def _decide(
    where: repository.Repository, settings: Path | None, when: str | None
) -> Decision:
    """Everything is looked at here, so that what follows need not stop half way."""
    if any(character in str(where.folder) for character in '\n\r'):
        raise errors.Refused(f'{where.folder} has a line end in its name', hint='rename it')
    if when:
        when = crontab.spec(when)
    folder = where.hooks()
    _require_writable(where.git_dir)
    _require_writable(folder)
    python, command = _ourselves()
    table = _table(when != '')
    if when is None:
        when = crontab.when(table or b'', where.folder) or crontab.DEFAULT
    return Decision(
        hooks={name: hookfolder.text(name, python) for name in hookfolder.NAMES},
        places=hookfolder.places(folder, None if where.bare else where.folder),
        settings=settings_path(where, settings),
        table=table,
        when=when,
        command=command,
    )


def _table(needed: bool) -> bytes | None:
    try:
        return crontab.read()
    except errors.Unavailable:
        if needed:
            raise
        return None


def settings_path(where: repository.Repository, given: Path | None) -> Path:
    """The mirage.yml to use; raises Refused when it is not this repository's, or a push could
    write it."""
    named = where.setting('mirage.config')
    path = given.absolute() if given else where.config_path() if named else starter.path(where)
    inside = path.resolve().is_relative_to(where.folder)
    if inside and not path.resolve().is_relative_to(where.git_dir):
        raise errors.Refused(
            f'{path} is inside the repository, where a push could change it',
            hint='name a file outside with --config',
        )
    if not path.exists():
        _require_writable(path.parent)
    elif not given and not named and starter.owner(path) not in ('', str(where.folder)):
        raise errors.Refused(
            f'{path} was written for {starter.owner(path)}',
            hint='name another file with --config, or the same one to share it',
        )
    return path


def _put_hooks(decision: Decision, undo: contextlib.ExitStack) -> list[str]:
    said = []
    folder = decision.places[0].path.parent
    with files.writing(folder):
        if not folder.exists():
            folder.mkdir(parents=True)
            undo.callback(folder.rmdir)
        changed = [
            place for place in decision.places
            if hookfolder.put(place, decision.hooks[place.name], undo)
        ]
    names = ', '.join(place.name for place in changed) or 'unchanged'
    said.append(f'hooks: {names} in {folder}')
    for place in changed:
        if place.found == 'other':
            said.append(f'the {place.name} hook that was there runs first, as {place.kept}')
        if place.found == 'tracked':
            target = os.path.realpath(place.kept)
            said.append(
                f'WARNING: the {place.name} hook was a link to {target}, which any push can '
                f'change: it does not run any more, and is kept as {place.kept}; '
                f'to run it by hand: {shlex.quote(target)}'
            )
    return said


def put_settings(
    where: repository.Repository, path: Path, undo: contextlib.ExitStack, text: str = ''
) -> list[str]:
    """Let git's configuration name the mirage.yml at `path`, which gets `text` (a starter's by
    default) when it is not there yet."""
    said = [f'mirage.yml: {path}']
    if not path.exists():
        content = text or starter.text(where)
        with files.writing(path):
            _make_folder(path.parent, undo)
            undo.callback(path.unlink, missing_ok=True)
            path.touch(0o600)  # a webhook's address in it is a secret
            path.write_text(content, 'utf-8', 'surrogateescape')
        what = 'read it, and fill in what is open' if text else 'say there what should run'
        said = [f'mirage.yml: {path} is new: {what}']
    before = where.setting('mirage.config')
    if before != str(path):
        undo.callback(where.configure, 'mirage.config', before)
        where.configure('mirage.config', str(path))
    try:
        store.settings(path)
    except errors.Refused as refused:
        said.append(f'WARNING: {refused.reason}')
    return said


def _put_line(
    where: repository.Repository, decision: Decision, undo: contextlib.ExitStack
) -> list[str]:
    before = decision.table
    if before is None:
        return ['cron: none asked for'] if decision.when == '' else [
            'WARNING: this host has no crontab program, so nothing pulls by itself and nothing '
            f'starts after a reboot: have {shlex.quote(str(decision.command))} '
            f'-C {shlex.quote(str(where.folder))} pull run every few minutes'
        ]
    after = crontab.removed(before, where.folder)
    if decision.when:
        ours = crontab.ours(decision.when, where.folder, decision.command)
        after = crontab.added(before, where.folder, ours)
    if after != before:
        undo.callback(crontab.write, before)
        crontab.write(after)
    boot = ', and at boot' if decision.when not in ('', crontab.BOOT) else ''
    said = [f'cron: {decision.when or "none"}{boot}{"" if after != before else ", unchanged"}']
    for line in crontab.pulls(before, where.folder):
        said.append('your crontab also has its own pull, no longer needed: as long as it stays, '
                    'cron mails `Already up to date.` for it each time; remove it with '
                    f'`crontab -e`: {line}')
    return said


def _take_line(folder: Path) -> list[str]:
    table = _table(needed=False)
    after = crontab.removed(table or b'', folder)
    if table is None or after == table:
        return []
    crontab.write(after)
    return ['cron: our lines are out']


def _take_hooks(where: repository.Repository) -> list[str]:
    try:
        folder = where.hooks()
    except errors.Refused:  # core.hooksPath came later: ours stay where they were put
        folder = where.git_dir / 'hooks'
    with files.writing(folder):
        places = [hookfolder.place(folder, name, None) for name in hookfolder.NAMES]
        gone = [place.name for place in places if hookfolder.take_back(place)]
    said = f'hooks: {", ".join(gone) or "none of ours"} taken out of {folder}'
    return [said, *(line for name in gone for line in _dangling(where, folder / name))]


def _dangling(where: repository.Repository, hook: Path) -> list[str]:
    """That a hook which was put back leads to a file that `slim` took out of the work tree."""
    target = hook.resolve()
    inside = hook.is_symlink() and target.is_relative_to(where.folder)
    if not inside or target.exists() or where.setting('core.sparseCheckout') != 'true':
        return []
    return [f'WARNING: {hook} is a link to {target} again, which is not checked out, so it does '
            f'not run; to bring the files back: git -C {shlex.quote(str(where.folder))} '
            'sparse-checkout disable']


def _running(where: repository.Repository) -> list[str]:
    """What still runs, and how to end it without us."""
    said = []
    state = store.opened(where.state)
    for name in state.names():
        releases = state.of(name)
        release = releases.current()
        if release is None or not launcher.alive(releases, release):
            continue
        run = releases.run(release.number)
        end = f'xl destroy {release.plan.domain}' if run is None else f'kill {run.pid}'
        said.append(f'{name} goes on running; to end it: {end}')
    return said


def _ourselves() -> tuple[Path, Path]:
    """The interpreter for the hooks and the command for cron. install.sh keeps them behind links
    that stay while the environment below them is exchanged."""
    environment = Path(sys.prefix)
    home = environment.parent
    if (home / 'current').is_symlink() and (home / 'current').resolve() == environment.resolve():
        return home / 'current' / 'bin' / 'python', home / 'bin' / 'mirage-hooks'
    return Path(sys.executable), environment / 'bin' / 'mirage-hooks'


def remember(folder: Path, used: bool) -> None:
    """Keep the list of repositories that use this installation: install.sh --uninstall looks."""
    _, command = _ourselves()
    home = command.parent.parent
    if home == Path(sys.prefix) or not os.access(home, os.W_OK):
        return
    path = home / 'repositories'
    with files.writing(path):
        text = path.read_text('utf-8', 'surrogateescape') if path.exists() else ''
        before = [line for line in text.split('\n') if line]
        others = {line for line in before if line != str(folder) and Path(line).exists()}
        after = sorted(others | {str(folder)} if used else others)
        if after != before:
            fresh = path.with_name('repositories.new')
            fresh.write_text(''.join(f'{line}\n' for line in after), 'utf-8', 'surrogateescape')
            fresh.replace(path)


def _make_folder(folder: Path, undo: contextlib.ExitStack) -> None:
    if not folder.exists():
        _make_folder(folder.parent, undo)
        folder.mkdir(0o755)
        undo.callback(folder.rmdir)


def _require_writable(folder: Path) -> None:
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise errors.Refused(
            f'no permission to write into {folder}',
            hint='run this as the user that owns it, or give that user the right',
        )
