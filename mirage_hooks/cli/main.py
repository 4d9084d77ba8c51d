"""The command `mirage-hooks`: arguments in, exit codes out. 0 done or nothing to do, 1 refused or
failed, 2 usage, 3 our own fault, 130 interrupted."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__
from ..site import commands as site
from ..state import caller
from . import commands as acts
from . import running

Command = Callable[[str, Callable[[argparse.Namespace], int], str], Any]
"""Adds a command: its name, what it does, its help; gives its parser."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line `arguments` (sys.argv's by default); the exit code."""
    given = _parser().parse_args(arguments)
    caller.forget()
    caller.close_to_others()
    return running.guarded(lambda: int(given.act(given)), Path(given.repository))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='mirage-hooks', description='Keeps the unikernels of a deployment repository running.'
    )
    parser.add_argument('--version', action='version', version=f'mirage-hooks {__version__}')
    parser.add_argument('-C', dest='repository', metavar='REPOSITORY', default='.',
                        help='the deployment repository, a clone or bare (default: this folder)')
    added = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)

    def command(name: str, act: Callable[[argparse.Namespace], int], text: str) -> Any:
        one = added.add_parser(name, help=text, description=text)
        one.set_defaults(act=act)
        return one

    _asking(command)
    _changing(command)
    _called_by_programs(command)
    _setting_up(command)
    site.commands(command)
    one = command('schema', acts.do_schema, 'the JSON schema of mirage.yml')
    one.add_argument('--markdown', action='store_true', help='every key, for reading')
    return parser


def _asking(command: Command) -> None:
    one = command('status', acts.do_status, 'what runs now')
    one.add_argument('--json', action='store_true')
    one = command('history', acts.do_history, 'what happened')
    one.add_argument('name', nargs='?', metavar='NAME', default='')
    one.add_argument('-n', '--lines', type=int, default=20, help='how many events (20)')
    one.add_argument('--json', action='store_true')
    one = command('logs', acts.do_logs, "a unikernel's console")
    one.add_argument('name', metavar='NAME')
    one.add_argument('-f', '--follow', action='store_true', help='go on as it grows')
    one.add_argument('-n', '--lines', type=int, default=50, help='how many lines (50)')
    one.add_argument('--failed', action='store_true', help='of the last image that was refused')


def _changing(command: Command) -> None:
    one = command('deploy', acts.do_deploy,
                  'make what runs equal what should run, refused images too')
    one.add_argument('names', nargs='*', metavar='NAME')
    one.add_argument('--dry-run', action='store_true', help='print the plan, start nothing')
    one.add_argument('--quiet', action='store_true', help='print only what changed or failed')
    one.add_argument('--json', action='store_true', help='with --dry-run')
    one = command('pull', acts.do_pull, 'git pull, then make what runs equal what should run')
    one.add_argument('--quiet', action='store_true', help='print only what changed or failed')
    one = command('rollback', acts.do_rollback, 'go back to an earlier release')
    one.add_argument('name', metavar='NAME')
    one.add_argument('release', nargs='?', type=int, metavar='RELEASE')
    for name, act, text in (
        ('start', acts.do_start, 'start a stopped unikernel'),
        ('stop', acts.do_stop, 'stop a unikernel until `start`'),
    ):
        command(name, act, text).add_argument('name', metavar='NAME')
    one = command('trust', acts.do_trust, 'accept that history was rewound')
    one.add_argument('--forget', action='store_true', required=True,
                     help='what is deployed next need not contain what was deployed last')


def _called_by_programs(command: Command) -> None:
    command('keep', acts.do_keep, 'start again what ended by itself; the keeper, which waits for '
            'that, runs this')
    command('drain', acts.do_drain, 'end the releases whose connections have ended or had their '
            'time; a switch starts this by itself')
    one = command('hook', acts.do_hook, 'what a git hook does, for those that pre-commit runs')
    one.add_argument('name', choices=('post-merge', 'post-rewrite'))


def _setting_up(command: Command) -> None:
    one = command('inspect', acts.do_inspect, 'what an image is, from its bytes')
    one.add_argument('image', metavar='IMAGE')
    one.add_argument('--json', action='store_true')
    one = command('install', acts.do_install,
                  'put hooks, a mirage.yml and cron lines into a repository')
    one.add_argument('path', metavar='REPOSITORY')
    one.add_argument('--config', type=Path, metavar='FILE', help="the host's mirage.yml")
    when = one.add_mutually_exclusive_group()
    when.add_argument('--cron', metavar='SPEC', help='when to pull (*/7 * * * *)')
    when.add_argument('--no-cron', dest='cron', action='store_const', const='',
                      help='no line in the crontab')
    when.add_argument('--timer', dest='cron', action='store_const', const='timer',
                      help='a systemd timer in the place of the cron lines')
    one.add_argument('--adopt', action='store_true',
                     help="only write the mirage.yml that does what the repository's old scripts "
                     'did; run again without it to go live')
    one.add_argument('--uninstall', action='store_true', help='put all back as it was')
    one.add_argument('--stop', action='store_true', help='with --uninstall: end what runs')
    one.add_argument('--purge', action='store_true', help='with --uninstall: remove the state')
    one = command('check', acts.do_check, 'what is missing on this host, and how to get it')
    one.add_argument('files', nargs='*', type=Path, metavar='FILE',
                     help='only say whether these are good mirage.yml files')
    one.add_argument('--json', action='store_true')
    command('slim', acts.do_slim,
            "drop old images from this host's clone; they stay on the remote")
