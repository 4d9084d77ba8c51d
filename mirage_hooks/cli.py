"""The command `mirage-hooks`: arguments in, exit codes out. 0 done or nothing to do, 1 refused or
failed, 2 usage, 3 our own fault, 130 interrupted."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, errors, settled
from .site import commands as site

if TYPE_CHECKING:
    from .repository import Repository


def main(arguments: list[str] | None = None) -> int:
    """Run the command line `arguments` (sys.argv's by default); the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    settled.forget_caller()
    settled.close_to_others()
    return _guarded(lambda: int(given.act(given)), Path(given.repository))


def converge(git_dir: Path, trigger: str) -> int:
    """What a hook does when something may have to be done."""
    return _guarded(lambda: _converge(git_dir, trigger, quiet=False), git_dir)


def gate(git_dir: Path, pushed: dict[str, str], trigger: str) -> int:
    """What the pre-receive hook does when the push may have to be refused."""
    return _guarded(lambda: _gate(git_dir, pushed, trigger), git_dir)


def _guarded(act: Callable[[], int], repository: Path) -> int:
    try:
        return act()
    except errors.Refused as refused:
        from .report import Reporter

        Reporter(stream=sys.stderr).refused(refused.reason, refused.hint)
        return 1
    except errors.Usage as usage:
        print(f'mirage-hooks: {usage}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('mirage-hooks: interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception:
        print(f'mirage-hooks: our own fault, please report it{_kept(repository)}', file=sys.stderr)
        return 3


def _kept(repository: Path) -> str:
    """Keep the traceback where the state is, or print it; how the message goes on."""
    text = traceback.format_exc()
    try:
        from . import store
        from .repository import Repository

        path = store.opened(Repository(repository).state).root / 'fault.log'
        with path.open('a') as file:
            file.write(text)
        return f': {text.strip().splitlines()[-1]} (the whole of it in {path})'
    except Exception:  # whatever went wrong first matters more
        return f':\n{text}'


def _converge(
    folder: Path, trigger: str, quiet: bool, anew: tuple[str, ...] = (),
    stopped: dict[str, bool] | None = None, only: str = '',
) -> int:
    from . import deploy, notify
    from .report import Reporter
    from .repository import Repository

    repository, report = Repository(folder), Reporter(quiet)
    outcomes = deploy.converge(repository, deploy.Wish(trigger, anew, stopped or {}), report)
    shown = [outcome for outcome in outcomes if not only or outcome.unikernel == only]
    if not outcomes and not quiet:
        report.line('mirage.yml names no unikernel: nothing to run')
    report.outcomes(shown)
    notify.tell(repository, outcomes, trigger, report)
    return int(any(outcome.failed for outcome in shown))


def _gate(git_dir: Path, pushed: dict[str, str], trigger: str) -> int:
    from . import deploy, notify
    from .report import Reporter
    from .repository import Repository

    repository, report = Repository(git_dir), Reporter()
    refused = deploy.prove(repository, pushed, deploy.Wish(trigger), report)
    report.outcomes(refused)
    if refused:
        report.line('mirage-hooks: the push is refused; the branch stays where it was')
    notify.tell(repository, refused, trigger, report)
    return int(bool(refused))


def _deploy(given: argparse.Namespace) -> int:
    _known(given, given.names)
    names = tuple(given.names or _names(given))
    if given.dry_run:
        return _plan(given, names)
    trigger = f'deploy by {settled.person()}'
    return _converge(Path(given.repository), trigger, given.quiet, anew=names)


def _pull(given: argparse.Namespace) -> int:
    from . import pull
    from .report import Reporter
    from .repository import Repository

    repository = Repository(Path(given.repository))
    trigger = f'{"cron" if given.quiet else "pull"} by {settled.person()}'

    def converged() -> int:
        return _converge(repository.folder, trigger, given.quiet)

    _untold(repository)
    # First, for a remote may take its time, and visitors wait.
    before, failed = '', 0
    if _died(repository):
        before, failed = repository.references(), converged()
    missed = pull.pull(repository, Reporter(given.quiet))
    if settled.holds(repository.git_dir):
        return missed
    if before and before == repository.references():
        return failed or missed
    return converged() or missed


def _died(repository: Repository) -> bool:
    if settled.lives(repository.git_dir):
        return False
    from . import deploy

    return deploy.died(repository)


def _plan(given: argparse.Namespace, names: tuple[str, ...]) -> int:
    from . import deploy, view
    from .report import Reporter
    from .repository import Repository

    said = Reporter(stream=sys.stderr)
    view.plans(deploy.dry_run(Repository(Path(given.repository)), names, said), given.json)
    return 0


def _status(given: argparse.Namespace) -> int:
    from . import view
    from .repository import Repository

    return view.status(Repository(Path(given.repository)), given.json)


def _history(given: argparse.Namespace) -> int:
    from . import view
    from .repository import Repository

    view.history(Repository(Path(given.repository)), given.name, given.lines, given.json)
    return 0


def _logs(given: argparse.Namespace) -> int:
    from . import view
    from .repository import Repository

    view.logs(Repository(Path(given.repository)), given.name, given.lines, given.follow,
              given.failed)
    return 0


def _start(given: argparse.Namespace) -> int:
    _known(given, [given.name])
    return _converge(
        Path(given.repository), f'start by {settled.person()}', quiet=False,
        stopped={given.name: False}, only=given.name,
    )


def _stop(given: argparse.Namespace) -> int:
    _known(given, [given.name])
    return _converge(
        Path(given.repository), f'stop by {settled.person()}', quiet=False,
        stopped={given.name: True}, only=given.name,
    )


def _rollback(given: argparse.Namespace) -> int:
    from . import deploy, notify
    from .report import Reporter
    from .repository import Repository

    _known(given, [given.name])
    repository, report = Repository(Path(given.repository)), Reporter()
    trigger = f'rollback by {settled.person()}'
    outcome = deploy.rollback(repository, given.name, given.release, trigger, report)
    report.outcomes([outcome])
    notify.tell(repository, [outcome], trigger, report, event='rolled back')
    return int(outcome.failed)


def _trust(given: argparse.Namespace) -> int:
    from . import deploy
    from .report import Reporter
    from .repository import Repository

    repository = Repository(Path(given.repository))
    had = deploy.forget_floor(repository, f'trust by {settled.person()}')
    what = f'begins anew for {", ".join(had)}' if had else 'had not begun: nothing to forget'
    Reporter().line(f'trust {what}')
    return 0


def _keep(given: argparse.Namespace) -> int:
    """What the keeper would say nobody hears: the next pull says it, and cron mails that."""
    import io

    from . import store
    from .repository import Repository

    state, said = store.opened(Repository(Path(given.repository)).state), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = _converge(Path(given.repository), 'keeper', quiet=True)
    state.keep_untold(said.getvalue())
    return code


def _untold(repository: Repository) -> None:
    from . import store

    print(store.opened(repository.state).untold(), end='', flush=True)


def _drain(given: argparse.Namespace) -> int:
    from . import drainer
    from .repository import Repository

    drainer.wait(Repository(Path(given.repository)))
    return 0


def _inspect(given: argparse.Namespace) -> int:
    from . import view

    view.inspect(Path(given.image), given.json)
    return 0


def _install(given: argparse.Namespace) -> int:
    from .installing import draft, install
    from .report import Reporter, plain

    report = Reporter()
    path = Path(given.path)
    if given.uninstall:
        said = install.uninstall(path)
    else:
        act = draft.write if given.adopt else install.install
        said = act(path, given.config, '' if given.no_cron else given.cron)
    for line in said:
        report.line(plain(line))
    return 0


def _hook(given: argparse.Namespace) -> int:
    from . import hook

    os.chdir(given.repository)
    return hook.main(given.name, [])


def _check(given: argparse.Namespace) -> int:
    from . import config
    from .checking import check

    if given.files:
        for file in given.files:
            config.load(file)
        return 0
    return check.check(Path(given.repository), given.json)


def _slim(given: argparse.Namespace) -> int:
    from . import config, image, store
    from .installing import slim
    from .pull import PATIENCE
    from .report import Reporter, plain
    from .repository import Repository

    repository, report = Repository(Path(given.repository)), Reporter()
    branch = repository.branch(config.trusted(repository.config_path()).branch)
    with store.opened(repository.state).lock('slim', PATIENCE, report.waiting, 'pulling'):
        before, after = slim.slim(repository, branch)
    was, now = image.amount(before), image.amount(after)
    report.line(plain(f'{repository.folder}: {was} before, {now} now'))
    return 0


def _schema(given: argparse.Namespace) -> int:
    import json

    from . import config

    print(config.reference() if given.markdown else json.dumps(config.schema(), indent=2))
    return 0


def _names(given: argparse.Namespace) -> list[str]:
    from . import config
    from .repository import Repository

    return list(config.trusted(Repository(Path(given.repository)).config_path()).unikernels)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='mirage-hooks', description='Keeps the unikernels of a deployment repository running.'
    )
    parser.add_argument('--version', action='version', version=f'mirage-hooks {__version__}')
    parser.add_argument('-C', dest='repository', metavar='REPOSITORY', default='.',
                        help='the deployment repository, a clone or bare (default: this folder)')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)

    def command(name: str, act: Callable[[argparse.Namespace], int], text: str) -> Any:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(act=act)
        return one

    one = command('status', _status, 'what runs now')
    one.add_argument('--json', action='store_true')
    one = command('history', _history, 'what happened')
    one.add_argument('name', nargs='?', metavar='NAME', default='')
    one.add_argument('-n', '--lines', type=int, default=20, help='how many events (20)')
    one.add_argument('--json', action='store_true')
    one = command('logs', _logs, "a unikernel's console")
    one.add_argument('name', metavar='NAME')
    one.add_argument('-f', '--follow', action='store_true', help='go on as it grows')
    one.add_argument('-n', '--lines', type=int, default=50, help='how many lines (50)')
    one.add_argument('--failed', action='store_true', help='of the last image that was refused')
    one = command('deploy', _deploy, 'make what runs equal what should run, refused images too')
    one.add_argument('names', nargs='*', metavar='NAME')
    one.add_argument('--dry-run', action='store_true', help='print the plan, start nothing')
    one.add_argument('--quiet', action='store_true', help='print only what changed or failed')
    one.add_argument('--json', action='store_true', help='with --dry-run')
    one = command('pull', _pull, 'git pull, then make what runs equal what should run')
    one.add_argument('--quiet', action='store_true', help='print only what changed or failed')
    one = command('rollback', _rollback, 'go back to an earlier release')
    one.add_argument('name', metavar='NAME')
    one.add_argument('release', nargs='?', type=int, metavar='RELEASE')
    for name, act, text in (
        ('start', _start, 'start a stopped unikernel'),
        ('stop', _stop, 'stop a unikernel until `start`'),
    ):
        command(name, act, text).add_argument('name', metavar='NAME')
    one = command('trust', _trust, 'accept that history was rewound')
    one.add_argument('--forget', action='store_true', required=True,
                     help='what is deployed next need not contain what was deployed last')
    command('keep', _keep, 'start again what ended by itself; the keeper, which waits for that, '
            'runs this')
    command('drain', _drain, 'end the releases whose connections have ended or had their time; a '
            'switch starts this by itself')
    one = command('inspect', _inspect, 'what an image is, from its bytes')
    one.add_argument('image', metavar='IMAGE')
    one.add_argument('--json', action='store_true')
    one = command('install', _install, 'put hooks, a mirage.yml and cron lines to a repository')
    one.add_argument('path', metavar='REPOSITORY')
    one.add_argument('--config', type=Path, metavar='FILE', help="the host's mirage.yml")
    when = one.add_mutually_exclusive_group()
    when.add_argument('--cron', metavar='SPEC', help='when to pull (*/7 * * * *)')
    when.add_argument('--no-cron', action='store_true', help='no line in the crontab')
    one.add_argument('--adopt', action='store_true',
                     help="only write the mirage.yml that does what the repository's old scripts "
                     'did; run again without it to go live')
    one.add_argument('--uninstall', action='store_true', help='put all back as it was')
    one = command('hook', _hook, 'what a git hook does, for those that pre-commit runs')
    one.add_argument('name', choices=('post-merge', 'post-rewrite'))
    one = command('check', _check, 'what is missing on this host, and how to get it')
    one.add_argument('files', nargs='*', type=Path, metavar='FILE',
                     help='only say whether these are good mirage.yml files')
    one.add_argument('--json', action='store_true')
    command('slim', _slim, "drop old images from this host's clone; they stay on the remote")
    site.commands(command)
    one = command('schema', _schema, 'the JSON schema of mirage.yml')
    one.add_argument('--markdown', action='store_true', help='every key, for reading')
    return parser
