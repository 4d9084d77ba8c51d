"""What helps at the keyboard: completion, from the same parser as the help, and the manual page."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mirage_hooks.cli import parser
from tests.deployment import ROOT, Deployment, run, web
from tests.guests.scene import needs

PAGE = ROOT / 'mirage_hooks/cli/mirage-hooks.1'


def completed(deployment: Deployment, line: str) -> list[str]:
    """What bash offers behind `line`, by the script that `completion bash` prints."""
    command = deployment.folder / 'bin/mirage-hooks'
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -m mirage_hooks "$@"\n')
    command.chmod(0o755)
    program = (
        'eval "$(mirage-hooks completion bash)"; COMP_LINE=$1; COMP_POINT=${#1}; '
        '_python_argcomplete mirage-hooks; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ('bash', '-c', program, 'bash', line), cwd=deployment.host, text=True, check=True,
        capture_output=True, stdin=subprocess.DEVNULL,
        env={**os.environ, 'PATH': f'{command.parent}:{os.environ["PATH"]}'},
    )
    return done.stdout.split()


@pytest.mark.parametrize(('line', 'offered'), [
    ('mirage-hooks st', ['status', 'start', 'stop']),
    ('mirage-hooks restart ', ['www']),
    ('mirage-hooks logs w', ['www']),
    ('mirage-hooks deploy --d', ['--dry-run']),
    ('mirage-hooks help res', ['restart']),
    ('mirage-hooks -C /nope restart ', []),
])
def test_bash_completes_commands_options_and_names(
    shared: Deployment, line: str, offered: list[str]
) -> None:
    everywhere = ('-h', '--help', '-C', '--color')
    assert [one for one in completed(shared, line) if one not in everywhere] == offered


@pytest.mark.parametrize(('shell', 'says'), [
    ('bash', '#compdef mirage-hooks\n'), ('zsh', '#compdef mirage-hooks\n'),
    ('fish', "complete --command mirage-hooks -f -a '(__fish_mirage-hooks_complete)'\n"),
])
def test_each_shell_is_told_in_its_own_language(
    shared: Deployment, shell: str, says: str
) -> None:
    done = shared.mirage('completion', shell)
    assert (done.returncode, done.stderr, says in done.stdout) == (0, '', True)


def test_nothing_of_it_is_imported_when_no_shell_asks() -> None:
    program = ('import sys; from mirage_hooks.cli.main import main\n'
               'try: main(["help"])\nfinally: print("argcomplete" in sys.modules)')
    done = run(sys.executable, '-I', '-c', program, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == 'False'


def test_the_manual_page_is_the_help() -> None:
    """Made anew when a command changes: see CONTRIBUTING.md."""
    page = ' '.join(PAGE.read_text().replace('\\-', '-').split())
    commands = parser.build()
    added = next(one for one in commands._actions if one.dest == 'command')
    assert isinstance(added.choices, dict)
    named = [part.partition('\\fR')[0] for part in page.split('.SS \\fBmirage-hooks ')[1:]]
    assert named == list(added.choices)
    lost = [
        (name, text) for name, one in added.choices.items()
        for action in one._actions if '--help' not in action.option_strings
        for text in (*action.option_strings, one._get_formatter()._expand_help(action)
                     if action.help else '')
        if ' '.join(text.split()) not in page
    ]
    assert lost == []
    assert page.endswith(f'.SH EXIT STATUS {parser.CODES}')


@needs('man')
def test_man_finds_nothing_wrong_with_the_manual_page(tmp_path: Path) -> None:
    done = run('env', 'MANWIDTH=80', 'man', '--warnings', '-l', str(PAGE), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'mirage-hooks - git push boots your MirageOS unikernel' in done.stdout


def test_what_install_sh_did_not_make_puts_no_completion_anywhere(
    deployment: Deployment,
) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    done = deployment.mirage('install', '--no-cron', '--config', str(deployment.config),
                             str(deployment.host))
    assert (done.returncode, 'completion' in done.stdout) == (0, False)
