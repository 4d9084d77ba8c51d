"""What `status` shows of what serves: whether it answers, how it was, on what terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from mirage_hooks import config
from mirage_hooks.cli import view
from mirage_hooks.messages import terminal
from mirage_hooks.state import journal, model, user, watched
from mirage_hooks.state.watched import MISSED, OURS, SILENT
from mirage_hooks.watching import rows
from tests.deployment import Deployment, git
from tests.messages.screen import screen
from tests.patience import PATIENCE, until

# libreadline, when something imports it here, tells all children the size of no terminal.
SIZELESS = {key: one for key, one in os.environ.items() if key not in ('COLUMNS', 'LINES')}


def row(**fields: Any) -> rows.Row:
    return {
        'name': 'www', 'state': 'running', 'release': 2, 'description': 'unix, 9 bytes',
        'commit': 'c' * 40, 'pid': 7, 'created': time.time() - 3 * 86400, **fields,
    }


def shown(*found: rows.Row) -> list[str]:
    fields = {'deploying': '', 'left': [], 'keeper': True, 'cron': None, 'unikernels': [*found]}
    return view.lines(rows.Found(fields, None))


WWW = ('www: release 2 runs: unix, 9 bytes, commit cccccccccccc, process 7, deployed 3 days ago')
HOURS = {'pieces': [*[1.0] * 20, 0.5, 1.0, None, 0.0], 'missed': [*[0] * 20, 1, 2, 0, 0]}


def test_how_it_was_is_drawn_in_small_blocks() -> None:
    day = {'up': 0.99999, **HOURS}
    month = {'up': 1.0, 'pieces': [1.0] * 30, 'missed': [0] * 30}
    assert shown(row(uptime={'day': day, 'month': month})) == [
        WWW,
        f'  24 h  {"█" * 20}▄▇·▁  99.99 %',
        f'  30 d  {"█" * 30}  100 %',
    ]


def test_a_narrow_terminal_has_the_last_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    day = {'up': None, **HOURS}
    monkeypatch.setattr(terminal, 'columns', lambda: 25)
    assert shown(row(uptime={'day': day}))[1:] == ['  24 h  ███▄▇·▁  -']
    monkeypatch.setattr(terminal, 'columns', lambda: 10)
    assert shown(row(uptime={'day': day}))[1:] == ['  24 h    -']


def test_what_cannot_print_blocks_has_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, 'can_print', lambda text: False)
    assert shown(row(uptime={'day': {'up': 1.0, **HOURS}}))[1:] == [
        f'  24 h  {"#" * 20}3+.0  100 %']


def test_colours_say_the_same_as_the_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, 'colour', 'always')
    last = {key: values[19:] for key, values in HOURS.items()}
    (_, drawn) = shown(row(uptime={'day': {'up': 1.0, **last}}))
    assert drawn == (
        '  24 h  \x1b[32m█\x1b[0m\x1b[31m▄\x1b[0m\x1b[33m▇\x1b[0m·\x1b[31m▁\x1b[0m  100 %')


def test_what_happened_to_it_is_told() -> None:
    now = time.time()
    assert shown(row(
        url='http://192.0.2.1/', health={'wrong': 'http://192.0.2.1/ did not\x1b answer'},
        silent={'at': now - 300, 'reason': 'no answer, 3 times in a row'}, since=now - 7200,
        restarts={'silent': 2, 'other': 1}, pinned=True,
    )) == [
        WWW.replace('runs', 'runs, kept by a rollback'),
        '  does not answer: http://192.0.2.1/ did not\\x1b answer',
        '  SILENT for 5 min: no answer, 3 times in a row',
        '  restarts in 30 days: 2 silent, 1 by hand or after a boot',
    ]
    assert shown(row(url='http://192.0.2.1/', health={'ms': 12}, since=now - 7200))[1:] == [
        '  http://192.0.2.1/ answers in 12 ms, up 2 h']
    assert shown(row(url='http://192.0.2.1/', since=now - 7200))[1:] == [
        '  http://192.0.2.1/, up 2 h']


def test_a_silent_release_is_seen_now_and_in_what_was_kept(serving: Deployment) -> None:
    releases, now = serving.state().of('www'), time.time()
    for minutes, value in ((1441, SILENT), (130, SILENT), (125, OURS), (70, MISSED), (10, 4)):
        watched.note(releases.root, now - 60 * minutes, value)
    watched.write(releases.root, watched.Record(
        silences=(watched.Silence(now - 120, 1, 'no answer, 3 times in a row'),)), now)
    for trigger, reason, at in (('watcher', 'no answer', now), ('cron', 'it crashed', now),
                                ('restart by x', '', now), ('cron', 'x', now - 31 * 86400)):
        journal.append(serving.state().history, journal.Entry(
            at=at, unikernel='www', event='restarted', trigger=trigger, release=1, reason=reason))
    url = f'http://127.0.0.1:{serving.port}/'
    serving.configure(health={'http': url})
    for _, process in serving.processes():
        process.suspend()
    done = serving.mirage('status', '--json')
    (found,) = json.loads(done.stdout)['unikernels']
    why = f'{url} did not answer (timed out)'
    assert (done.returncode, found['state'], found['health']) == (1, 'running', {'wrong': why})
    assert found['silent'] == {'at': now - 120, 'reason': 'no answer, 3 times in a row'}
    assert found['restarts'] == {'silent': 1, 'ended': 1, 'other': 1}
    day = found['uptime']['day']
    assert (day['pieces'][20:], day['missed'][20:]) == ([None, 0.0, 1.0, 1.0], [0, 0, 1, 0])
    assert day['up'] == pytest.approx(2 / 3)
    assert found['uptime']['month']['up'] == pytest.approx(2 / 4)


def test_a_program_reads_when_cron_ended_well_and_why_a_fetch_failed(serving: Deployment) -> None:
    def found() -> tuple[Any, ...]:
        told = json.loads(serving.mirage('status', '--json').stdout)
        return told['cron'], told['cron_succeeded'], told['fetch_failed']

    assert found() == (None, None, '')
    assert serving.mirage('pull').returncode == 0
    assert found() == (None, None, ''), 'that was no run of cron'
    assert serving.mirage('pull', '--quiet').returncode == 0
    (ran, succeeded, failed) = found()
    assert (0 < ran <= succeeded, failed) == (True, '')
    serving.hub.rename(serving.folder / 'elsewhere')
    assert serving.mirage('pull', '--quiet').returncode == 1
    later = found()
    assert later[0] > ran and later[1] == succeeded
    assert str(serving.hub) in later[2]


RELEASE = model.Release(
    unikernel='www', number=1, commit='c', path='www', blob='b', digest='d', size=1,
    description='unix', fingerprint='f', slot='blue', created=1.5,
    plan=model.Plan(target='unix', command=('/image',)),
    network=config.Static(bridge='br0', ipv4='192.0.2.2/24'),
)


def test_a_url_is_where_a_browser_finds_it() -> None:
    def url(**keys: Any) -> str:
        return rows.url(config.Unikernel(image='a', **keys), RELEASE)

    assert url(health=(config.Health(ping='a'), config.Health(http='https://u:p@a.org/x'))) == (
        'https://a.org/x')
    assert url(network=config.Socket(port=81, ipv4='192.0.2.7/24')) == 'http://192.0.2.7:81/'
    assert url(network=config.Socket(port=81)) == 'http://127.0.0.1:81/'
    assert url() == 'http://192.0.2.2/'
    assert url(arguments=('--port=8080',)) == 'http://192.0.2.2:8080/'


def test_all_repositories_are_shown_and_what_is_wrong_with_one(
    serving: Deployment, tmp_path: Path
) -> None:
    done = serving.mirage('status', '--all')
    assert (done.returncode, done.stdout, done.stderr) == (1, '', (
        'mirage-hooks: no repository is known of this user\n'
        '  hint: the installer writes them down: mirage-hooks install REPOSITORY\n'))
    other = tmp_path / 'other'
    git(tmp_path, 'init', '-q', str(other))
    user.remember(serving.host, True)
    user.remember(other, True)
    done = serving.mirage('status', '--all')
    said = done.stdout.splitlines()
    assert (done.returncode, said[0], said[3], said[4]) == (1, str(serving.host), '', str(other))
    assert said[1].startswith('www: release 1 runs: ')
    assert said[2].startswith(f'  http://127.0.0.1:{serving.port}/ answers in ')
    assert said[5].startswith('mirage-hooks: ')
    told = json.loads(serving.mirage('status', '--all', '--json').stdout)['repositories']
    assert [one['repository'] for one in told] == [str(serving.host), str(other)]
    assert (told[0]['unikernels'][0]['release'], 'wrong' in told[1]) == (1, True)


def test_it_is_drawn_again_and_again_on_a_terminal(serving: Deployment) -> None:
    with screen(60) as made:
        drawing = subprocess.Popen(
            serving.command('status', '--watch', '--color', 'never'), stdout=made.stream,
            stderr=made.stream, stdin=subprocess.DEVNULL, env=SIZELESS | {'TERM': 'xterm'})
        drawn = ['']

        def twice() -> bool:
            drawn[0] += made.drawn()
            return drawn[0].count('\x1b[H') >= 2

        until(twice)
        os.kill(drawing.pid, signal.SIGINT)
        assert drawing.wait(PATIENCE) == 130
    first = drawn[0].split('\x1b[H')[1]
    assert drawn[0].startswith('\x1b[2J\x1b[H')
    lines = first.split('\x1b[J')[0].split('\x1b[K\n')
    assert re.fullmatch(r'[0-9:]{8}  \(Ctrl-C ends this\)', lines[0])
    assert lines[2].startswith('www: release 1 runs: unix, ')
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize(('options', 'code', 'said'), [
    (('--watch',), 1, 'mirage-hooks: status --watch draws on a terminal, and this is none\n'
     '  hint: leave --watch out, or in a terminal: watch mirage-hooks status\n'),
    (('--watch', '--json'), 2, 'mirage-hooks: --watch is for people, --json for programs: leave '
     'one of them out\n'),
    (('--all', 'www'), 2, 'mirage-hooks: --all is of all unikernels: leave NAME out\n'),
])
def test_what_cannot_be_shown_is_said(
    deployment: Deployment, options: tuple[str, ...], code: int, said: str
) -> None:
    deployment.publish(b'x')
    deployment.clone()
    done = deployment.mirage('status', *options)
    assert (done.returncode, done.stderr) == (code, said)
