"""Long work shows itself: on a real terminal, and where there is none."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from typing import TextIO

import pytest

from mirage_hooks.messages import progress, report
from mirage_hooks.messages import terminal as screens
from tests.deployment import ROOT, Deployment, git, run, web
from tests.messages.screen import Screen, screen

Pass = Callable[[float], None]


@pytest.fixture(autouse=True)
def passing(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Lets seconds pass; a time stamp is 7 s all the while."""
    now = [1000.0]
    monkeypatch.setattr(progress, 'time', types.SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(report, 'stamp', lambda: '  7.00 s')
    monkeypatch.setattr(progress, '_held', None)
    monkeypatch.setenv('TERM', 'xterm')

    def passed(seconds: float) -> None:
        now[0] += seconds

    return passed


def put(monkeypatch: pytest.MonkeyPatch, stream: TextIO) -> None:
    """Make `stream` the standard error of progress; pytest's own comes back before each test."""
    for module in (progress, screens):
        monkeypatch.setattr(module, 'sys', types.SimpleNamespace(stderr=stream))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    with screen(70) as made:
        put(monkeypatch, made.stream)
        yield made


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    made = io.StringIO()
    put(monkeypatch, made)
    return made


def test_on_a_terminal_a_line_moves_and_is_gone_afterwards(
    terminal: Screen, passing: Pass
) -> None:
    with progress.doing('waiting for http://127.0.0.1:8080/', 30) as work:
        work.now('did not answer')
        passing(0.6)
        work.now('did not answer')
        passing(3.4)
        work.now('answered 500')
        passing(0.05)  # nobody sees so many
        work.now('answered 501')
    assert terminal.frames() == [
        'waiting for http://127.0.0.1:8080/: did not answer, 1 s of 30 s',
        'waiting for http://127.0.0.1:8080/: answered 500, 4 s of 30 s',
        '', '',
    ]


def test_what_is_soon_over_is_not_drawn(terminal: Screen, passing: Pass) -> None:
    with progress.doing('unpacking www') as work:
        passing(0.49)
        work.bytes(1 << 20)
    assert terminal.drawn() == ''


def test_a_line_that_is_printed_meanwhile_stands_alone(
    terminal: Screen, passing: Pass
) -> None:
    with progress.doing('unpacking www') as work:
        passing(2)
        work.bytes(30_000_000)
        report.Reporter(stream=terminal.stream).line('something else')
        passing(2)
        work.bytes(62_000_000, 100_000_000)
    assert terminal.frames() == [
        'unpacking www: 30.0 MB, 15.0 MB/s, 2 s',
        '', 'something else\n',
        'unpacking www: 62.0 MB of 100.0 MB, 15.5 MB/s, 4 s',
        '', '',
    ]


@pytest.mark.parametrize(('columns', 'shown'), [
    (40, 'pushing to http…: Writing objects…, 3 s'),
    (60, 'pushing to http…: Writing objects: 45% (9/20), 3.1 MiB, 3 s'),
    (99, 'pushing to https://example.org/www.git: Writing objects: 45% (9/20), 3.1 MiB, 3 s'),
])
def test_a_narrow_terminal_gets_what_changes(
    columns: int, shown: str, passing: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    with screen(columns) as narrow:
        put(monkeypatch, narrow.stream)
        with progress.doing('pushing to https://example.org/www.git') as work:
            passing(3)
            work.now('Writing objects: 45% (9/20), 3.1 MiB')
        assert narrow.frames()[0] == shown


def test_elsewhere_a_line_is_told_every_ten_seconds(pipe: io.StringIO, passing: Pass) -> None:
    with progress.doing('fetching from origin', 120) as work:
        for _ in range(25):
            passing(1)
            work.now('Receiving objects: 45% (9/20)')
    with progress.doing('unpacking www') as work:
        passing(9.9)
        work.bytes(1)
    assert pipe.getvalue().splitlines() == [
        '  7.00 s  fetching from origin: Receiving objects: 45% (9/20), 10 s of 120 s',
        '  7.00 s  fetching from origin: Receiving objects: 45% (9/20), 20 s of 120 s',
    ]


def test_a_dumb_terminal_gets_lines(
    terminal: Screen, passing: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TERM', 'dumb')
    with progress.doing('unpacking www') as work:
        passing(1)
        work.now()
        passing(10)
        work.now()
    assert terminal.drawn() == '  7.00 s  unpacking www, 11 s\n'


def test_who_is_quiet_tells_it_only_with_a_change(pipe: io.StringIO, passing: Pass) -> None:
    quiet = report.Reporter(quiet=True)
    progress.hold(quiet.held)
    with progress.doing('unpacking www') as work:
        passing(12)
        work.now()
    assert pipe.getvalue() == ''
    assert quiet.held == ['  7.00 s  unpacking www, 12 s']


def test_what_others_say_is_made_harmless(pipe: io.StringIO, passing: Pass) -> None:
    with progress.doing('pushing to https://me:SECRET@host/x.git') as work:
        passing(10)
        work.now('remote: \x1b[2J\u202e' + 'x' * 300)
    shown = 'pushing to http…: remote: \\x1b[2J\\u202e'
    assert pipe.getvalue() == f'  7.00 s  {shown}{"x" * (199 - len(shown))}…, 10 s\n'


def test_who_looked_on_may_hang_up(monkeypatch: pytest.MonkeyPatch, passing: Pass) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    put(monkeypatch, Gone())
    with progress.doing('unpacking www') as work:
        passing(10)
        work.now()


def test_a_pull_on_a_terminal_shows_the_fetch_and_what_it_waits_for(serving: Deployment) -> None:
    serving.publish(web('two', before='import time; time.sleep(1.5)'), 'b' * 40)
    git(serving.host, 'config', 'remote.origin.uploadpack', 'sleep 1.2; git-upload-pack')
    with screen(110) as made:
        done = subprocess.run(
            serving.command('pull'), stdout=subprocess.PIPE, stderr=made.stream, text=True,
            check=True, cwd=serving.folder,
        )
        frames = [re.sub('[0-9]+ s', 'N s', frame) for frame in made.frames()]
    assert set(frames) >= {
        'fetching from origin, N s of N s',
        f'waiting for port {serving.port}, N s of N s',
        '',
    }
    assert frames[-1] == ''
    steps = [line for line in done.stdout.splitlines() if ' s  www: ' in line]
    assert float(steps[0].split()[0]) > 1.2  # the fetch counts


PROGRAM = """
import sys, time
from mirage_hooks.messages import progress
progress.SHOWN = progress.TOLD = 0.0
with progress.doing('unpacking www') as work:
    work.now()
print(*sorted({'tqdm', 'multiprocessing'} & set(sys.modules)))
"""


def test_the_library_is_loaded_on_a_terminal_alone() -> None:
    done = run(sys.executable, '-I', '-c', PROGRAM, cwd=ROOT)
    assert done.stdout == '\n'
    with screen() as made:
        drawn = subprocess.run(
            (sys.executable, '-I', '-c', PROGRAM), cwd=ROOT, stdout=subprocess.PIPE, text=True,
            stderr=made.stream, check=True,
        )
        assert made.frames()[0] == 'unpacking www, 0 s'
    assert 'tqdm' in drawn.stdout.split()
