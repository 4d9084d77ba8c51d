"""An image runs with no more rights than it needs, and sees nothing of this host."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from pytest_mock import MockerFixture

from mirage_hooks.host import facts, processes
from tests import guests
from tests.deployment import Deployment, web
from tests.patience import PATIENCE, until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason='root is missing'),
    pytest.mark.skipif(not shutil.which('bwrap'), reason='bubblewrap is missing'),
]

SPY = """
import os
def tried(what, act):
    try:
        print(what, act(), flush=True)
    except OSError as error:
        print(what, type(error).__name__, flush=True)
import os, signal
lines = open('/proc/self/status').read().splitlines()
status = dict(line.split(':\\t', 1) for line in lines if ':\\t' in line)
print('user', os.getuid(), os.getgid(), os.getgroups(), flush=True)
print('caps', status['CapEff'], status['CapBnd'], status['NoNewPrivs'], flush=True)
for path in ({paths}):
    tried('read ' + os.path.basename(path), lambda: open(path).read(1))
tried('list /root', lambda: os.listdir('/root'))
tried('list /home', lambda: os.listdir('/home'))
tried('write /', lambda: open('/x', 'w'))
tried('write /usr', lambda: open('/usr/x', 'w'))
tried('write /image', lambda: open('/image', 'r+'))
tried('signal 1', lambda: os.kill(1, signal.SIGTERM))
tried('processes', lambda: [p for p in os.listdir('/proc') if p.isdigit() and p not in
                            ('1', str(os.getpid()))])
tried('signal {pid}', lambda: os.kill({pid}, 0))
"""


def spied(deployment: Deployment, *paths: Path) -> list[str]:
    """What the image found when it tried, on trial and in service."""
    names = ', '.join(repr(str(path)) for path in paths) + ','
    # The code lies in a format of its own.
    code = SPY.replace('{paths}', names).replace('{pid}', str(os.getpid()))
    deployment.publish(web('one', code), 'a' * 40)
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout
    folder = deployment.state().of('www').folder(1)
    return [line for name in ('trial.log', 'console.log')
            for line in (folder / name).read_text().splitlines()]


def test_an_image_that_root_starts_can_reach_nothing(deployment: Deployment) -> None:
    secret = Path('/root/.mirage-hooks-test')
    secret.write_text('secret')
    secret.chmod(0o644)
    try:
        said = spied(deployment, deployment.config, deployment.host / '.git' / 'HEAD', secret,
                     Path('/etc/passwd'))
    finally:
        secret.unlink()
    user = next(line.split()[1] for line in said)
    assert int(user) >= 1879048192
    once = [
        f'user {user} {user} []',
        'caps 0000000000000000 0000000000000000 1',
        'read mirage.yml FileNotFoundError',
        'read HEAD FileNotFoundError',
        'read .mirage-hooks-test FileNotFoundError',
        'read passwd FileNotFoundError',
        'list /root FileNotFoundError',
        'list /home FileNotFoundError',
        'write / OSError',
        'write /usr OSError',
        'write /image PermissionError',
        'signal 1 PermissionError',
        'processes []',
        f'signal {os.getpid()} ProcessLookupError',
    ]
    assert said[:len(once)] == once


def test_a_low_port_is_bound_with_one_capability(deployment: Deployment) -> None:
    deployment.port = 1023
    deployment.configure()
    said = spied(deployment, deployment.config)
    assert [line for line in said if line.startswith('caps')] == [
        'caps 0000000000000000 0000000000000000 1',  # the rehearsal, on a high port
        'caps 0000000000000400 0000000000000400 1',
    ]
    assert deployment.page() == 'one'


def test_the_state_is_its_owners_alone(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    deployment.mirage('deploy')
    assert deployment.state().root.stat().st_mode & 0o777 == 0o700


def test_nothing_of_the_sandbox_is_left_when_the_image_is_killed(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    deployment.mirage('deploy')
    three = [process for _, process in processes.marked(deployment.state().root)]
    assert len(three) == 3  # bubblewrap outside and inside, and the image
    image = next(one for one in three if one.name() == 'image')
    deployment.dismiss()
    image.kill()
    psutil.wait_procs(three, timeout=PATIENCE)
    assert not list(processes.marked(deployment.state().root))


def test_what_a_process_says_of_itself_does_not_make_a_release_live(
    serving: Deployment
) -> None:
    folder = serving.state().of('www').folder(1)
    state = serving.state().root
    live = {process.pid for _, process in processes.marked(state)}
    environment = {'PATH': os.environ['PATH'], processes.MARK: str(folder)}
    other = {**environment, processes.MARK: str(folder.with_name('2'))}
    forge = f'{processes.MARK}={folder} exec sleep 60 & wait'
    with (
        subprocess.Popen(('setpriv', '--reuid=65534', '--clear-groups', 'sleep', '60'),
                         env=environment) as stranger,
        subprocess.Popen(('sh', '-c', forge), env=other, start_new_session=True) as neighbour,
    ):
        try:
            until(lambda: len(neighbours(state, folder.with_name('2'))) == 2)
            assert {p.pid for mark, p in processes.marked(state) if mark == folder} == live
            assert stranger.pid not in {process.pid for _, process in processes.marked(state)}
            serving.dismiss()
            processes.end([psutil.Process(pid) for pid in live])
            assert serving.mirage('status').returncode == 1
        finally:
            stranger.kill()
            os.killpg(neighbour.pid, signal.SIGKILL)


def neighbours(state: Path, folder: Path) -> list[int]:
    return [process.pid for mark, process in processes.marked(state) if mark == folder]


def test_what_an_image_writes_into_its_memory_file_systems_is_bounded(
    deployment: Deployment
) -> None:
    wrote = """
