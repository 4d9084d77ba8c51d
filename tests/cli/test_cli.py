"""The command, by its words and exit codes: 0 done, 1 refused, 2 usage, 3 our own fault, 130."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest
import pytest_mock

from mirage_hooks.cli.main import main
from mirage_hooks.state import model, proc
from tests import elf
from tests.deployment import Deployment, called, git, run, web
from tests.guests.scene import needs
from tests.patience import PATIENCE, until

B, C = 'b' * 40, 'c' * 40
CODE_2 = 'it ended with exit code 2'


def commit(deployment: Deployment, revision: str = 'HEAD') -> str:
    return git(deployment.site, 'rev-parse', revision)


def fetched(deployment: Deployment) -> None:
    """Bring the clone up to the remote without any hook."""
    git(deployment.host, 'fetch', '-q')
    git(deployment.host, 'reset', '-q', '--hard', 'origin/master')


# deploy


def test_deploy_does_nothing_the_second_time(serving: Deployment) -> None:
    before = serving.processes()
    done = serving.mirage('deploy')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout == f'www: {called(1, web("one"), commit(serving))} runs, nothing to do\n'
    done = serving.mirage('deploy', '--quiet', 'www')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    assert serving.processes() == before
    assert serving.events() == [('deployed', 1)]


@pytest.mark.parametrize('arguments', [('pull', '--quiet'), ('deploy',), ('stop', 'www')])
def test_who_has_no_user_in_the_environment_is_named_as_passwd_does(
    serving: Deployment, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    for key in ('USER', 'LOGNAME'):  # as cron and some sshd's have it
        monkeypatch.delenv(key, raising=False)
    serving.publish(web('two'), B)
    fetched(serving)
    serving.mirage(*arguments)
    by = {entry.trigger.partition(' by ')[2] for entry in serving.history()[1:]}
    assert by == {pwd.getpwuid(os.getuid()).pw_name}


def test_a_hook_names_its_user_as_passwd_does(
    serving: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ('USER', 'LOGNAME'):
        monkeypatch.delenv(key, raising=False)
    serving.publish(web('two'), B)
    serving.pull()
    name = pwd.getpwuid(os.getuid()).pw_name
    assert serving.history()[-1].trigger == f'git pull or merge by {name}'


@pytest.mark.parametrize('command', [
    ('deploy', 'wwww'), ('deploy', '--dry-run', 'wwww'), ('start', 'wwww'), ('stop', 'wwww'),
    ('rollback', 'wwww'),
], ids=' '.join)
def test_a_name_that_mirage_yml_does_not_have_is_refused(
    shared: Deployment, command: tuple[str, ...]
) -> None:
    done = shared.mirage(*command)
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr == (
        'mirage-hooks: mirage.yml names no unikernel wwww\n  hint: did you mean www?\n'
    )


def test_deploy_tries_a_refused_image_again(serving: Deployment) -> None:
    serving.publish(b'#!/bin/sh\nexit 2\n', B)
    serving.pull()
    done = serving.mirage('pull')
    assert (done.returncode, done.stdout) == (1, (
        f'www: still refused: {CODE_2}\n'
        f'www: {called(1, web("one"), commit(serving, "HEAD~1"))} goes on running\n'
    ))
    done = serving.mirage('deploy')
    assert (done.returncode, f'www: REFUSED: {CODE_2}' in done.stdout) == (1, True)
    assert serving.page() == 'one'


def test_one_unikernel_that_fails_does_not_stop_the_others(deployment: Deployment) -> None:
    deployment.configure(f"""unikernels:
  bad: {{image: xen/latest, confirm: 100ms}}
  www: {{image: xen/latest, network: {{mode: socket, port: {deployment.port}}}, confirm: 100ms}}
