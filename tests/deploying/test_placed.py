"""Where Pacemaker decides on which host a unikernel runs: a new image is made ready, and nobody but
Pacemaker starts it, ends it or starts it again. Here the tests are Pacemaker, on one host."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirage_hooks.state import notes
from mirage_hooks.switching import launcher
from tests import wired
from tests.deployment import Deployment, called, run, web
from tests.patience import PATIENCE, until
from tests.wired import Wired

BAD = web('bad', before='sys.exit(1)')


def ocf(host: Deployment, action: str, **environment: str) -> Any:
    """What the agent does for Pacemaker."""
    given = {'OCF_RESKEY_repository': str(host.host), 'OCF_RESKEY_name': 'www', **environment}
    inside = host.inside() if isinstance(host, Wired) else ()
    words = (f'{key}={value}' for key, value in given.items())
    return run(*inside, 'env', *words, *host.command()[:4], 'ocf', action, cwd=Path('/'))


@pytest.fixture
def placed(deployment: Deployment) -> Deployment:
    """Release 1 is ready, and runs nowhere."""
    deployment.configure(placement='pacemaker')
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    return deployment


def test_a_first_image_is_made_ready_and_not_started(deployment: Deployment) -> None:
    deployment.configure(placement='pacemaker')
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    said = deployment.mirage('deploy')
    commit = deployment.state().of('www').ready()
    assert commit is not None
    release = called(1, web('one'), commit.commit)
    assert said.stdout.splitlines()[-1] == (
        f'www: {release} is now ready here: Pacemaker decides where it runs')
    assert said.returncode == 0
    assert deployment.page() == '' and deployment.processes() == []
    assert deployment.events() == [('ready', 1)]
    again = deployment.mirage('deploy')
    assert again.stdout == f'www: {release} is ready here: Pacemaker decides where it runs\n'
    assert deployment.events() == [('ready', 1)]


def test_what_is_ready_serves_once_pacemaker_starts_it(placed: Deployment) -> None:
    assert ocf(placed, 'monitor').returncode == 7
    assert ocf(placed, 'start').returncode == 0
    assert placed.page() == 'one'
    assert ocf(placed, 'monitor').returncode == 0
    assert ocf(placed, 'start').returncode == 0  # it is there
    assert ocf(placed, 'stop').returncode == 0
    assert placed.page() == '' and placed.processes() == []
    assert ocf(placed, 'stop').returncode == 0
    assert ocf(placed, 'monitor').returncode == 7
    assert placed.events() == [('ready', 1), ('started', 1), ('stopped', 1)]
    assert ocf(placed, 'start').returncode == 0
    assert placed.page() == 'one'


def test_who_asks_what_is_ready_is_told_that_it_does_not_run(placed: Deployment) -> None:
    told = json.loads(placed.mirage('status', '--json').stdout)['unikernels'][0]
    assert (told['state'], told['tip']['image']) == ('ready', 'ready')
    said = placed.mirage('probe', 'www')
    assert (said.returncode, said.stdout) == (1, '')
    assert 'it is ready here, and does not run' in said.stderr
    ocf(placed, 'start')
    told = json.loads(placed.mirage('status', '--json').stdout)['unikernels'][0]
    assert (told['state'], told['tip']['image']) == ('running', 'live')
    assert placed.mirage('probe', 'www').returncode == 0


def test_a_push_switches_where_it_runs(placed: Deployment) -> None:
    ocf(placed, 'start')
    placed.publish(web('two'), 'b' * 40)
    placed.pull()
    assert placed.page() == 'two'
    assert ocf(placed, 'monitor').returncode == 0
    assert placed.events()[-1] == ('deployed', 2)


def test_a_push_makes_the_next_start_one_of_the_new_image(placed: Deployment) -> None:
    ocf(placed, 'start')
    ocf(placed, 'stop')
    placed.publish(web('two'), 'b' * 40)
    placed.pull()
    placed.publish(web('three'), 'c' * 40)
    placed.pull()
    assert placed.page() == '' and placed.processes() == []
    assert placed.state().of('www').numbers() == [1, 3]  # 2 was never live
    ocf(placed, 'start')
    assert placed.page() == 'three'


def test_a_bad_image_is_refused_where_it_does_not_run(placed: Deployment) -> None:
    placed.publish(BAD, 'b' * 40)
    said = placed.mirage('pull')
    assert 'www: REFUSED: it ended with exit code 1' in said.stdout
    assert said.stdout.splitlines()[-1].startswith('www: release 1 (')
    assert said.stdout.splitlines()[-1].endswith(
        'is ready here: Pacemaker decides where it runs')
    assert said.returncode == 1
    ocf(placed, 'start')
    assert placed.page() == 'one'


def test_nobody_but_pacemaker_starts_again_what_ended(placed: Deployment) -> None:
    ocf(placed, 'start')
    placed.crash()
    for command in (('deploy',), ('pull', '--quiet'), ('keep',)):
        assert placed.mirage(*command).returncode == 0
        assert placed.page() == '' and placed.processes() == []
    assert placed.keepers() == []
    assert ocf(placed, 'monitor').returncode == 7
    assert ocf(placed, 'stop').returncode == 0
    assert ocf(placed, 'start').returncode == 0
    assert placed.page() == 'one'


@pytest.mark.parametrize(('command', 'instead'), [
    ('start', 'pcs resource enable www'), ('stop', 'pcs resource disable www'),
    ('restart', 'pcs resource restart www'),
    ('rollback', 'go back in the branch (git revert), which all hosts follow; or move it to a host '
     'that has the earlier image: pcs resource move www'),
])
def test_what_is_pacemaker_s_is_left_to_it(placed: Deployment, command: str, instead: str) -> None:
    ocf(placed, 'start')
    said = placed.mirage(command, 'www')
    assert said.stderr == (
        f'mirage-hooks: www is placed by Pacemaker, which would undo a {command}\n'
        f'  hint: {instead}\n')
    assert said.returncode == 1
    assert placed.page() == 'one'


def test_status_says_what_is_ready(placed: Deployment) -> None:
    said = placed.mirage('status')
    ready = placed.state().of('www').ready()
    assert ready is not None
    assert said.stdout.splitlines()[0] == (
        f'www: ready: release 1, unix, {len(web("one"))} bytes, commit {ready.commit[:12]}; '
        'Pacemaker runs it on another host, or nowhere')
    assert said.returncode == 0
    assert 'left by a deployment' not in said.stdout


def test_a_dry_run_says_what_would_be_made_ready(placed: Deployment) -> None:
    assert placed.mirage('deploy', '--dry-run').stdout == (
        'www: release 1 is ready here, nothing to do\n')
    placed.publish(web('two'), 'b' * 40)
    run('git', 'fetch', '-q', cwd=placed.host)
    run('git', 'reset', '-q', '--hard', 'origin/master', cwd=placed.host)
    said = placed.mirage('deploy', '--dry-run').stdout
    assert said.endswith('would be made ready: Pacemaker decides where it runs\n')
    assert placed.events() == [('ready', 1)]


def test_what_mirage_yml_no_longer_names_runs_until_pacemaker_ends_it(placed: Deployment) -> None:
    ocf(placed, 'start')
    placed.configure('unikernels: {}')
    said = placed.mirage('deploy')
    assert 'www: REFUSED: Pacemaker runs it, and mirage.yml no longer names it\n' in said.stdout
    assert 'such as: pcs resource delete www\n' in said.stdout
    assert placed.page() == 'one'
    assert ocf(placed, 'stop').returncode == 0
    assert placed.mirage('deploy').returncode == 0
    assert placed.page() == ''
    assert placed.state().of('www').ready() is None


def test_without_pacemaker_this_host_starts_it_again(placed: Deployment) -> None:
    placed.configure()
    assert placed.mirage('deploy').returncode == 0
    assert placed.page() == 'one'
    placed.crash()
    assert placed.mirage('deploy').returncode == 0
    assert placed.page() == 'one'


def test_pacemaker_takes_over_what_runs(serving: Deployment) -> None:
    serving.configure(placement='pacemaker')
    assert serving.mirage('deploy').returncode == 0
    assert ocf(serving, 'monitor').returncode == 0
    assert ocf(serving, 'start').returncode == 0
    assert [number for number, in {(folder.name,) for folder, _ in serving.processes()}] == ['1']
    serving.crash()
    serving.mirage('deploy')
    assert serving.page() == ''


def test_a_ready_image_that_does_not_start_gives_way_to_the_one_before(
    placed: Deployment
) -> None:
    ocf(placed, 'start')
    ocf(placed, 'stop')
    placed.publish(web('two'), 'b' * 40)
    placed.pull()
    (placed.state().of('www').folder(2) / 'image').write_bytes(BAD)
    said = ocf(placed, 'start')
    assert said.returncode == 0, said.stderr
    assert 'www: release 2 does not serve: it ended with exit code 1' in said.stderr
    assert placed.page() == 'one'
    assert placed.events()[-2:] == [('not started', 2), ('started', 1)]


def test_what_fell_silent_is_not_started_instead(placed: Deployment) -> None:
    ocf(placed, 'start')
    placed.publish(web('two'), 'b' * 40)
    placed.pull()
    releases = placed.state().of('www')
    bad = releases.current()
    assert bad is not None
    ocf(placed, 'stop')
    releases.set_pin(notes.Pin(release=1, blob=bad.blob))  # as the watcher leaves it
    releases.set_ready(1)
    (releases.folder(1) / 'image').write_bytes(BAD)
    said = ocf(placed, 'start')
    assert said.returncode == 1
    assert 'it ended with exit code 1' in said.stderr
    assert placed.events()[-1] == ('not started', 1)


def test_what_git_went_back_from_is_not_started_instead(placed: Deployment) -> None:
    ocf(placed, 'start')
    for page, commit in (('two', 'b' * 40), ('one', 'c' * 40)):
        placed.publish(web(page), commit)
        placed.pull()
    ocf(placed, 'stop')
    (placed.state().of('www').folder(3) / 'image').write_bytes(BAD)
    said = ocf(placed, 'start')
    assert said.returncode == 1
    assert placed.events()[-1] == ('not started', 3)


def test_what_is_made_ready_goes_back_to_what_served_here_last(placed: Deployment) -> None:
    ocf(placed, 'start')
    placed.publish(web('two'), 'b' * 40)
    placed.pull()
    ocf(placed, 'stop')
    releases = placed.state().of('www')
    releases.set_ready(1)  # 2 was turned down
    placed.publish(web('three'), 'c' * 40)
    placed.pull()
    ready = releases.ready()
    assert ready is not None and ready.number == 3
    before = releases.earlier(ready)
    assert before is not None and before.number == 1
    ocf(placed, 'start')
    previous = releases.previous()
    assert previous is not None and previous.number == 1


def test_what_is_made_ready_stays_where_the_one_before_had_ended(placed: Deployment) -> None:
    ocf(placed, 'start')
    placed.crash()
    placed.publish(web('two'), 'b' * 40)
    placed.pull()
    ready = placed.state().of('www').ready()
    assert ready is not None and ready.number == 2


@pytest.fixture
def bridged(tmp_path: Path) -> Iterator[Wired]:
    """Release 1 is ready, with an address of its own on a bridge."""
    made = Wired(tmp_path)
    try:
        made.configure(placement='pacemaker')
        made.release()
        made.clone()
        assert made.mirage('deploy').returncode == 0
        yield made
    finally:
        made.end()


on_a_bridge = pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')


@on_a_bridge
def test_it_is_proved_while_another_host_has_its_address(bridged: Wired) -> None:
    wired.act('ip', '-n', bridged.outer, 'addr', 'add', f'{wired.ADDRESS}/24', 'dev', 'eth0')
    bridged.release()
    said = bridged.mirage('pull')
    assert 'trying release 2 on a stage' in said.stdout and said.returncode == 0
    assert bridged.events()[-1] == ('ready', 2)
    refused = ocf(bridged, 'start')
    assert refused.returncode == 1
    assert f'is not ours, and answers for our address {wired.ADDRESS}' in refused.stderr
    assert bridged.processes() == [] and bridged.links() == []
    wired.act('ip', '-n', bridged.outer, 'addr', 'del', f'{wired.ADDRESS}/24', 'dev', 'eth0')
    assert ocf(bridged, 'start').returncode == 0
    assert bridged.page() == 'release-0002'


@on_a_bridge
def test_ended_while_another_release_is_drained_it_leaves_nothing(bridged: Wired) -> None:
    ocf(bridged, 'start')
    bridged.release()
    bridged.mirage('pull')
    assert bridged.tables() != []
    assert ocf(bridged, 'stop').returncode == 0
    assert (bridged.processes(), bridged.links(), bridged.tables()) == ([], [], [])
    assert ocf(bridged, 'start').returncode == 0
    assert bridged.page() == 'release-0002'


@on_a_bridge
def test_without_its_bridge_it_is_to_be_ended_before_it_is_started_elsewhere(
    bridged: Wired
) -> None:
    ocf(bridged, 'start')
    wired.act('ip', '-n', bridged.inner, 'link', 'del', 'br0')
    said = ocf(bridged, 'monitor')
    assert said.returncode == 1
    assert said.stderr.startswith('ocf-exit-reason:www does not serve, but process ')
    assert said.stderr.endswith(
        ' of release 1 lives: it lost its bridge, or whoever was about to start it was killed\n')
    assert ocf(bridged, 'stop').returncode == 0
    said = ocf(bridged, 'start')
    assert said.returncode == 1
    assert 'ocf-exit-reason:the bridge br0 does not exist' in said.stderr
    assert bridged.processes() == [] and bridged.links() == []


@on_a_bridge
def test_a_silent_one_is_seen_at_depth_ten(bridged: Wired) -> None:
    ocf(bridged, 'start')
    assert ocf(bridged, 'monitor', OCF_CHECK_LEVEL='10').returncode == 0
    wired.act('ip', '-n', bridged.inner, 'link', 'set', bridged.tap(1), 'down')
    assert ocf(bridged, 'monitor').returncode == 0
    said = ocf(bridged, 'monitor', OCF_CHECK_LEVEL='10')
    assert said.returncode == 1
    assert said.stderr.startswith(
        f'ocf-exit-reason:release 1 of www is silent: http://{wired.ADDRESS}:8080/ ')


@on_a_bridge
def test_a_start_that_was_killed_leaves_nothing_after_a_stop(bridged: Wired) -> None:
    bridged.configure(placement='pacemaker', confirm='1h')
    bridged.mirage('deploy')
    started = f'timeout -s KILL 1 {" ".join(bridged.command()[:4])} ocf start'
    run(*bridged.inside(), 'env', f'OCF_RESKEY_repository={bridged.host}', 'OCF_RESKEY_name=www',
        'sh', '-c', started, cwd=Path('/'))
    until(lambda: not bridged.state().holder())
    assert ocf(bridged, 'monitor').returncode == 1
    assert ocf(bridged, 'stop').returncode == 0
    assert (bridged.processes(), bridged.links()) == ([], [])
    assert ocf(bridged, 'monitor').returncode == 7


@on_a_bridge
def test_a_switch_that_was_killed_half_way_is_not_told_to_be_stopped(bridged: Wired) -> None:
    ocf(bridged, 'start')
    before = {*bridged.processes()}
    bridged.configure(placement='pacemaker', switch='replace', confirm='1h')
    bridged.release()
    with subprocess.Popen((*bridged.inside(), *bridged.command('pull'))) as pulling:
        until(lambda: not before & {*bridged.processes()} and bridged.processes() != [])
        pulling.kill()
    until(lambda: not bridged.state().holder())
    assert ocf(bridged, 'monitor').returncode == 1
    assert ocf(bridged, 'stop').returncode == 0
    assert (bridged.processes(), bridged.links()) == ([], [])
    assert ocf(bridged, 'monitor').returncode == 7


@on_a_bridge
def test_whose_repository_is_gone_is_not_told_to_be_stopped_while_it_runs(bridged: Wired) -> None:
    ocf(bridged, 'start')
    away = bridged.host.with_name('away')
    bridged.host.rename(away)
    for action in ('stop', 'monitor', 'start'):
        said = ocf(bridged, action)
        assert said.returncode == 1
        assert said.stderr.startswith(
            f'ocf-exit-reason:{bridged.host} is gone, and a process of {bridged.host}/')
    away.rename(bridged.host)
    assert ocf(bridged, 'monitor').returncode == 0
    assert ocf(bridged, 'stop').returncode == 0
    bridged.host.rename(away)
    assert ocf(bridged, 'stop').returncode == 0
    away.rename(bridged.host)


def test_a_deployment_under_way_gives_way_to_pacemaker(placed: Deployment) -> None:
    """Else a trial of an image that never answers would keep visitors waiting."""
    placed.configure(placement='pacemaker', health={
        'http': f'http://127.0.0.1:{placed.port}/', 'within': '10m'})
    placed.publish(web('never', before='import time; time.sleep(1000)'), 'b' * 40)
    with subprocess.Popen(placed.command('pull'), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as pulling:
        until(placed.processes)
        assert ocf(placed, 'start').returncode == 0
        assert placed.page() == 'one'
        _, said = pulling.communicate(timeout=PATIENCE)
    assert 'mirage-hooks: interrupted\n' in said
    assert pulling.returncode == 130
    until(lambda: 'keeper' in placed.state().holder())  # and begins anew, next to what serves


def test_a_dead_one_is_told_at_once_whoever_deploys_something_else(placed: Deployment) -> None:
    ocf(placed, 'start')
    placed.crash()
    with placed.state().lock('deploy blog', PATIENCE):
        began = time.monotonic()
        assert ocf(placed, 'monitor').returncode == 7
        assert time.monotonic() - began < 30  # it would wait longer for a switch


def test_while_something_takes_its_place_it_is_not_told_to_be_dead(placed: Deployment) -> None:
    ocf(placed, 'start')
    releases = placed.state().of('www')
    current = releases.current()
    assert current is not None
    with placed.state().lock('deploy', PATIENCE), releases.change():
        placed.crash()
        with subprocess.Popen(
            ('env', f'OCF_RESKEY_repository={placed.host}', 'OCF_RESKEY_name=www',
             *placed.command()[:4], 'ocf', 'monitor')
        ) as looking:
            time.sleep(3)
            assert looking.poll() is None
            launcher.start(releases, current, '')
            assert looking.wait() == 0


def test_who_holds_the_lock_gives_way_and_is_begun_again(placed: Deployment) -> None:
    """Also where nothing could be started after all."""
    lock = ('import sys, time; from mirage_hooks.state import store; from pathlib import Path\n'
            'try:\n'
            '    with store.Store(Path(sys.argv[1])).lock("deploy", 100):\n'
            '        time.sleep(1000)\n'
            'except KeyboardInterrupt: sys.exit(130)')
    placed.state().of('www').set_ready(None)
    with subprocess.Popen((sys.executable, '-c', lock, str(placed.state().root))) as holding:
        try:
            until(lambda: 'deploy' in placed.state().holder())
            assert ocf(placed, 'start').returncode == 5
            assert holding.wait() == 130
        finally:
            holding.kill()
    until(lambda: placed.state().of('www').ready() is not None)  # `keep` made it so


def test_who_uninstalls_is_waited_for(placed: Deployment) -> None:
    hold = ('import sys, time; from mirage_hooks.state import store; from pathlib import Path\n'
            'with store.Store(Path(sys.argv[1])).lock("uninstall", 100): time.sleep(7)')
    with subprocess.Popen((sys.executable, '-c', hold, str(placed.state().root))) as holding:
        until(lambda: 'uninstall' in placed.state().holder())
        assert ocf(placed, 'start').returncode == 0
        assert holding.wait() == 0