import os
for path in ('/dev/x', '/dev/shm/x', '/dev/net', '/x', '/proc/x', '/tmp/x', '/run/x', '/var/x'):
    try:
        open(path, 'w').write('x')
        print('wrote', path, flush=True)
    except OSError:
        pass
print('tried', open('/dev/zero', 'rb').read(1), open('/dev/null', 'w').write('x'), flush=True)
"""
    deployment.publish(web('one', wrote), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    console = (deployment.state().of('www').folder(1) / 'console.log').read_text()
    assert 'wrote' not in console
    assert "tried b'\\x00' 1" in console


def test_a_flood_of_processes_ends_at_its_limit(deployment: Deployment) -> None:
    flood = """
import os, time
count = 0
try:
    while count < 3000:
        if not os.fork():
            time.sleep(600)
        count += 1
except OSError:
    print('forked', count, flush=True)
"""
    deployment.configure(confirm='0s', health={'alive': '1ms'})
    deployment.publish(web('one', flood), 'a' * 40)
    deployment.clone()
    deployment.mirage('deploy')
    console = deployment.state().of('www').folder(1) / 'console.log'
    until(lambda: 'forked' in console.read_text())
    count = re.search(r'forked (\d+)', console.read_text())
    assert count
    assert int(count[1]) < 1100


def test_a_console_is_bounded_by_the_kernel(deployment: Deployment, tmp_path: Path) -> None:
    flood = "import threading\nthreading.Thread(target=lambda: [print('x' * 65536) for _ in " \
            'range(2000)]).start()'
    deployment.configure(confirm='0s', health={'alive': '1ms'})
    deployment.publish(web('one', flood))
    deployment.clone()
    deployment.mirage('deploy')
    consoles = list(deployment.state().root.glob('unikernels/www/**/*.log'))
    assert [path.stat().st_size <= 64 << 20 for path in consoles] == [True, True]  # and a trial's


def test_a_long_console_is_trimmed_when_nothing_else_is_to_do(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    deployment.mirage('deploy')
    console = deployment.state().of('www').folder(1) / 'console.log'
    with console.open('a') as file:
        file.write('an earlier line\n' * 600_000)
    deployment.pull()
    assert console.stat().st_size > 8 << 20  # git pulled nothing, so no hook ran
    done = deployment.mirage('pull', '--quiet')
    assert (done.returncode, done.stdout) == (0, '')
    text = console.read_text().splitlines()
    assert text[0] == '--- earlier lines were dropped ---'
    assert set(text[1:]) == {'an earlier line'}
    assert (1 << 20) - 100 < console.stat().st_size < (1 << 20) + 100
    assert deployment.page() == 'one'


def test_a_real_guest_gets_arguments_of_all_sorts(
    deployment: Deployment, tmp_path: Path
) -> None:
    if not shutil.which('gcc'):
        pytest.skip('gcc is missing, which builds the test guest')
    message = '--message=two  spaces "quoted" \\ back, \'single\' $HOME é'
    deployment.configure(arguments=[message])
    deployment.publish(guests.build('socket', tmp_path).read_bytes())
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout
    assert deployment.page(path='/args').splitlines() == [f'--port={deployment.port}', message]


def test_a_host_without_bubblewrap_runs_nothing_as_root(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / 'bin'
    path.mkdir()
    fake = path / 'bwrap'
    fake.write_text('#!/bin/sh\nexit 1\n')
    fake.chmod(0o755)
    deployment.publish(web('one'))
    deployment.clone()
    done = mirage(deployment, path, 'deploy')
    assert (done.returncode, done.stdout.splitlines()[1:]) == (1, [
        'www: REFUSED: www would run as root: bubblewrap is missing, which keeps an image away '
        'from the rest of this host',
        '  hint: apt install bubblewrap',
        'www: nothing runs',
    ])
    assert not list(processes.marked(deployment.state().root))


def mirage(deployment: Deployment, path: Path, *arguments: str) -> Any:
    """Run mirage-hooks with `path` before everything on PATH."""
    before = os.environ['PATH']
    os.environ['PATH'] = f'{path}:{before}'
    try:
        return deployment.mirage(*arguments)
    finally:
        os.environ['PATH'] = before


def test_what_the_host_is_is_seen(mocker: MockerFixture, tmp_path: Path) -> None:
    mocker.patch.object(facts, 'SYSTEMD', tmp_path / 'none')
    facts.look.cache_clear()
    seen = facts.look()
    facts.look.cache_clear()
    assert (seen.root, seen.sandbox, seen.systemd, seen.counted) == (True, True, '', True)


THREADS = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *wait_for_ever(void *nothing) { for (;;) pause(); return nothing; }

int main(int argc, char **argv)
{
    int threads = %d, megabytes = %d;
    (void)argc;
    (void)argv;
    for (int i = 0; i < threads; i++) {
        pthread_t one;
        int error = pthread_create(&one, NULL, wait_for_ever, NULL);
        if (error) {
            printf("thread %%d: %%s\n", i, strerror(error));
            return 3;
        }
    }
    for (int i = 0; i < megabytes; i++) {
        char *block = malloc(1 << 20);
        if (block == NULL) {
            printf("block %%d: Cannot allocate memory\n", i);
            return 2;
        }
        memset(block, 1, 1 << 20);
    }
    printf("all of it\n");
    fflush(stdout);
    for (;;) pause();
}
"""
needs_gcc = pytest.mark.skipif(not shutil.which('gcc'), reason='gcc is missing')


