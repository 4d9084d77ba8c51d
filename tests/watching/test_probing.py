"""`probe`: yes or no, for whoever moves an address away from a host."""

from __future__ import annotations

import signal
import time

from tests.deployment import Deployment, web
from tests.patience import PATIENCE


def said(deployment: Deployment, *more: str) -> tuple[int, str]:
    """The exit code, and what is said on stderr; nothing is printed."""
    done = deployment.mirage('probe', 'www', *more)
    assert done.stdout == ''
    return done.returncode, done.stderr


def test_a_release_that_answers_is_a_yes_and_no_word(shared: Deployment) -> None:
    assert said(shared) == (0, '')


def test_one_that_is_down_stopped_or_was_never_there_is_a_no(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    assert said(deployment) == (1, 'www: it was never deployed\n')
    assert deployment.mirage('deploy').returncode == 0
    deployment.crash()
    assert said(deployment) == (1, 'www: release 1 is down\n')
    deployment.mirage('stop', 'www')
    assert said(deployment) == (1, 'www: it is stopped by hand\n')


def test_its_health_questions_are_asked_with_one_deadline(serving: Deployment) -> None:
    url = f'http://127.0.0.1:{serving.port}/'
    serving.configure(health=[{'http': url}, {'http': url, 'contains': 'two'}])
    assert said(serving) == (1, f"www: release 1: {url} answered without 'two'\n")
    (_, process), = serving.processes()
    process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert said(serving, '--within', '300ms') == (
            1, f'www: release 1: {url} did not answer (timed out)\n')
        assert time.monotonic() - began < PATIENCE
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_release_that_runs_as_an_earlier_mirage_yml_had_it_is_asked_nothing(
    serving: Deployment,
) -> None:
    serving.configure(health={'http': 'http://127.0.0.1:1/'}, arguments=['--message=other'])
    assert said(serving) == (0, '')
