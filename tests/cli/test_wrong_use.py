"""Every command, used wrongly: exit code 2 for a command line that makes no sense, 1 for what is
not there; and whatever it is, nothing on the standard output."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_hooks.cli import parser
from tests.deployment import Deployment, run

NO_SENSE = {
    '': 'the following arguments are required: COMMAND',
    'nonsense': 'nonsense: no such command; `mirage-hooks help` lists them',
    'statsu': 'statsu: no such command; did you mean status?',
    'help statsu': 'statsu: no such command; did you mean status?',
    '--json statsu': 'statsu: no such command; did you mean status?',
    '--jso=1 status': "argument --json: ignored explicit argument '1'",
    'status www blog': 'unrecognized arguments: blog',
    'history -n many': "argument -n/--lines: 'many' is not a number from 0",
    'history -n -1': "argument -n/--lines: '-1' is not a number from 0",
    'logs -n -1': "argument -n/--lines: '-1' is not a number from 0",
    'logs --json': 'unrecognized arguments: --json',
    '--json logs': 'logs has no --json',
    'deploy --dryrun': 'unrecognized arguments: --dryrun; did you mean --dry-run?',
    'status --josn': 'unrecognized arguments: --josn; did you mean --json?',
    '--dry-run deploy': 'unrecognized arguments: --dry-run; it belongs behind the command: '
    'mirage-hooks deploy --dry-run',
    '--josn status': 'unrecognized arguments: --josn; did you mean --json?',
    'pull --json': 'unrecognized arguments: --json',
    '--json pull': 'pull has no --json',
    'rollback': 'the following arguments are required: NAME',
    'rollback www x': "argument RELEASE: 'x' is not a number from 0",
    'acme': 'the following arguments are required: what: thumbprint',
    'bisect': 'the following arguments are required: NAME',
    'bisect www blog': 'unrecognized arguments: blog',
    'start': 'the following arguments are required: NAME',
    'stop': 'the following arguments are required: NAME',
    'restart': 'the following arguments are required: NAME',
    'restart www blog': 'unrecognized arguments: blog',
    'trust': 'the following arguments are required: --forget',
    'keep www': 'unrecognized arguments: www',
    'drain www': 'unrecognized arguments: www',
    'hook': 'the following arguments are required: name: post-merge, post-rewrite',
    'hook pre-push': "argument name: invalid choice: 'pre-push'",
    'ocf': 'the following arguments are required: action',
    'inspect': 'the following arguments are required: IMAGE',
    'install': 'the following arguments are required: REPOSITORY',
    'upgrade www': 'unrecognized arguments: www',
    'install . --cron x --no-cron': 'argument --no-cron: not allowed with argument --cron',
    'check --nonsense': 'unrecognized arguments: --nonsense',
    'config': 'the following arguments are required: what: show, edit, discard',
    'config nope': "argument what: invalid choice: 'nope'",
    'watch www': 'unrecognized arguments: www',
    'heal www': 'the following arguments are required: what, --release',
    'slim www': 'unrecognized arguments: www',
    'init a b': 'unrecognized arguments: b',
    'publish --keep 0': "argument --keep: '0' is not a number from 1",
    'prune': 'the following arguments are required: --to',
    'promote --to x': 'the following arguments are required: --host',
    'promote --to x --host a:b --after 5': "argument --after: '5' is not a number and ms, s, m or "
    'h, such as 10m',
    'probe': 'the following arguments are required: NAME',
    'probe www --within x': "argument --within: 'x' is not a number and ms, s, m or h",
    'schema --yaml': 'unrecognized arguments: --yaml',
    'completion': 'the following arguments are required: shell: bash, zsh, fish',
    'completion tcsh': "argument shell: invalid choice: 'tcsh'",
    'metrics --frsh': 'unrecognized arguments: --frsh; did you mean --fresh?',
    'page --too x': 'unrecognized arguments: --too x; did you mean --to?',
    '-C': 'argument -C: expected one argument',
    'status -C': 'argument -C: expected one argument',
}

NOT_THERE = {
    'status nope': ('no unikernel is called nope', 'known are: www'),
    'status wwww': ('no unikernel is called wwww', 'did you mean www?'),
    'history nope': ('no unikernel is called nope', 'known are: www'),
    'history wwww': ('no unikernel is called wwww', 'did you mean www?'),
    'logs wwww': ('no unikernel is called wwww', 'did you mean www?'),
    'logs nope --failed': ('no unikernel is called nope', 'known are: www'),
    'logs --failed': ('no console of a refused image is kept',
                      '`mirage-hooks status` says why something is refused'),
    'logs www --failed': ('no console of a refused image of www is kept',
                          '`mirage-hooks status` says why something is refused'),
    'deploy nope': ('mirage.yml names no unikernel nope', 'it names www'),
    'deploy wwww': ('mirage.yml names no unikernel wwww', 'did you mean www?'),
    'deploy www nope --dry-run': ('mirage.yml names no unikernel nope', 'it names www'),
    'rollback nope': ('mirage.yml names no unikernel nope', 'it names www'),
    'bisect nope': ('mirage.yml names no unikernel nope', 'it names www'),
    'start nope': ('mirage.yml names no unikernel nope', 'it names www'),
    'stop nope': ('mirage.yml names no unikernel nope', 'it names www'),
    'restart nope': ('mirage.yml names no unikernel nope', 'it names www'),
    'probe nope': ('mirage.yml names no unikernel nope', 'it names www'),
    'probe ww': ('mirage.yml names no unikernel ww', 'did you mean www?'),
    'restart ww': ('mirage.yml names no unikernel ww', 'did you mean www?'),
    'inspect /nope': ('/nope is not a file', ''),
    'publish /nope --to /nope': ('cannot read /nope: No such file or directory', ''),
}


def test_every_command_is_used_wrongly_here() -> None:
    used = {word for line in (*NO_SENSE, *NOT_THERE) for word in line.split()}
    assert set(parser.build()._subparsers._group_actions[0].choices) - used == set()  # type: ignore


@pytest.mark.parametrize('line', NO_SENSE)
def test_a_command_line_that_makes_no_sense_exits_2(shared: Deployment, line: str) -> None:
    done = shared.mirage(*line.split())
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith('usage: mirage-hooks ')
    said = done.stderr.splitlines()[-1].partition(' error: ')[2]
    assert said.startswith(NO_SENSE[line])


@pytest.mark.parametrize('line', NOT_THERE)
def test_what_is_not_there_exits_1_and_says_what_is(shared: Deployment, line: str) -> None:
    reason, hint = NOT_THERE[line]
    done = shared.mirage(*line.split())
    expected = f'mirage-hooks: {reason}\n' + (f'  hint: {hint}\n' if hint else '')
    assert (done.returncode, done.stdout, done.stderr) == (1, '', expected)
    assert shared.page() == 'one'


@pytest.mark.parametrize('command', [
    'status', 'history', 'logs', 'deploy', 'pull', 'rollback www', 'start www', 'stop www',
    'restart www', 'trust --forget', 'keep', 'drain', 'check', 'slim',
])
def test_a_repository_that_is_not_there_is_named_wherever_it_is_given(
    tmp_path: Path, shared: Deployment, command: str
) -> None:
    mirage = shared.command()[:-2]
    before = run(*mirage, '-C', '/nope', *command.split(), cwd=tmp_path)
    after = run(*mirage, *command.split(), '-C', '/nope', cwd=tmp_path)
    assert (before.returncode, before.stdout) == (1, '')
    assert before.stderr.startswith('mirage-hooks: /nope does not exist\n')
    assert (after.returncode, after.stdout, after.stderr) == (1, '', before.stderr)


def test_json_may_stand_before_the_command_and_behind_it(shared: Deployment) -> None:
    first = shared.mirage('--json', 'history').stdout
    assert first == shared.mirage('history', '--json').stdout
    assert first.startswith('[\n')


def test_help_of_a_command_is_that_commands_help(shared: Deployment) -> None:
    done = shared.mirage('help', 'restart')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout == shared.mirage('restart', '--help').stdout
    assert 'stop a unikernel, start it, and see that it serves\n' in done.stdout


def test_help_alone_lists_the_commands_and_the_exit_codes(shared: Deployment) -> None:
    done = shared.mirage('help')
    assert done.stdout == shared.mirage('--help').stdout
    assert done.stdout.endswith(
        'Exit codes: 0 done, or nothing to do; 1 refused, failed, or something is down\n'
        'or missing; 2 a command line that makes no sense; 3 our own fault; 130\n'
        'interrupted.\n'
    )