def hungry(folder: Path, threads: int, megabytes: int) -> bytes:
    """An image that starts so many threads, and then fills so much memory."""
    source = folder / 'hungry.c'
    source.write_text(THREADS % (threads, megabytes))
    subprocess.run(('gcc', '-pthread', '-o', folder / 'hungry', source), check=True)
    return (folder / 'hungry').read_bytes()


@needs_gcc
def test_an_image_may_run_hundreds_of_threads_and_fill_its_memory(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.configure(health={'console': '^all of it$', 'within': '1h'}, network=None)
    deployment.publish(hungry(tmp_path, 250, 128))
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout


@needs_gcc
def test_an_image_that_takes_more_memory_than_it_has_is_told_what_to_write(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.configure(health={'console': '^all of it$', 'within': '1h'}, network=None)
    deployment.publish(hungry(tmp_path, 0, 4096))
    deployment.clone()
    done = deployment.mirage('deploy')
    assert (done.returncode, re.sub('block [0-9]+', 'block N', done.stdout).splitlines()[-5:]) == (
        1,
        ['www: REFUSED: it ended with exit code 2: out of memory',
         '    | block N: Cannot allocate memory',
         '  its console: mirage-hooks logs www --failed',
         '  hint: write `memory: 256` for www in mirage.yml: it has 128 MB',
         'www: nothing runs'],
    )
