"""The marked lines are ours; every other line stays byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_hooks.installing import crontab
from mirage_hooks.messages import errors

HOST = Path('/srv/host')
JOB = b'/opt/mirage-hooks/bin/mirage-hooks -C /srv/host pull --quiet # mirage-hooks: /srv/host'
OURS = b'*/7 * * * * ' + JOB + b'\n@reboot sleep 20; ' + JOB


def test_our_lines_are_as_the_shell_and_cron_take_them() -> None:
    command = Path('/opt/mirage-hooks/bin/mirage-hooks')
    assert crontab.ours('*/7 * * * *', HOST, command) == OURS
    odd = Path("/srv/50% it's here")
    assert crontab.ours('@reboot', odd, command) == (
        b'@reboot sleep 20; /opt/mirage-hooks/bin/mirage-hooks -C '
        b"'/srv/50\\% it'\"'\"'s here' pull --quiet # mirage-hooks: /srv/50\\% it's here"
    )


@pytest.mark.parametrize(
    'before',
    [b'', b'# mine\n', b'MAILTO=x\n\n\n0 5 * * * a\r\n', b'\xff\xfe not UTF-8\n', b'\n', b'  \t\n',
     b'0 5 * * * backup # mirage-hooks: /srv/host/other\n'],
)
def test_adding_and_removing_leaves_every_other_byte(before: bytes) -> None:
    added = crontab.added(before, HOST, OURS)
    assert added == before + OURS + b'\n'
    assert crontab.added(added, HOST, OURS) == added
    assert crontab.removed(added, HOST) == before
    assert crontab.removed(before, HOST) == before


def test_a_crontab_without_a_final_newline_gets_one() -> None:
    added = crontab.added(b'0 5 * * * a', HOST, OURS)
    assert added == b'0 5 * * * a\n' + OURS + b'\n'
    assert crontab.removed(added, HOST) == b'0 5 * * * a\n'


def test_a_new_schedule_takes_the_place_of_the_old_lines_and_of_their_doubles() -> None:
    old = OURS.replace(b'*/7', b'*/9')
    before = b'# a\n' + old + b'\n# b\n' + old
    assert crontab.added(before, HOST, OURS) == b'# a\n' + OURS + b'\n# b\n'


def test_the_schedule_is_read_back() -> None:
    assert crontab.when(OURS + b'\n', HOST) == '*/7 * * * *'
    assert crontab.when(OURS.replace(b'*/7 * * * *', b'@hourly'), HOST) == '@hourly'
    assert crontab.when(b'@reboot sleep 20; ' + JOB, HOST) == '@reboot'
    assert crontab.when(b'0 5 * * * a\n', HOST) == ''


@pytest.mark.parametrize('spec', ['*/7 * * * *', '0 5 1,15 jan-mar MON', '@reboot', '  1 2 3 4 5'])
def test_a_schedule_of_crontab_is_taken(spec: str) -> None:
    assert crontab.spec(spec) == ' '.join(spec.split())


@pytest.mark.parametrize('spec', ['', '* * * *', '* * * * * *', '@fortnightly', '5m', '* * * * %',
                                  '* * * * *\n@reboot', '* * * * * rm'])
def test_another_schedule_is_refused(spec: str) -> None:
    with pytest.raises(errors.Refused) as refused:
        crontab.spec(spec)
    assert refused.value.reason == f'{spec!r} does not say when, as cron understands it'
    assert refused.value.hint == "give five fields, as '*/7 * * * *', or a word, as @hourly"


def test_other_lines_that_pull_here_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', '/srv')
    table = b'\n'.join([
        b'*/7 * * * * cd $HOME/host && git pull', b'*/7 * * * * cd /srv/host && git pull -q',
        b'*/7 * * * * git -C ~/host pull', OURS, b'*/7 * * * * cd /srv/host2 && git pull',
        b'#*/7 * * * * cd /srv/host && git pull', b'0 5 * * * ls /srv/host',
    ])
    assert crontab.pulls(table, HOST) == [
        '*/7 * * * * cd $HOME/host && git pull', '*/7 * * * * cd /srv/host && git pull -q',
        '*/7 * * * * git -C ~/host pull',
    ]
