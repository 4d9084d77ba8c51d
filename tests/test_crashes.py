"""A release that ends by itself is brought back, in no tight loop, and not when it is hopeless."""

from __future__ import annotations

import re
import time

import msgspec
import pytest

from mirage_hooks import model, settled
from mirage_hooks.switching import crashes
from tests.deployment import Deployment, web
from tests.patience import PATIENCE, until


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    """A host's clone that serves version one."""
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    return deployment


def kill(deployment: Deployment) -> None:
    for _, process in deployment.processes():
        process.kill()
        process.wait(PATIENCE)
    until(lambda: not deployment.processes() and not deployment.page())


def tick(deployment: Deployment) -> tuple[int, list[str]]:
    """cron's tick: exit code and what is mailed, times aside."""
    done = deployment.mirage('pull', '--quiet')
    return done.returncode, [line for line in done.stdout.splitlines() if ' s  www: ' not in line]


def earlier(deployment: Deployment, seconds: float) -> None:
    """Let the last start be `seconds` longer ago."""
    shelf = deployment.state().of('www')
    known = shelf.crashes()
    assert known is not None
    shelf.set_crashes(msgspec.structs.replace(known, at=known.at - seconds))


def test_the_first_end_is_mended_at_once_and_the_second_after_a_pause(serving: Deployment) -> None:
    kill(serving)
    code, said = tick(serving)
    assert (code, said[-1][-10:], serving.page()) == (0, 'runs again', 'one')
    kill(serving)
    code, said = tick(serving)
    assert (code, said[0][:-5], said[-2:]) == (
        1,
        'www: REFUSED: release 1 was brought back 1 times and ended again; next start in',
        ['  hint: its console may say why: mirage-hooks logs www', 'www: nothing runs'],
    )
    assert tick(serving) == (1, [])  # told once
    assert serving.page() == ''
    status = serving.mirage('status')
    assert status.returncode == 1
    assert status.stdout.splitlines()[1][:-5] == (
        '  it ended by itself: brought back 1 times, next start in'
    )
    earlier(serving, 60)
    code, said = tick(serving)
    assert (code, said[-1][-10:], serving.page()) == (0, 'runs again', 'one')


def test_a_person_need_not_wait(serving: Deployment) -> None:
    for _ in range(2):
        kill(serving)
        tick(serving)
    assert serving.page() == ''
    assert serving.mirage('start', 'www').returncode == 0
    assert serving.page() == 'one'


def test_a_newer_image_need_not_wait(serving: Deployment) -> None:
    for _ in range(2):
        kill(serving)
        tick(serving)
    serving.publish(web('two'), 'b' * 40)
    serving.mirage('pull', '--quiet')
    assert serving.page() == 'two'


def test_what_ends_with_64_at_once_is_not_started_again(deployment: Deployment) -> None:
    late = "import os, threading\nthreading.Timer(5, lambda: os._exit(64)).start()"
    deployment.publish(web('one', late))
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    until(lambda: not deployment.processes())
    code, said = tick(deployment)
    told = re.sub(r'[0-9]+ s after', 'N s after', said[0])
    assert (code, told, said[-2:]) == (
        1,
        'www: REFUSED: release 1 ended with exit code 64 N s after its start, and would end so '
        'again',
        ['  hint: publish another image, or try it all the same: mirage-hooks start www',
         'www: nothing runs'],
    )
    assert tick(deployment) == (1, [])
    status = deployment.mirage('status').stdout.splitlines()
    assert status[1] == (
        '  it ended by itself: ended with exit code 64: not started again'
    )


@pytest.mark.parametrize(('times', 'seconds'), [(1, 60), (2, 120), (6, 1920), (7, 3600)])
def test_pauses_double_up_to_an_hour(times: int, seconds: int) -> None:
    assert crashes.pause(times) == seconds


def test_what_crashed_before_a_reboot_is_forgotten(serving: Deployment) -> None:
    shelf = serving.state().of('www')
    release = serving.current()
    shelf.set_crashes(model.Crashes(1, 9, time.time(), 'another boot'))
    crashes.count(shelf, release, None)
    known = shelf.crashes()
    assert known is not None
    assert (known.count, known.boot) == (1, settled.boot())


def test_a_long_life_ends_the_story(serving: Deployment) -> None:
    shelf = serving.state().of('www')
    shelf.set_crashes(model.Crashes(1, 4, time.time() - 3600, settled.boot()))
    (shelf.folder(1) / 'ended.json').unlink()  # nobody saw it end
    crashes.count(shelf, serving.current(), None)
    known = shelf.crashes()
    assert known is not None and known.count == 1
