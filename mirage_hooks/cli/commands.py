"""What each command does: it gathers what it needs, has it done, and tells what came of it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..state import caller, fastpath
from . import running

if TYPE_CHECKING:
    from ..git.repository import Repository


def do_deploy(given: argparse.Namespace) -> int:
    from ..git.repository import Repository
    from . import names

    repository = Repository(Path(given.repository))
    names.require_configured(repository, given.names)
    chosen = tuple(given.names or names.configured(repository))
    if given.dry_run:
        return _dry_run(repository, chosen, given)
    trigger = f'deploy by {caller.person()}'
    return running.converge(
        Path(given.repository), trigger, given.quiet, anew=chosen, as_json=given.json
    )


def do_pull(given: argparse.Namespace) -> int:
    from ..git.repository import Repository
    from ..host import watcher
    from ..state import store

    repository = Repository(Path(given.repository))
    state = store.opened(repository.state)
    print(state.untold(), end='', flush=True)
    if given.quiet:  # as cron runs it
        watcher.ensure()
    code = _pulled(given, repository)
    if given.quiet and not code:
        state.ran(well=True)
    return code


def _pulled(given: argparse.Namespace, repository: Repository) -> int:
    from ..deploying import pull
    from ..messages.report import Reporter

    trigger = f'{"cron" if given.quiet else "pull"} by {caller.person()}'

    def converged() -> int:
        return running.converge(repository.folder, trigger, given.quiet)

    # First, for a remote may take its time, and visitors wait.
    before, failed = '', 0
    if _died(repository):
        before, failed = repository.references(), converged()
    missed = pull.pull(repository, Reporter(given.quiet))
    if fastpath.holds(repository.git_dir):
        return missed
    if before and before == repository.references():
        return failed or missed
    return converged() or missed


def _died(repository: Repository) -> bool:
    if fastpath.lives(repository.git_dir):
        return False
    from ..deploying import live

    return live.died(repository)


def _dry_run(
    repository: Repository, names: tuple[str, ...], given: argparse.Namespace
) -> int:
    from ..deploying import foreseen
    from ..messages.report import Reporter
    from . import planned

    said = Reporter(stream=sys.stderr)
    planned.show(foreseen.dry_run(repository, names, said), given.json)
    return 0


def do_start(given: argparse.Namespace) -> int:
    return _one(given, 'start', stopped={given.name: False})


def do_stop(given: argparse.Namespace) -> int:
    return _one(given, 'stop', stopped={given.name: True})


def do_restart(given: argparse.Namespace) -> int:
    return _one(given, 'restart', stopped={given.name: False}, restarted=(given.name,))


def _one(given: argparse.Namespace, what: str, **decided: Any) -> int:
    """A converge in which a person decided something of one unikernel."""
    from ..deploying import placed
    from ..git.repository import Repository

    _require_there(given)
    placed.require_ours(Repository(Path(given.repository)), given.name, what)
    trigger = f'{what} by {caller.person()}'
    return running.converge(Path(given.repository), trigger, only=given.name, **decided)


def _require_there(given: argparse.Namespace) -> None:
    from ..git.repository import Repository
    from . import names

    names.require_there(Repository(Path(given.repository)), given.name)


def do_rollback(given: argparse.Namespace) -> int:
    from ..git import discovery

    place = discovery.ahead(Path(given.repository))
    from ..deploying import notify, placed, rollback, told
    from ..git.repository import Repository
    from ..messages.report import Reporter

    _require_there(given)
    placed.require_ours(Repository(Path(given.repository), place), given.name, 'rollback')
    repository, report = Repository(Path(given.repository), place), Reporter()
    trigger = f'rollback by {caller.person()}'
    outcome = rollback.rollback(repository, given.name, given.release, trigger, report)
    told.outcomes(report, [outcome])
    notify.tell(repository, [outcome], trigger, report, event='rolled back')
    return int(outcome.failed)


def do_trust(given: argparse.Namespace) -> int:
    from ..deploying import decided
    from ..git.repository import Repository
    from ..messages.report import Reporter

    repository = Repository(Path(given.repository))
    had = decided.forget_floor(repository, f'trust by {caller.person()}')
    what = f'begins anew for {", ".join(had)}' if had else 'had not begun: nothing to forget'
    Reporter().line(f'trust {what}')
    return 0


def do_keep(given: argparse.Namespace) -> int:
    """What the keeper would say nobody hears: the next pull says it, and cron mails that."""
    import io

    from ..git.repository import Repository
    from ..state import store

    state, said = store.opened(Repository(Path(given.repository)).state), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = running.converge(Path(given.repository), 'keeper', quiet=True)
    if said.getvalue():
        when = time.strftime('%Y-%m-%d %H:%M:%S')
        state.keep_untold(f'the keeper did this by itself at {when}:\n{said.getvalue()}')
    return code


def do_heal(given: argparse.Namespace) -> int:
    from . import watch

    return watch.heal(given)


def do_watch(given: argparse.Namespace) -> int:
    from . import watch

    return watch.watch(Path(given.repository))


def do_drain(given: argparse.Namespace) -> int:
    from ..deploying import drainer
    from ..git.repository import Repository

    drainer.wait(Repository(Path(given.repository)))
    return 0


def do_upgrade(given: argparse.Namespace) -> int:
    from ..installing import upgrade

    return upgrade.upgrade(given.back)


def do_hook(given: argparse.Namespace) -> int:
    from . import hooks

    os.chdir(given.repository)
    return hooks.main(given.name, [])


def do_check(given: argparse.Namespace) -> int:
    if given.files:
        from . import configuring

        return configuring.check(given.files)
    from ..installing import check

    return check.check(Path(given.repository), given.json)


def do_slim(given: argparse.Namespace) -> int:
    from .. import image
    from ..deploying.pull import PATIENCE
    from ..git.repository import Repository
    from ..installing import slim
    from ..messages.report import Reporter, plain
    from ..state import store

    repository, report = Repository(Path(given.repository)), Reporter()
    branch = repository.branch(store.settings(repository.config_path()).branch)
    with store.opened(repository.state).lock('slim', PATIENCE, report.waiting, 'pulling'):
        before, after = slim.slim(repository, branch)
    was, now = image.amount(before), image.amount(after)
    report.line(plain(f'{repository.folder}: {was} before, {now} now'))
    return 0


def do_completion(given: argparse.Namespace) -> int:
    from ..installing import shell

    print(shell.completion(given.shell), end='')
    return 0
