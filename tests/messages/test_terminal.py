"""Colours and lines that fit: on a real terminal, and what switches them off."""

from __future__ import annotations

import re
import shutil
import subprocess
import types
from pathlib import Path

import pytest

from mirage_hooks.deploying import told
from mirage_hooks.messages import report, terminal
from mirage_hooks.state import model
from tests.deployment import Deployment, web
from tests.messages.screen import screen
from tests.messages.test_report import RELEASE
from tests.patience import until


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.delenv('NO_COLOR', raising=False)
    monkeypatch.setattr(terminal, 'colour', 'auto')


RED = '\x1b[31mno\x1b[0m'


@pytest.mark.parametrize(('wanted', 'variables', 'shown'), [
    ('auto', {}, RED), ('auto', {'NO_COLOR': '1'}, 'no'), ('auto', {'NO_COLOR': ''}, RED),
    ('auto', {'TERM': 'dumb'}, 'no'), ('never', {}, 'no'),
    ('always', {'NO_COLOR': '1', 'TERM': 'dumb'}, RED),
])
def test_a_terminal_gets_colours_unless_somebody_says_no(
    wanted: str, variables: dict[str, str], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, 'colour', wanted)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    with screen() as made:
        assert terminal.red('no', made.stream) == shown


def test_a_file_gets_them_only_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / 'file').open('w') as file:
        assert terminal.green('yes', file) == 'yes'
        monkeypatch.setattr(terminal, 'colour', 'always')
        assert terminal.green('yes', file) == '\x1b[32myes\x1b[0m'


def test_what_serves_is_green_and_a_refusal_red_and_an_image_colours_nothing() -> None:
    refused = model.Outcome('www', 'refused', RELEASE, '\x1b[32mgood', 'fix it', ('\x1b[31mlast',))
    what = 'www: release 7 (spt (Solo5 ABI 2), 6.0 MB, commit c0ffeec0ffee)'
    with screen() as made:
        told.outcomes(report.Reporter(stream=made.stream), [
            refused, model.Outcome('www', 'deployed', RELEASE),
        ])
        report.Reporter(stream=made.stream).refused('reason', 'hint')
        assert made.drawn().splitlines() == [
            '\x1b[31mwww: REFUSED: \\x1b[32mgood\x1b[0m',
            '    | \\x1b[31mlast', '  hint: fix it', f'{what} goes on running',
            f'\x1b[32m{what} now runs\x1b[0m',
            '\x1b[31mmirage-hooks:\x1b[0m reason', '  hint: hint',
        ]


def test_a_table_with_colours_stays_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, 'colour', 'always')
    rows = [['a', terminal.red('no'), 'x'], ['b', 'maybe', 'y']]
    assert report.table(rows) == ['a  \x1b[31mno\x1b[0m     x', 'b  maybe  y']


@pytest.mark.parametrize(('columns', 'lines'), [
    (80, ['  refused 5 s ago: https://example.org/ did not answer (Connection refused)']),
    (40, ['  refused 5 s ago: https://example.org/', '      did not answer (Connection',
          '      refused)']),
    (10, ['  refused 5 s ago:', '      https://example.org/', '      did not answer',
          '      (Connection', '      refused)']),
])
def test_a_line_is_broken_between_words_where_the_terminal_ends(
    columns: int, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('COLUMNS', str(columns))
    text = '  refused 5 s ago: https://example.org/ did not answer (Connection refused)'
    with screen(columns) as made:
        monkeypatch.setattr(terminal, 'sys', types.SimpleNamespace(stdout=made.stream))
        assert terminal.fitted(text).splitlines() == lines


def test_a_file_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('COLUMNS', '40')
    assert terminal.fitted('word ' * 20) == 'word ' * 20


@pytest.mark.parametrize('arguments', [
    ('--color', 'always', 'status'), ('status', '--color=always'),
    ('--color=never', 'status', '--color', 'always'),
])
def test_color_stands_before_the_command_or_after_it(
    arguments: tuple[str, ...], shared: Deployment
) -> None:
    said = shared.mirage(*arguments).stdout
    assert said.startswith('www: release 1 \x1b[32mruns\x1b[0m: unix, ')
    assert '\x1b' not in shared.mirage(*arguments, '--color=never').stdout


@pytest.mark.skipif(shutil.which('tmux') is None, reason='not installed: tmux')
def test_forty_columns_are_enough_for_status(
    serving: Deployment, tmp_path: Path
) -> None:
    """As it stands on the screen of tmux."""
    serving.configure(health=[{'http': f'http://127.0.0.1:{serving.port}/', 'within': '1s'}])
    serving.publish(web('two', before='import time; time.sleep(60)'), 'b' * 40)
    serving.pull()
    current = serving.current()
    known = serving.state().of('www').run(current.number)
    assert known is not None
    found = shown(tmp_path, 40, *serving.command('status'))
    age = found.split('deployed ')[1].split(' ago')[0]
    took, up = re.findall(r'answers in ([0-9]+ ms), up ([0-9]+ (?:s|min))', found)[0]
    refused = found.split('refused ')[1].split(' ago')[0]
    assert found.rstrip().splitlines() == [
        f'www: release 1 runs: unix, {len(web("one"))}',
        f'    bytes, commit {current.commit[:12]}, process',
        f'    {known.pid}, deployed {age} ago',
        f'  http://127.0.0.1:{serving.port}/',
        f'      answers in {took}, up {up}',
        f'  refused {refused} ago: it did not',
        f'      listen on port {serving.port} within 1s',
    ]


def shown(folder: Path, columns: int, *command: str) -> str:
    """What stands on a terminal of `columns` after `command`."""
    # libreadline, when something imports it here, tells all children the size of no terminal.
    sizeless = ('env', '-u', 'COLUMNS', '-u', 'LINES')
    socket = (*sizeless, 'tmux', '-S', str(folder / 'tmux'), '-f', '/dev/null')
    over = folder / 'over'
    script = '"$@"; echo over >"$0"; exec sleep 600'
    subprocess.run(
        (*socket, 'new-session', '-d', '-x', str(columns), '-y', '40', 'sh', '-c', script,
         str(over), *command), check=True,
    )
    try:
        until(over.exists)
        return subprocess.run(
            (*socket, 'capture-pane', '-p'), check=True, capture_output=True, text=True
        ).stdout
    finally:
        subprocess.run((*socket, 'kill-server'), check=True)
