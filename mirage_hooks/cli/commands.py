"""What each command does: it gathers what it needs, has it done, and tells what came of it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import errors
from ..state import caller, fastpath
from . import running

if TYPE_CHECKING:
    from ..git.repository import Repository


def do_deploy(given: argparse.Namespace) -> int:
    _known(given, given.names)
    names = tuple(given.names or _names(given))
    if given.dry_run:
        return _plan(given, names)
    trigger = f'deploy by {caller.person()}'
    return running.converge(Path(given.repository), trigger, given.quiet, anew=names)


def do_pull(given: argparse.Namespace) -> int:
    from ..deploying import pull
    from ..git.repository import Repository
    from ..messages.report import Reporter

    repository = Repository(Path(given.repository))
    trigger = f'{"cron" if given.quiet else "pull"} by {caller.person()}'

    def converged() -> int:
        return running.converge(repository.folder, trigger, given.quiet)

    _untold(repository)
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


def _plan(given: argparse.Namespace, names: tuple[str, ...]) -> int:
    from ..deploying import candidate
    from ..git.repository import Repository
    from ..messages.report import Reporter
    from . import view

    said = Reporter(stream=sys.stderr)
    view.plans(candidate.dry_run(Repository(Path(given.repository)), names, said), given.json)
    return 0


def do_status(given: argparse.Namespace) -> int:
    from ..git.repository import Repository
    from . import view

    return view.status(Repository(Path(given.repository)), given.json)


def do_history(given: argparse.Namespace) -> int:
    from ..git.repository import Repository
    from . import view

    view.history(Repository(Path(given.repository)), given.name, given.lines, given.json)
    return 0


def do_logs(given: argparse.Namespace) -> int:
    from ..git.repository import Repository
    from . import view

    view.logs(Repository(Path(given.repository)), given.name, given.lines, given.follow,
              given.failed)
    return 0


def do_start(given: argparse.Namespace) -> int:
    _known(given, [given.name])
    return running.converge(
        Path(given.repository), f'start by {caller.person()}', quiet=False,
        stopped={given.name: False}, only=given.name,
    )


def do_stop(given: argparse.Namespace) -> int:
    _known(given, [given.name])
    return running.converge(
        Path(given.repository), f'stop by {caller.person()}', quiet=False,
        stopped={given.name: True}, only=given.name,
    )


def do_rollback(given: argparse.Namespace) -> int:
    from ..deploying import notify, rollback, told
    from ..git.repository import Repository
    from ..messages.report import Reporter

    _known(given, [given.name])
    repository, report = Repository(Path(given.repository)), Reporter()
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
    state.keep_untold(said.getvalue())
    return code


def _untold(repository: Repository) -> None:
    from ..state import store

    print(store.opened(repository.state).untold(), end='', flush=True)


def do_drain(given: argparse.Namespace) -> int:
    from ..deploying import drainer
    from ..git.repository import Repository

    drainer.wait(Repository(Path(given.repository)))
    return 0


def do_inspect(given: argparse.Namespace) -> int:
    from . import view

    view.inspect(Path(given.image), given.json)
    return 0


def do_install(given: argparse.Namespace) -> int:
    from ..installing import draft, install, uninstall
    from ..messages.report import Reporter, plain

    report, path = Reporter(), Path(given.path)
    if (given.stop or given.purge) and not given.uninstall:
        raise errors.Usage('--stop and --purge go with --uninstall')
    if given.uninstall:
        said = uninstall.uninstall(path, given.stop, given.purge)
    else:
        said = (draft.write if given.adopt else install.install)(path, given.config, given.cron)
    for line in said:
        report.line(plain(line))
    return 0


def do_hook(given: argparse.Namespace) -> int:
    from . import hooks

    os.chdir(given.repository)
    return hooks.main(given.name, [])


def do_check(given: argparse.Namespace) -> int:
    from ..config import reading
    from ..installing import check

    if given.files:
        for file in given.files:
            reading.load(file)
        return 0
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


def do_schema(given: argparse.Namespace) -> int:
    import json

    from ..config import reference

    print(reference.reference() if given.markdown else json.dumps(reference.schema(), indent=2))
    return 0


def _names(given: argparse.Namespace) -> list[str]:
    from ..git.repository import Repository
    from ..state import store

    repository = Repository(Path(given.repository))
    return list(store.settings(repository.config_path(), repository.state).unikernels)


def _known(given: argparse.Namespace, names: list[str]) -> None:
    """Refuse a name that mirage.yml does not have, before anything is done."""
    if not names:
        return
    configured = _names(given)
    for name in names:
        if name not in configured:
            raise errors.Refused(
                f'mirage.yml names no unikernel {name}', hint=f'it names {", ".join(configured)}'
            )
