"""`logs`: what the unikernels print, release by release, a trial's words apart."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading

import pytest

from tests.deployment import ROOT, Deployment, run, web
from tests.patience import PATIENCE

B = 'b' * 40


def seen(deployment: Deployment, *arguments: str) -> list[str]:
    """The lines of `logs`, with T for the times, P for the port of a trial."""
    done = deployment.mirage('logs', *arguments)
    assert (done.returncode, done.stderr) == (0, '')
    text = re.sub(r'20\d\d-\d\d-\d\d \d\d:\d\d', 'T', done.stdout)
    return text.replace(f'{deployment.port}/TCP', 'ours').splitlines()


def digest(deployment: Deployment, number: int) -> str:
    release = deployment.state().of('www').release(number)
    assert release is not None
    return release.digest[:8]


def test_each_release_stands_below_a_line_of_its_own_and_its_trial_apart(
    twice: Deployment,
) -> None:
    one, two = digest(twice, 1), digest(twice, 2)
    found = seen(twice, 'www')
    assert [line for line in found if line.startswith('—')] == [
        f'— release 1, on trial T, image {one} —', f'— release 1, started T, image {one} —',
        f'— release 2, started T, image {two} —',
    ]
    assert found[3] == found[5] == 'listening on ours'
    assert re.fullmatch(r'listening on \d+/TCP', found[1])


def test_what_was_started_again_goes_on_below_another_line(serving: Deployment) -> None:
    serving.mirage('restart', 'www')
    image = digest(serving, 1)
    assert seen(serving, 'www', '-n', '2') == [
        f'— release 1, started T, image {image} —', 'listening on ours',
        f'— release 1, started again T, image {image} —', 'listening on ours',
    ]


@pytest.mark.parametrize(('lines', 'kept'), [('0', 0), ('1', 1), ('2', 2)])
def test_as_many_lines_as_are_wanted_are_shown(
    serving: Deployment, lines: str, kept: int
) -> None:
    found = seen(serving, 'www', '-n', lines)
    assert len([line for line in found if not line.startswith('—')]) == kept


def test_without_a_name_the_consoles_of_all_are_shown_with_names(deployment: Deployment) -> None:
    deployment.configure(f"""unikernels:
  blog: {{image: xen/blog, confirm: 100ms}}
  www: {{image: xen/latest, network: {{mode: socket, port: {deployment.port}}}, confirm: 100ms}}
""")
    (deployment.site / 'xen').mkdir()
    (deployment.site / 'xen/blog').write_bytes(b'#!/bin/sh\necho a blog\nexec sleep 600\n')
    deployment.publish(web('one'))
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    found = seen(deployment, '-n', '1')
    assert found == [
        f'— blog, release 1, started T, image {deployment.current("blog").digest[:8]} —', 'a blog',
        f'— www, release 1, started T, image {digest(deployment, 1)} —', 'listening on ours',
    ]


def test_the_console_is_made_harmless(serving: Deployment) -> None:
    say = 'print("\\x1b[31mred\\x1b]0;title\\x07 \\u202e", flush=True)'
    serving.publish(web('two', before=say), B)
    serving.pull()
    assert seen(serving, 'www', '-n', '2')[1:] == [
        '\\x1b[31mred\\x1b]0;title\\x07 \\u202e', 'listening on ours'
    ]


def test_a_locale_that_lacks_the_dash_shows_it_all_the_same(shared: Deployment) -> None:
    done = run('env', 'PYTHONIOENCODING=latin-1', sys.executable, '-m', 'mirage_hooks',
               '-C', str(shared.host), 'logs', 'www', cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines()[-2].startswith('\\u2014 release 1, started ')
    assert done.stdout.splitlines()[-1] == f'listening on {shared.port}/TCP'


def test_the_console_of_the_last_refused_image_is_kept(serving: Deployment) -> None:
    serving.publish(b'#!/bin/sh\necho no route to host\nexit 2\n', B)
    serving.pull()
    head = '— www, refused image, T —'
    for arguments in (('www', '--failed'), ('--failed',)):
        assert seen(serving, *arguments) == [head, 'no route to host']
    assert seen(serving, 'www', '--failed', '-n', '0') == [head]
    serving.publish(b'#!/bin/sh\nexit 2\n', 'c' * 40)
    serving.pull()
    assert seen(serving, 'www', '--failed') == [head, 'it printed nothing']


def test_what_never_ran_has_no_logs(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    for name, said in (('www', 'www has no release'), ('', 'no unikernel has a release')):
        done = deployment.mirage('logs', *filter(None, [name]))
        assert (done.returncode, done.stdout, done.stderr) == (1, '', (
            f'mirage-hooks: {said}\n  hint: `mirage-hooks status` says what runs\n'))


@pytest.mark.parametrize(('name', 'before'), [(('www',), ''), ((), 'www: ')])
def test_it_follows_over_to_a_new_release(
    serving: Deployment, name: tuple[str, ...], before: str
) -> None:
    with subprocess.Popen(
        ('env', '--default-signal=INT', *serving.command('logs', *name, '-f', '-n', '1')),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=serving.folder,
    ) as following:
        assert following.stdout is not None
        late = threading.Timer(30, following.kill)
        late.start()
        try:
            assert following.stdout.readline().startswith('— ')
            assert following.stdout.readline() == f'listening on {serving.port}/TCP\n'
            serving.publish(web('two', before='print("hello from two", flush=True)'), B)
            serving.pull()
            said = [following.stdout.readline() for _ in range(2)]
            whose = '' if name else 'www, '
            assert said[0].startswith(f'— {whose}release 2, started ')
            assert said[1] == f'{before}hello from two\n'
            following.send_signal(signal.SIGINT)
            assert following.wait(PATIENCE) == 130
        finally:
            late.cancel()
            following.kill()
