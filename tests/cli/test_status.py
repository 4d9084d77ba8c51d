"""What can be asked, by people and by programs: status, history, logs, check, the lock's holder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time

import psutil

from tests.deployment import Deployment, git, web
from tests.guests.scene import needs
from tests.patience import PATIENCE

A, B, C = 'a' * 40, 'b' * 40, 'c' * 40
NO_IMAGE = 'is not an image: it is neither an ELF file nor a script'


def commit(deployment: Deployment, revision: str = 'HEAD') -> str:
    return git(deployment.site, 'rev-parse', revision)


def test_status_tells_people_and_programs_what_runs(shared: Deployment) -> None:
    release, known = shared.current(), shared.state().of('www').run(1)
    assert known is not None
    done, url = shared.mirage('status'), f'http://127.0.0.1:{shared.port}/'
    assert done.returncode == 0
    assert re.sub(r'[0-9]+ (s|min|ms)\b', r'N \1', done.stdout) == (
        f'www: release 1 runs: unix, {len(web("one"))} bytes, commit {release.commit[:12]}, '
        f'process {known.pid}, deployed N s ago\n  {url} answers in N ms, up N s\n'
    )
    told = json.loads(shared.mirage('status', '--json').stdout)
    assert told['unikernels'][0].pop('health')['ms'] > 0
    assert abs(told['unikernels'][0].pop('since') - release.created) < PATIENCE
    assert told == {
        'repository': str(shared.host), 'deploying': '', 'left': [], 'keeper': True, 'cron': None,
        'cron_succeeded': None, 'fetch_failed': '',
        'unikernels': [{
            'name': 'www', 'state': 'running', 'release': 1, 'commit': commit(shared),
            'path': f'xen/{A}/www', 'digest': release.digest, 'target': 'unix',
            'description': f'unix, {len(web("one"))} bytes', 'created': release.created,
            'interfaces': [], 'pid': known.pid, 'url': url,
            'tip': {'branch': 'master', 'commit': commit(shared), 'image': 'live'},
        }],
    }


def test_status_tells_since_when_it_runs_apart_from_when_it_was_deployed(
    serving: Deployment,
) -> None:
    def since() -> float:
        row = json.loads(serving.mirage('status', '--json').stdout)['unikernels'][0]
        known = serving.state().of('www').run(1)
        assert known is not None
        assert row['created'] == serving.current().created
        assert abs(row['since'] - psutil.Process(known.pid).create_time()) < 2
        return float(row['since'])

    before = since()
    assert serving.mirage('restart', 'www').returncode == 0
    assert since() > before


def test_status_tells_of_a_newer_image_that_waits(serving: Deployment) -> None:
    serving.configure('unikernels: {www: {imgae: x}}\n')
    serving.publish(web('two'), B)
    serving.pull()
    serving.configure()
    waits = f'  newer: the image of commit {commit(serving)[:12]} waits: mirage-hooks'
    assert tip(serving) == 'waits'
    assert f'{waits} deploy' in serving.mirage('status').stdout.splitlines()
    told = json.loads(serving.mirage('status', '--json').stdout)['unikernels']
    assert told[0]['newer'] == commit(serving)
    serving.mirage('stop', 'www')
    assert f'{waits} start www' in serving.mirage('status').stdout.splitlines()
    serving.mirage('start', 'www')
    assert 'newer' not in serving.mirage('status').stdout
    assert tip(serving) == 'live'
    serving.mirage('rollback', 'www')
    assert 'newer' not in serving.mirage('status').stdout
    assert tip(serving) == 'rollback'
    serving.publish(b'nonsense', C)
    serving.pull()
    assert 'newer' not in serving.mirage('status').stdout
    assert tip(serving) == 'refused'


def tip(serving: Deployment) -> str:
    """What became of the image that the branch holds, as programs are told."""
    found = json.loads(serving.mirage('status', '--json').stdout)['unikernels'][0]['tip']
    assert (found['branch'], found['commit']) == ('master', commit(serving))
    return str(found['image'])


def test_status_is_1_when_something_is_down(serving: Deployment) -> None:
    serving.crash()
    done = serving.mirage('status')
    assert done.returncode == 1
    assert done.stdout.startswith('www: release 1 is DOWN: ')


def test_status_is_1_when_something_was_never_deployed(deployment: Deployment) -> None:
    deployment.publish(b'nonsense', A)
    deployment.clone()
    deployment.mirage('deploy')
    done = deployment.mirage('status')
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == 'www: never deployed'
    assert done.stdout.splitlines()[1].endswith(f'ago: xen/{A}/www {NO_IMAGE}')


def test_status_tells_a_stop_from_nothing_yet(deployment: Deployment) -> None:
    deployment.publish(web('one'), A)
    deployment.clone()
    assert deployment.mirage('stop', 'www').returncode == 0
    done = deployment.mirage('status')
    assert (done.returncode, done.stdout) == (0, 'www: stopped by hand, never deployed\n')
    told = json.loads(deployment.mirage('status', '--json').stdout)['unikernels']
    tip = {'branch': 'master', 'commit': commit(deployment), 'image': 'waits'}
    assert told == [{'name': 'www', 'state': 'stopped', 'tip': tip}]


def test_status_says_that_mirage_yml_cannot_be_read(serving: Deployment) -> None:
    serving.config.write_text('unikernels: 7\n')
    done = serving.mirage('status')
    assert done.returncode == 1
    assert done.stdout.startswith('www: release 1 runs: ')
    assert done.stderr == (
        f'{serving.config}:1:13: unikernels is 7: it takes a mapping, such as '
        '{www: {image: xen/latest}}\n'
    )
    assert json.loads(serving.mirage('status', '--json').stdout)['unikernels'][0]['name'] == 'www'


def test_status_shows_who_deploys(shared: Deployment) -> None:
    with shared.state().lock('a test', 1):
        done = shared.mirage('status')
    assert done.stdout.splitlines()[0] == f'a deployment runs: {os.getpid()} a test'


def test_history_tells_people_and_programs_what_happened(twice: Deployment) -> None:
    twice.publish(b'nonsense\x1b[31m', C)
    twice.pull()
    told = json.loads(twice.mirage('history', '--json', '-n', '2').stdout)
    by = 'git pull or merge by operator'
    assert [(one['unikernel'], one['event'], one['trigger']) for one in told] == [
        ('www', 'deployed', by), ('www', 'refused', by)
    ]
    assert told[0]['commit'] == commit(twice, 'HEAD~1')
    lines = twice.mirage('history', 'www').stdout.splitlines()
    assert [line[21:].split()[:2] for line in lines] == [
        ['www', 'deployed'], ['www', 'deployed'], ['www', 'refused']
    ]
    assert lines[2].endswith(f'xen/{C}/www {NO_IMAGE}  ({by})')
    assert twice.mirage('history', '-n', '0').stdout == ''


def test_history_tells_a_program_for_how_long_nobody_served(serving: Deployment) -> None:
    """Without the time in which what serves already is watched."""
    serving.configure(confirm='2s', switch='replace')
    serving.publish(web('two'), B)
    serving.pull()
    first, second = json.loads(serving.mirage('history', '--json').stdout)
    assert first['gap'] == 0, 'nobody served before'
    assert 0 < second['gap'] < second['took'] - 2
    assert serving.mirage('rollback', 'www').returncode == 0
    *_, third = json.loads(serving.mirage('history', '--json').stdout)
    assert (third['event'], third['gap'] > 0) == ('rolled back', True)


def test_an_empty_history_says_so(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    assert deployment.mirage('history', 'www').stdout == 'nothing happened yet\n'


def test_status_of_one_unikernel_is_that_one_alone(twice: Deployment) -> None:
    other = {'image': 'xen/nowhere', 'confirm': '100ms'}
    www = {'image': 'xen/latest', 'network': {'mode': 'socket', 'port': twice.port}}
    twice.configure(json.dumps({'unikernels': {'blog': other, 'www': www}}))
    assert twice.mirage('status').returncode == 1
    done = twice.mirage('status', 'www')
    assert (done.returncode, done.stdout.startswith('www: release 2 runs')) == (0, True)
    done = twice.mirage('status', 'blog', '--json')
    found = json.loads(done.stdout)['unikernels']
    tip = {'branch': 'master', 'commit': commit(twice), 'image': 'none'}
    assert (done.returncode, found) == (1, [{'name': 'blog', 'state': 'none', 'tip': tip}])


def test_a_torn_line_of_the_history_is_passed_over(serving: Deployment) -> None:
    with serving.state().history.open('a') as file:
        file.write('{"at":1,"unik')
    serving.publish(web('two'), B)
    serving.pull()
    assert serving.events() == [('deployed', 1), ('deployed', 2)]


def test_the_lock_waits_and_names_its_holder(shared: Deployment) -> None:
    with shared.state().lock('git push by somebody', 1):
        waiting = subprocess.Popen(shared.command('deploy'), stdout=subprocess.PIPE, text=True)
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == (
            f'waiting for another deployment to end: {os.getpid()} git push by somebody\n'
        )
        time.sleep(0.1)
        assert waiting.poll() is None
    said, _ = waiting.communicate(timeout=PATIENCE)
    assert (waiting.returncode, said.endswith(' runs, nothing to do\n')) == (0, True)


def test_the_lock_dies_with_its_holder(shared: Deployment) -> None:
    program = (
        'import sys, time; from pathlib import Path; from mirage_hooks.state import store\n'
        'with store.Store(Path(sys.argv[1])).lock("held", 1):\n'
        '    print("held", flush=True); time.sleep(3600)\n'
    )
    with subprocess.Popen(
        (shared.command()[0], '-I', '-c', program, str(shared.state().root)),
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert shared.state().holder() == f'{holder.pid} held'
        holder.kill()
    assert shared.state().holder() == ''
    assert shared.mirage('deploy').returncode == 0


def test_state_that_is_damaged_is_named(shared: Deployment) -> None:
    file = shared.state().of('www').folder(1) / 'release.json'
    whole = file.read_bytes()
    file.write_bytes(whole[:50])
    try:
        done = shared.mirage('deploy')
        assert (done.returncode, done.stderr) == (1, (
            f'mirage-hooks: {file} is damaged: Input data was truncated\n'
            '  hint: move it away and run `mirage-hooks deploy`: it is made anew\n'
        ))
    finally:
        file.write_bytes(whole)
    assert shared.page() == 'one'


@needs('bwrap')
def test_check_finds_nothing_missing_for_a_plain_process(shared: Deployment) -> None:
    done = shared.mirage('check', '--json')
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert [one['text'] for one in found if one['level'] == 'problem'] == []
    said = {(one['subject'], one['text']) for one in found}
    assert said >= {
        ('mirage.yml', f'{shared.config} names www'),
        ('www', f'master is at {commit(shared)[:12]}, the image xen/{A}/www'),
        ('www', f'it is unix, {len(web("one"))} bytes'),
    }


def test_check_names_what_is_missing(shared: Deployment) -> None:
    shared.configure(network={'mode': 'static', 'bridge': 'nobr0', 'ipv4': '192.0.2.1/24'})
    try:
        done = shared.mirage('check')
    finally:
        shared.configure()
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith('PROBLEM  www: bridge')]
