"""What is printed: harmless, complete, and silent for cron when nothing changed."""

from __future__ import annotations

import io

import pytest

from mirage_hooks.deploying import told
from mirage_hooks.messages import report
from mirage_hooks.state import model

RELEASE = model.Release(
    unikernel='www', number=7, commit='c0ffee' * 7, path='www', blob='', digest='', size=1,
    description='spt (Solo5 ABI 2), 6.0 MB', fingerprint='', slot='blue', created=0,
    plan=model.Plan(target='spt', command=('solo5-spt',)),
)
WHAT = 'www: release 7 (spt (Solo5 ABI 2), 6.0 MB, commit c0ffeec0ffee)'

OUTCOMES = {
    'unchanged': (model.Outcome('www', 'unchanged', RELEASE), [f'{WHAT} runs, nothing to do']),
    'deployed': (model.Outcome('www', 'deployed', RELEASE), [f'{WHAT} now runs']),
    'restarted': (model.Outcome('www', 'restarted', RELEASE), [f'{WHAT} runs again']),
    'pinned': (
        model.Outcome('www', 'pinned', RELEASE),
        [f'{WHAT} runs, kept by a rollback until a newer image comes or `deploy`'],
    ),
    'stopped': (
        model.Outcome('www', 'stopped'),
        ['www: stopped by hand: it stays so until `mirage-hooks start www`'],
    ),
    'waits': (
        model.Outcome('www', 'restarted', RELEASE, waits='c' * 40),
        ['www: the newer image of commit cccccccccccc waits: mirage-hooks deploy www',
         f'{WHAT} runs again'],
    ),
    'ended': (
        model.Outcome('www', 'stopped', reason='release 7 was ended'),
        ['www: release 7 was ended', 'www: stopped'],
    ),
    'removed': (model.Outcome('www', 'removed'), ['www: stopped: it is no longer in mirage.yml']),
    'refused': (
        model.Outcome('www', 'refused', RELEASE, 'bad\x1b[2J', 'fix it', ('last\twords',)),
        ['www: REFUSED: bad\\x1b[2J', '    | last words', '  hint: fix it',
         f'{WHAT} goes on running'],
    ),
    'remembered': (
        model.Outcome('www', 'remembered', None, 'bad'),
        ['www: still refused: bad', 'www: nothing runs'],
    ),
}
SILENT = {'unchanged', 'pinned', 'stopped', 'remembered'}


@pytest.mark.parametrize('name', OUTCOMES)
def test_the_last_line_says_what_runs(name: str) -> None:
    outcome, lines = OUTCOMES[name]
    assert told.lines(outcome) == lines


@pytest.mark.parametrize('name', OUTCOMES)
def test_cron_hears_only_what_changed_or_failed(name: str) -> None:
    """And then with the steps that led there."""
    outcome, lines = OUTCOMES[name]
    stream = io.StringIO()
    quiet = report.Reporter(quiet=True, stream=stream)
    quiet.step('www', 'unpacking')
    told.outcomes(quiet, [outcome])
    said = stream.getvalue().splitlines()
    assert said[1:] == ([] if name in SILENT else lines)
    assert len(said) == (0 if name in SILENT else 1 + len(lines))


@pytest.mark.parametrize(('text', 'shown'), [
    ('plain text, é, 漢字', 'plain text, é, 漢字'),
    ('\x1b[31mred\x1b[0m', '\\x1b[31mred\\x1b[0m'),
    ('\x1b]0;title\x07', '\\x1b]0;title\\x07'),
    ('one\r\ntwo', 'one\\x0d\\x0atwo'),
    ('\x00\x7f\x85\x9b', '\\x00\\x7f\\x85\\x9b'),
    ('\u202egnp.exe\u2066', '\\u202egnp.exe\\u2066'),
    ('\u2028\u2029\u00a0\ufeff', '\\u2028\\u2029\\xa0\\ufeff'),
    ('tab\there', 'tab here'),
    ('\udcff', '\\udcff'),
])
def test_nothing_that_a_terminal_obeys_is_printed(text: str, shown: str) -> None:
    assert report.plain(text) == shown


def test_a_reader_that_hangs_up_stops_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    reporter = report.Reporter(stream=Gone())
    reporter.step('www', 'unpacking')
    told.outcomes(reporter, [OUTCOMES['deployed'][0]])
    reporter.refused('reason', 'hint')


@pytest.mark.parametrize(('seconds', 'text'), [
    (0, '0 s'), (119, '119 s'), (120, '2 min'), (7200, '2 h'), (172800, '2 days')
])
def test_ages_are_told_in_the_largest_unit_that_is_there_twice(
    seconds: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('time.time', lambda: 1e9 + seconds)
    assert report.age(1e9) == text


def test_a_clock_that_was_set_back_makes_nothing_younger_than_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('time.time', lambda: 1e9)
    assert report.age(1e9 + 50) == '0 s'


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert report.table([['a', 'bb', ''], ['ccc', 'd', 'e']]) == ['a    bb', 'ccc  d   e']
    assert report.table([]) == []


@pytest.mark.parametrize(('text', 'shown'), [
    ('https://u:SEC@RET@host/x.git', 'https://host/x.git'),
    ('https://u:SEC/RET@host/x.git', 'https://host/x.git'),
    ('https://u:SEC RET@host/x.git', 'https://host/x.git'),
    ('https://u:S@E/C RET@host:8443/x.git', 'https://host:8443/x.git'),
    ('https://me@mail:SEC@RET@host/x.git', 'https://host/x.git'),
    ('https://TOKEN@host/x.git', 'https://host/x.git'),
    ('https://host:8443/x.git', 'https://host:8443/x.git'),
    ('https://host/x@2.git', 'https://host/x@2.git'),
    ('ssh://git@[::1]/x.git', 'ssh://[::1]/x.git'),
    ('git@host:x.git', 'git@host:x.git'),
    ("unable to access 'https://u:SEC@RET@host/x.git/': refused\nwhy",
     "unable to access 'https://host/x.git/': refused\nwhy"),
])
def test_no_part_of_a_password_is_shown(text: str, shown: str) -> None:
    assert report.masked(text) == shown