""")
    deployment.publish(b'#!/bin/sh\nexit 1\n', name='bad', push=False)
    deployment.publish(web('one'))
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if not line.startswith('  ')] == [
        'bad: REFUSED: it ended with exit code 1', 'bad: nothing runs',
        f'www: {called(1, web("one"), commit(deployment))} now runs',
    ]
    assert deployment.page() == 'one'
    assert deployment.mirage('status').returncode == 1


def test_a_unikernel_that_mirage_yml_no_longer_names_is_stopped(serving: Deployment) -> None:
    serving.configure('unikernels: {}\n')
    done = serving.mirage('pull', '--quiet')
    assert (done.returncode, done.stdout) == (0, 'www: stopped: it is no longer in mirage.yml\n')
    assert serving.processes() == []
    assert serving.events() == [('deployed', 1), ('removed', 1)]
    done = serving.mirage('deploy')
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0, 'mirage.yml names no unikernel: nothing to run')
    serving.configure()
    assert serving.mirage('pull', '--quiet').returncode == 0
    assert serving.page() == 'one'


def test_what_changes_how_it_is_started_starts_it_anew(serving: Deployment) -> None:
    serving.configure(arguments=['--message=a "b" \\ c'])
    assert serving.mirage('pull', '--quiet').returncode == 0
    assert serving.current().number == 2
    before = serving.processes()
    serving.configure(arguments=['--message=a "b" \\ c'], keep=7, confirm='50ms')
    assert serving.mirage('pull', '--quiet').returncode == 0
    assert serving.processes() == before


def test_old_releases_are_pruned_as_keep_says(serving: Deployment) -> None:
    serving.configure(keep=1, switch='replace')
    for number, page in enumerate(('two', 'three', 'four')):
        serving.publish(web(page), str(number) * 40)
        serving.pull()
        assert serving.page() == page
    assert serving.state().of('www').numbers() == [3, 4]


# A crash, a reboot, a stop


@needs('bwrap')  # which sees how it ended
def test_after_a_crash_the_next_cron_run_brings_it_back_and_says_so(twice: Deployment) -> None:
    twice.crash()
    assert twice.page() == ''
    done = twice.mirage('pull', '--quiet')
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == (
        f'www: {called(2, web("two"), commit(twice))} runs again'
    )
    assert twice.page() == 'two'
    assert twice.events()[-1] == ('restarted', 2)
    assert done.stdout.splitlines()[-3:-1] == [
        'www: release 2 was not running: it ended with exit code 143: ended by somebody (SIGTERM)',
        '  hint: its console may say why: mirage-hooks logs www',
    ]


@needs('bwrap')
def test_a_cron_run_after_a_crash_leads_with_the_crash(serving: Deployment) -> None:
    serving.publish(b'#!/bin/sh\necho wrong\nexit 2\n', B)
    assert serving.mirage('pull', '--quiet').stdout.splitlines()[-3:] == [
        '    | wrong', '  its console: mirage-hooks logs www --failed',
        f'www: {called(1, web("one"), commit(serving, "HEAD~1"))} goes on running',
    ]
    serving.crash()
    done = serving.mirage('pull', '--quiet')
    killed = 'with exit code 143: ended by somebody (SIGTERM)'
    assert (done.returncode, done.stdout.splitlines()[1:]) == (1, [
        f'www: release 1 had ended ({killed}), and was started again',
        f'www: still refused: {CODE_2}',
        f'www: {called(1, web("one"), commit(serving, "HEAD~1"))} goes on running',
    ])
    assert serving.mirage('pull', '--quiet').stdout == ''


def test_deploy_tells_a_program_what_was_done(serving: Deployment) -> None:
    serving.publish(web('two'), B)
    fetched(serving)
    done = serving.mirage('--json', 'deploy')
    release = serving.current()
    assert json.loads(done.stdout) == {'unikernels': [{
        'name': 'www', 'event': 'deployed', 'ended': '', 'reason': '', 'hint': '',
        'running': {'release': 2, 'commit': release.commit, 'digest': release.digest,
                    'description': release.description},
    }]}
    assert 'www: starting release 2 next to release 1\n' in done.stderr


def test_after_a_reboot_another_process_of_the_same_number_does_not_deceive(
    serving: Deployment,
) -> None:
    serving.crash()
    found = proc.identity(os.getpid())
    assert found is not None
    for run_of in (model.Run(os.getpid(), found[1], 'another-boot'),
                   model.Run(os.getpid(), found[1] + 1, found[2])):
        serving.state().of('www').set_run(1, run_of)
        assert serving.mirage('status').returncode == 1
    assert serving.mirage('pull', '--quiet').returncode == 0
    assert serving.page() == 'one'


def test_a_stopped_unikernel_stays_stopped_until_start(serving: Deployment) -> None:
    done = serving.mirage('stop', 'www')
    assert (done.returncode, done.stdout) == (0, 'www: release 1 was ended\nwww: stopped\n')
    for version, content in ((B, 'twice'), (C, 'two')):
        serving.publish(web(content), version)
        assert serving.pull().stderr == (
            f'www: the newer image of commit {commit(serving)[:12]} waits: mirage-hooks start www\n'
            'www: stopped by hand: it stays so until `mirage-hooks start www`\n')
    for command in (('pull', '--quiet'), ('deploy',), ('deploy', 'www'), ('stop', 'www')):
        assert serving.mirage(*command).returncode == 0
        assert serving.page() == ''
    assert serving.mirage('status').returncode == 0
    assert serving.mirage('start', 'www').returncode == 0
    assert serving.page() == 'two'


def test_a_restart_ends_the_release_and_starts_the_same_again(twice: Deployment) -> None:
    before = twice.processes()
    done = twice.mirage('restart', 'www')
    what = called(2, web('two'), commit(twice))
    assert (done.returncode, [line.partition(' s  ')[2] for line in done.stdout.splitlines()]) == (
        0, ['www: restarting release 2', 'www: starting release 2', '']
    )
    assert done.stdout.splitlines()[-1] == f'www: {what} runs again'
    assert (twice.page(), len(twice.processes())) == ('two', 1)
    assert twice.processes() != before
    last = twice.history()[-1]
    assert (last.event, last.release, last.reason, last.trigger) == (
        'restarted', 2, '', 'restart by operator')


def test_a_restart_starts_what_was_stopped(serving: Deployment) -> None:
    serving.mirage('stop', 'www')
    assert serving.mirage('restart', 'www').returncode == 0
    assert serving.page() == 'one'
    assert serving.mirage('deploy').stdout.endswith('runs, nothing to do\n')


def test_a_restart_keeps_a_rollback(twice: Deployment) -> None:
    twice.mirage('rollback', 'www')
    done = twice.mirage('restart', 'www')
    assert (done.returncode, twice.page()) == (0, 'one')
    assert ', kept by a rollback: ' in twice.mirage('status').stdout


def test_a_restart_next_to_a_refused_image_restarts_what_serves(serving: Deployment) -> None:
    serving.publish(b'#!/bin/sh\nexit 2\n', B)
    serving.pull()
    before = serving.processes()
    done = serving.mirage('restart', 'www')
    last = f'www: {called(1, web("one"), commit(serving, "HEAD~1"))} runs again'
    assert (done.returncode, done.stdout.splitlines()[2:]) == (0, [last])
    assert serving.processes() != before
    assert serving.page() == 'one'
    failure = serving.state().of('www').failure()
    assert failure is not None and failure.reason == CODE_2


def test_a_restart_starts_nothing_newer(serving: Deployment) -> None:
    serving.mirage('stop', 'www')
    serving.publish(web('two'), B)
    serving.pull()
    done = serving.mirage('restart', 'www')
    assert (done.returncode, serving.page()) == (0, 'one')
    waits = f'image of commit {commit(serving)[:12]} waits: mirage-hooks deploy'
    assert f'www: the newer {waits} www\n' in done.stdout
    assert f'\n  newer: the {waits}\n' in serving.mirage('status').stdout
    assert serving.mirage('deploy').returncode == 0
    assert serving.page() == 'two'


def test_a_start_next_to_a_refused_image_ends_well_once_it_runs(serving: Deployment) -> None:
    serving.publish(b'#!/bin/sh\nexit 2\n', B)
    serving.pull()
    serving.mirage('stop', 'www')
    done = serving.mirage('start', 'www')
    assert (done.returncode, done.stdout.splitlines()[-3:]) == (0, [
        'www: release 1 was started again', f'www: still refused: {CODE_2}',
        f'www: {called(1, web("one"), commit(serving, "HEAD~1"))} goes on running',
    ])
    until(lambda: serving.page() == 'one')


def test_what_a_restart_cannot_start_is_refused_with_its_console(serving: Deployment) -> None:
    image = serving.state().of('www').folder(1) / 'image'
    image.write_text('#!/bin/sh\necho broken\nexit 7\n')
    done = serving.mirage('restart', 'www')
    assert done.returncode == 1
    assert 'www: REFUSED: it ended with exit code 7' in done.stdout
    assert '    | broken\n  its console: mirage-hooks logs www\n' in done.stdout
    assert serving.state().of('www').failure() is None


BROKEN = 'unikernels: {www: {imgae: x}}\n'


@pytest.fixture
def broken(twice: Deployment) -> tuple[Deployment, str]:
    """Two releases, and a mirage.yml with a typing error; what is said of that."""
    twice.configure(BROKEN)
    return twice, (f'mirage-hooks: {twice.config}:1:20: www.imgae is unknown: did you mean image?')


def test_a_stop_needs_no_mirage_yml_and_holds(broken: tuple[Deployment, str]) -> None:
    twice, wrong = broken
    done = twice.mirage('stop', 'www')
    assert (done.returncode, done.stdout.splitlines()) == (
        0, [wrong, 'www: release 2 was ended', 'www: stopped'])
    assert twice.processes() == []
    twice.mirage('pull')
    assert twice.processes() == []
    again = twice.mirage('stop', 'wwww')
    assert (again.returncode, again.stdout) == (1, '')


def test_a_restart_needs_no_mirage_yml(broken: tuple[Deployment, str]) -> None:
    twice, wrong = broken
    before = twice.processes()
    done = twice.mirage('restart', 'www')
    what = called(2, web('two'), commit(twice))
    said = done.stdout.splitlines()
    assert (done.returncode, said[0], said[-1]) == (0, wrong, f'www: {what} runs again')
    assert (twice.page(), len(twice.processes())) == ('two', 1)
    assert twice.processes() != before


def test_a_start_needs_no_mirage_yml(broken: tuple[Deployment, str]) -> None:
    twice, _ = broken
    twice.mirage('stop', 'www')
    assert twice.mirage('start', 'www').returncode == 0
    assert twice.page() == 'two'


def test_a_rollback_needs_no_mirage_yml(broken: tuple[Deployment, str]) -> None:
    twice, wrong = broken
    done = twice.mirage('rollback', 'www')
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, wrong)
    assert twice.page() == 'one'


# rollback


def test_a_rollback_holds_until_a_newer_image(twice: Deployment) -> None:
    done = twice.mirage('rollback', 'www')
    one = called(1, web('one'), commit(twice, 'HEAD~1'))
    held = f'www: {one} runs, kept by a rollback until a newer image comes or `deploy`'
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, held)
    assert twice.page() == 'one'
    assert twice.mirage('pull').stdout.splitlines() == [held]
    (twice.site / 'README').write_text('no new image\n')
    twice.commit('document')
    twice.pull()
    assert twice.page() == 'one'
    twice.publish(web('three'), C)
    twice.pull()
    assert twice.page() == 'three'
    assert twice.events() == [
        ('deployed', 1), ('deployed', 2), ('rolled back', 1), ('deployed', 3)
    ]


def test_deploy_ends_a_rollback(twice: Deployment) -> None:
    twice.mirage('rollback', 'www')
    assert twice.mirage('deploy').returncode == 0
    assert twice.page() == 'two'


def test_a_rollback_outlasts_a_crash_a_stop_and_a_start(twice: Deployment) -> None:
    twice.mirage('rollback', 'www', '1')
    twice.crash()
    assert twice.mirage('pull', '--quiet').returncode == 0
    assert twice.page() == 'one'
    twice.mirage('stop', 'www')
    assert twice.page() == ''
    twice.mirage('start', 'www')
    assert twice.page() == 'one'


def test_a_rollback_that_does_not_serve_keeps_what_does_and_exits_1(twice: Deployment) -> None:
    twice.configure(switch='replace')
    (twice.state().of('www').folder(1) / 'image').write_text('#!/bin/sh\necho broken\nexit 2\n')
    done = twice.mirage('rollback', 'www')
    assert done.returncode == 1
    said = [line for line in done.stdout.splitlines() if line.startswith('www')]
    assert said == [
        f'www: REFUSED: {CODE_2}', f'www: {called(2, web("two"), commit(twice))} goes on running'
    ]
    assert '    | broken' in done.stdout
    until(lambda: twice.page() == 'two')  # it was started again, and may not listen yet
    assert ('not rolled back', 1) in twice.events()
    assert twice.mirage('pull').stdout.splitlines()[-1].endswith('runs, nothing to do')


NO_OTHER = ('no other release is kept here; `mirage-hooks history` says what was '
            'deployed')


@pytest.mark.parametrize(('release', 'reason', 'hint'), [
    ((), 'www has no release before 1, which is live', NO_OTHER),
    (('7',), 'release 7 of www is not kept here', NO_OTHER),
    (('1',), 'www is at release 1 already', ''),
])
def test_a_rollback_to_nowhere_is_refused(
    shared: Deployment, release: tuple[str, ...], reason: str, hint: str
) -> None:
    done = shared.mirage('rollback', 'www', *release)
    expected = f'mirage-hooks: {reason}\n' + (f'  hint: {hint}\n' if hint else '')
    assert (done.returncode, done.stdout, done.stderr) == (1, '', expected)
    assert shared.page() == 'one'


# Exit codes


def test_our_own_fault_exits_3_and_keeps_the_traceback(
    shared: Deployment, mocker: pytest_mock.MockerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    mocker.patch('mirage_hooks.cli.status.status', side_effect=ZeroDivisionError('by us'))
    assert main(['-C', str(shared.host), 'status']) == 3
    log = shared.state().root / 'fault.log'
    assert capsys.readouterr() == ('', (
        'mirage-hooks: our own fault, please report it: ZeroDivisionError: by us '
        f'(the whole of it in {log})\n'
    ))
    assert log.read_text().startswith('Traceback (most recent call last):\n')
    log.unlink()


def test_an_interruption_exits_130_and_the_next_cron_run_ends_what_it_began(
    serving: Deployment,
) -> None:
    serving.publish(web('two', before='import time; time.sleep(2)'), B)
    fetched(serving)
    # In the background of a shell, as CI runs it, SIGINT is ignored; a person's is not.
    awake = ('env', '--default-signal=INT')
    with subprocess.Popen(
        (*awake, *serving.command('deploy')), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as deploying:
        assert deploying.stdout is not None
        while 'starting release' not in deploying.stdout.readline():
            assert deploying.poll() is None
        deploying.send_signal(signal.SIGINT)
        _, said = deploying.communicate(timeout=PATIENCE)
    assert (deploying.returncode, said) == (130, 'mirage-hooks: interrupted\n')
    assert serving.page() == 'one'
    assert serving.state().holder() == ''
    assert serving.mirage('pull', '--quiet').returncode == 0
    assert serving.page() == 'two'
    assert {folder.name for folder, _ in serving.processes()} == {'1', '3'}


@pytest.mark.parametrize('locale', ['C', 'POSIX', 'en_US.ISO-8859-1'])
def test_every_locale_can_print_what_is_said(shared: Deployment, locale: str) -> None:
    """cron gives none, and the hint has a … in it."""
    shared.configure(branch='live')
    try:
        done = run('env', f'LC_ALL={locale}', *shared.command('deploy'), cwd=shared.folder)
        assert (done.returncode, done.stderr) == (1, '')
        assert done.stdout.splitlines()[1].startswith('  hint: push it')
    finally:
        shared.configure()


def test_an_image_is_inspected_and_a_program_not_called_a_unikernel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solo5, program = tmp_path / 'www.spt', tmp_path / 'program'
    solo5.write_bytes(elf.solo5(2, elf.entry(b'service', 2)))
    program.write_bytes(b'#!/bin/sh\n')
    for path, said in (
        (solo5, ['spt (Solo5 ABI 2), 1.0 kB, network service']),
        (program, ['unix, 10 bytes', '  a program of this host, as every unix image is: its bytes '
                   'do not say whether it is a unikernel']),
    ):
        assert main(['inspect', str(path)]) == 0
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert capsys.readouterr().out.splitlines() == [
            f'{path}: {said[0]}', *said[1:], f'  sha256 {digest}']


def test_the_version_is_told(shared: Deployment) -> None:
    assert shared.mirage('--version').stdout == 'mirage-hooks 0.1.0\n'
