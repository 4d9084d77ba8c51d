"""The command line: each command with its options. --help, the completion of a shell and the manual
page are made from it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__
from ..messages import nearest, terminal
from ..site import commands as site
from . import arguments, asking, bisecting, configuring, placing, setting_up, written
from . import commands as acts

Command = Callable[..., Any]
"""Adds a command: its name, what it does, its help, whether it has `--json`; gives its parser."""

INTERNAL = ('keep', 'drain', 'heal', 'hook', 'ocf')
"""What programs call: without a help of their own, so that --help does not list them."""

CODES = (
    'Exit codes: 0 done, or nothing to do; 1 refused, failed, or something is down or missing; '
    '2 a command line that makes no sense; 3 our own fault; 130 interrupted.'
)


class Parser(argparse.ArgumentParser):
    """Says which command or option was meant."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        given, unknown = super().parse_known_args(args, namespace)
        options = [one for one in unknown if one.startswith('--')]
        known = [one for one in self._option_string_actions if one.startswith('--')]
        if options and (meant := nearest.question(options[0].partition('=')[0], known)):
            self.error(f'unrecognized arguments: {" ".join(unknown)}; {meant}')
        if options and self._belongs_behind(options[0].partition('=')[0], given):
            self.error(f'unrecognized arguments: {" ".join(unknown)}; it belongs behind the '
                       f'command: mirage-hooks {given.command} {options[0]}')
        return given, unknown

    def _belongs_behind(self, option: str, given: argparse.Namespace) -> bool:
        """Whether the command that is `given` has `option`, which stood before it."""
        found = (one.choices for one in self._actions if one.dest == 'command')
        commands: Any = next(found, None) or {}
        command = commands.get(getattr(given, 'command', None))
        return command is not None and option in command._option_string_actions

    def error(self, message: str) -> Any:
        """As ever; for what must be chosen, with the choices."""
        for one in self._actions:
            lacks = message == f'the following arguments are required: {one.dest}'
            if lacks and one.choices and not one.option_strings and one.dest != 'command':
                message = f'{message}: {", ".join(map(str, one.choices))}'
        super().error(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        commands = action.choices if action.dest in ('command', 'topic') else None
        if commands is None or value in commands:
            return super()._check_value(action, value)
        what = nearest.question(value, commands) or '`mirage-hooks help` lists them'
        raise argparse.ArgumentError(None, f'{value}: no such command; {what}')


def parsed(words: list[str] | None) -> argparse.Namespace:
    """What the command line `words` (sys.argv's by default) says; exits with 2 when it makes no
    sense. `named` is the repository that it names, None where it names none."""
    parser = build()
    if '_ARGCOMPLETE' in os.environ:  # the completion of a shell asks
        import argcomplete

        argcomplete.autocomplete(parser)
    given = parser.parse_args(words)
    if given.json and not given.answers_json:
        parser.error(f'{given.command} has no --json')
    given.named, given.repository = given.repository, given.repository or '.'
    return given


def build() -> argparse.ArgumentParser:
    """The whole of it."""
    parser = Parser(
        prog='mirage-hooks', epilog=CODES,
        description='Keeps the unikernels of a deployment repository running.',
    )
    parser.add_argument('--version', action='version', version=f'mirage-hooks {__version__}')
    _everywhere(parser, None, terminal.colour, False, True)
    added = parser.add_subparsers(
        title='commands', metavar='COMMAND', dest='command', required=True
    )

    def command(
        name: str, act: Callable[[argparse.Namespace], int], text: str, json: bool = False
    ) -> Any:
        listed: dict[str, Any] = {} if name in INTERNAL else {'help': text}
        one = added.add_parser(name, description=text, **listed)
        # A default of its own would undo what was given before the command.
        _everywhere(one, argparse.SUPPRESS, argparse.SUPPRESS, argparse.SUPPRESS, json)
        one.set_defaults(act=act, answers_json=json)
        return one

    _asking(command)
    _changing(command)
    _called_by_programs(command)
    _setting_up(command)
    written.commands(command)
    site.commands(command)
    command('schema', configuring.do_schema, 'the JSON schema of mirage.yml').add_argument(
        '--markdown', action='store_true', help='every key, for reading')
    command('completion', acts.do_completion, 'what a shell reads to complete this command'
            ).add_argument('shell', choices=('bash', 'zsh', 'fish'))

    def help_(given: argparse.Namespace) -> int:
        (added.choices[given.topic] if given.topic else parser).print_help()
        return 0

    command('help', help_, 'how a command is called').add_argument(
        'topic', nargs='?', metavar='COMMAND', choices=added.choices)
    return parser


def _everywhere(
    parser: argparse.ArgumentParser, here: Any, colour: str, not_json: Any, json: bool
) -> None:
    """What may stand before the command and behind it."""
    parser.add_argument('-C', dest='repository', metavar='REPOSITORY', default=here,
                        help='the deployment repository, a clone or bare (default: this folder)')
    parser.add_argument('--color', choices=terminal.CHOICES, default=colour, metavar='WHEN',
                        help='auto, always or never; auto heeds NO_COLOR')
    if json:
        parser.add_argument('--json', action='store_true', default=not_json,
                            help='answer for a program, where the command has an answer')


def _asking(command: Command) -> None:
    one = command('status', asking.do_status, 'what runs now, whether it answers, how it was',
                  json=True)
    arguments.name(one, nargs='?')
    one.add_argument('--all', action='store_true', help='of every repository of this user')
    one.add_argument('--cluster', action='store_true',
                     help='what Pacemaker places, on every host of its cluster')
    one.add_argument('--watch', action='store_true', help='draw it anew every two seconds')
    one = command('probe', asking.do_probe, 'whether one answers now: exit code 0 or 1, for '
                  'keepalived and balancers')
    arguments.name(one)
    one.add_argument('--within', type=site.duration, default=1.0, metavar='TIME',
                     help='for all its questions together (1s)')
    one = command('history', asking.do_history, 'what happened', json=True)
    arguments.name(one, nargs='?')
    one.add_argument('-n', '--lines', type=arguments.count, default=20, help='how many events (20)')
    one = command('logs', asking.do_logs, 'what the unikernels print, release by release')
    arguments.name(one, nargs='?')
    one.add_argument('-f', '--follow', action='store_true', help='go on as it grows')
    one.add_argument('-n', '--lines', type=arguments.count, default=50,
                     help='how many lines of each unikernel (50)')
    one.add_argument('--failed', action='store_true', help='of the last image that was refused')
    command('watch', acts.do_watch, 'ask what runs for as long as it runs, restart what is silent, '
            'and show what is seen')
    bisecting.add(command, arguments.name)


def _changing(command: Command) -> None:
    one = command('deploy', acts.do_deploy,
                  'make what runs equal what should run, refused images too', json=True)
    arguments.name(one, 'names', nargs='*')
    one.add_argument('--dry-run', action='store_true', help='only say what would change')
    one.add_argument('--quiet', action='store_true', help='print only what changed or failed')
    one = command('pull', acts.do_pull, 'git pull, then make what runs equal what should run')
    one.add_argument('--quiet', action='store_true', help='print only what changed or failed')
    one = command('rollback', acts.do_rollback, 'go back to an earlier release')
    arguments.name(one)
    one.add_argument('release', nargs='?', type=arguments.count, metavar='RELEASE',
                     help='its number in `history` (the one that was live before)')
    for name, act, text in (
        ('start', acts.do_start, 'start a stopped unikernel'),
        ('stop', acts.do_stop, 'stop a unikernel until `start`'),
        ('restart', acts.do_restart, 'stop a unikernel, start it, and see that it serves'),
    ):
        arguments.name(command(name, act, text))
    one = command('trust', acts.do_trust, 'accept that history was rewound')
    one.add_argument('--forget', action='store_true', required=True,
                     help='what is deployed next need not contain what was deployed last')


def _called_by_programs(command: Command) -> None:
    command('keep', acts.do_keep, 'start again what ended by itself; the keeper, which waits for '
            'that, runs this')
    command('drain', acts.do_drain, 'end the releases whose connections have ended or had their '
            'time; a switch starts this by itself')
    one = command('heal', acts.do_heal, 'restart a silent release, roll it back, or tell of it; '
                  '`watch` runs this')
    arguments.name(one)
    one.add_argument('what', choices=('restart', 'rollback', 'silent', 'answers', 'fault'))
    one.add_argument('--release', type=arguments.count, required=True,
                     help='the one that is silent')
    one.add_argument('--reason', default='', help='what it did not answer')
    one.add_argument('--hint', default='', help='what a person may do about it')
    one.add_argument('--quiet', action='store_true', help='without `notify:`')
    one = command('ocf', placing.do_ocf, 'what the resource agent does for Pacemaker, whose '
                  'parameters come by the environment')
    one.add_argument('action', help='start, stop, monitor, validate-all, reload-agent')
    one = command('hook', acts.do_hook, 'what a git hook does, for those that pre-commit runs')
    one.add_argument('name', choices=('post-merge', 'post-rewrite'))


def _setting_up(command: Command) -> None:
    one = command('inspect', asking.do_inspect, 'what an image is, from its bytes', json=True)
    one.add_argument('image', metavar='IMAGE')
    one = command('install', setting_up.do_install,
                  'put hooks into a repository, with a mirage.yml and cron lines for it')
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
    one.add_argument('--pacemaker', action='store_true',
                     help="only put the resource agent in place, and print the pcs commands for "
                     'what mirage.yml has Pacemaker place')
    one.add_argument('--apply', action='store_true', help='with --pacemaker: run them')
    one.add_argument('--uninstall', action='store_true', help='put all back as it was')
    one.add_argument('--stop', action='store_true', help='with --uninstall: end what runs')
    one.add_argument('--purge', action='store_true', help='with --uninstall: remove the state')
    command('upgrade', acts.do_upgrade, 'bring mirage-hooks itself up to date, or go back'
            ).add_argument('--back', action='store_true',
                           help='to the version that was installed before')
    one = command('check', acts.do_check, 'whether the next push would end well, and what to do',
                  json=True)
    one.add_argument('files', nargs='*', type=Path, metavar='FILE',
                     help='only say whether these are good mirage.yml files')
    one = command('config', configuring.do_config, "show this deployment's mirage.yml, or edit it")
    one.add_argument('what', choices=('show', 'edit', 'discard'),
                     help='edit: in $VISUAL or $EDITOR, checked before it is put in place; '
                     'discard: throw away the draft that an edit left')
    command('slim', acts.do_slim,
            "drop old images from this host's clone; they stay on the remote")
