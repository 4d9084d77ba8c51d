"""A release that ends by itself is started again, in no tight loop, and not when it is hopeless. By
cron's run here, with the keeper away; test_keeper has it."""

from __future__ import annotations

import re
import time

import msgspec
import pytest

from mirage_hooks.host import processes
from mirage_hooks.state import notes, proc
from mirage_hooks.switching import crashes
from mirage_hooks.switching.ended import End
from tests.deployment import Deployment, web
from tests.guests.scene import needs
from tests.patience import PATIENCE, until


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    """A host's clone that serves version one."""
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    return deployment


KILLED = 'killed by somebody, or by the kernel for want of memory (`dmesg` tells)'
UNSEEN = End(None, '')


def kill(deployment: Deployment) -> None:
    deployment.dismiss()
    for _, process in deployment.processes():
        process.kill()
        process.wait(PATIENCE)
    until(lambda: not list(processes.marked(deployment.state().root)))  # its walls, which report it


def tick(deployment: Deployment) -> tuple[int, list[str]]:
    """a cron run: exit code and what is mailed, times aside."""
    deployment.dismiss()
    done = deployment.mirage('pull', '--quiet')
    return done.returncode, [line for line in done.stdout.splitlines() if ' s  www: ' not in line]


def earlier(deployment: Deployment, seconds: float) -> None:
    """Let the last start be `seconds` longer ago."""
    releases = deployment.state().of('www')
    known = releases.crashes()
    assert known is not None
    releases.set_crashes(msgspec.structs.replace(known, at=known.at - seconds))


def crashed(deployment: Deployment, times: int, ago: float = 0) -> None:
    """As if it had been started again so often, and the last time so many seconds ago."""
    deployment.state().of('www').set_crashes(
        notes.Crashes(1, times, time.time() - ago, proc.boot())
    )


def code(deployment: Deployment) -> str:
    """What is known of its end: without bubblewrap nobody sees it."""
    seen = (deployment.state().of('www').folder(1) / 'ended.json').read_bytes()
    return f' with exit code 137: {KILLED}' if b'exit-code' in seen else ''


@needs('bwrap')
def test_the_first_end_is_repaired_at_once_and_a_later_one_after_a_pause(
    serving: Deployment
) -> None:
    kill(serving)
    how = code(serving)
    exit_code, said = tick(serving)
    assert (exit_code, said[0], said[-1][-10:], serving.page()) == (
        0, f'www: release 1 was not running: it ended{how}', 'runs again', 'one')
    crashed(serving, 7)
    kill(serving)
    exit_code, said = tick(serving)
    assert (exit_code, re.sub('in [0-9]+ s', 'in N s', said[0]), said[-2:]) == (
        1,
        f'www: REFUSED: release 1 was restarted 7 times and ended again: it ended{how}; next '
        'start in N s',
        ['  hint: its console may say why: mirage-hooks logs www', 'www: nothing runs'],
    )
    assert tick(serving) == (1, [])  # told once
    assert serving.page() == ''
    status = serving.mirage('status')
    assert status.returncode == 1
    assert re.sub('in [0-9]+ s', 'in N s', status.stdout.splitlines()[1]) == (
        f'  it ended by itself:{how}, restarted 7 times, next start in N s'
    )
    earlier(serving, 128)
    exit_code, said = tick(serving)
    assert (exit_code, said[-1][-10:], serving.page()) == (0, 'runs again', 'one')


def test_of_a_short_pause_nobody_is_told(serving: Deployment) -> None:
    crashed(serving, 4)
    kill(serving)
    assert tick(serving) == (1, [])
    assert serving.page() == ''
    assert serving.events() == [('deployed', 1)]


def test_status_says_how_it_ended_before_anybody_started_it_again(serving: Deployment) -> None:
    kill(serving)
    assert serving.mirage('status').returncode == 1
    if code(serving):
        assert serving.mirage('status').stdout.splitlines()[1] == (
            f'  it ended by itself:{code(serving)}'
        )


def test_a_person_need_not_wait(serving: Deployment) -> None:
    crashed(serving, 9)
    kill(serving)
    tick(serving)
    assert serving.page() == ''
    assert serving.mirage('start', 'www').returncode == 0
    assert serving.page() == 'one'


def test_a_newer_image_need_not_wait(serving: Deployment) -> None:
    crashed(serving, 9)
    kill(serving)
    tick(serving)
    serving.publish(web('two'), 'b' * 40)
    serving.mirage('pull', '--quiet')
    assert serving.page() == 'two'


@needs('bwrap')
def test_what_ends_with_64_at_once_is_not_started_again(deployment: Deployment) -> None:
    late = "import os, threading\nthreading.Timer(5, lambda: os._exit(64)).start()"
    deployment.publish(web('one', late))
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    until(lambda: not deployment.processes() and not deployment.keepers())
    releases = deployment.state().of('www')
    known = releases.crashes()
    assert known is not None and known.final  # the keeper found out, and ended
    assert [one.trigger for one in deployment.history() if one.event == 'crashed'] == ['keeper']
    releases.set_crashes(None)
    exit_code, said = tick(deployment)
    assert said[0].startswith('the keeper did this by itself at ')
    told = re.sub(r'[0-9]+ s after', 'N s after', said[1])
    assert (exit_code, told, said[-2:]) == (
        1,
        'www: REFUSED: release 1 ended N s after its start, and would end so again: it ended with '
        'exit code 64: it does not know one of its arguments',
        ['  hint: publish another image, or try it all the same: mirage-hooks start www',
         'www: nothing runs'],
    )
    assert tick(deployment) == (1, [])
    status = deployment.mirage('status').stdout.splitlines()
    assert status[1] == (
        '  it ended by itself: with exit code 64: it does not know one of its arguments: not '
        'started again'
    )


@pytest.mark.parametrize(('times', 'seconds'), [
    (1, 2), (2, 4), (6, 64), (11, 2048), (12, 3600), (9999, 3600)
])
def test_pauses_double_up_to_an_hour(times: int, seconds: int) -> None:
    assert crashes.pause(times) == seconds


def test_what_crashed_before_a_reboot_is_forgotten(serving: Deployment) -> None:
    releases = serving.state().of('www')
    release = serving.current()
    releases.set_crashes(notes.Crashes(1, 9, time.time(), 'another boot'))
    crashes.count(releases, release, UNSEEN)
    known = releases.crashes()
    assert known is not None
    assert (known.count, known.boot) == (1, proc.boot())


def test_a_long_life_ends_the_story(serving: Deployment) -> None:
    releases = serving.state().of('www')
    releases.set_crashes(notes.Crashes(1, 4, time.time() - 3600, proc.boot()))
    (releases.folder(1) / 'ended.json').unlink()  # nobody saw it end
    crashes.count(releases, serving.current(), UNSEEN)
    known = releases.crashes()
    assert known is not None and known.count == 1
