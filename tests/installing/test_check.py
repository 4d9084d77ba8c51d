"""`check` says whether the next push would end well: built broken for real, its whole text."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from mirage_hooks.git.repository import Repository
from mirage_hooks.host import facts, programs
from mirage_hooks.installing import check, finding
from tests.deployment import Deployment, git, web
from tests.guests.scene import needs
from tests.spool import Spool, lacking

pytestmark = needs('bwrap')
needs_spool = pytest.mark.skipif(bool(lacking()), reason=lacking())
MIRAGE = str(Path(sys.prefix) / 'bin' / 'mirage-hooks')
HOOKS = 'post-merge, post-receive, post-rewrite, pre-receive'
US = pwd.getpwuid(os.geteuid()).pw_name
OWN_TABLE = '#!/bin/sh\necho "no crontab for me" >&2\nexit 1\n'


def stub(folder: Path, name: str, text: str) -> str:
    """A PATH on which `name` is `text` first."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return f'{folder}:{os.environ["PATH"]}'


@pytest.fixture(autouse=True)
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever crontab this machine has, ours is empty."""
    monkeypatch.setenv('PATH', stub(tmp_path / 'bin', 'crontab', OWN_TABLE))


def told(text: str) -> list[str]:
    """The lines of `check`, without what differs from one machine and one run to the next."""
    lines = [
        line for line in text.splitlines()
        if not re.match(r'ok +git: |note +www: (not limited on this host|it switches)', line)
    ]
    lines = [re.sub(r'\b[0-9]+ s ago', 'AGE ago', line) for line in lines]
    lines = [re.sub(r'\bafter [0-9]+ ms', 'after TIME', line) for line in lines]
    return [re.sub(r'\bmaster is at [0-9a-f]{12}', 'master is at COMMIT', line) for line in lines]


def checked(deployment: Deployment, *expected: str) -> None:
    """`check` says `expected` after the lines that are always there, and the same to programs."""
    done = deployment.mirage('check')
    assert told(done.stdout) == list(expected)
    missing = any(line.startswith('PROBLEM') for line in expected)
    assert (done.returncode, done.stderr) == (int(missing), '')
    found = json.loads(deployment.mirage('check', '--json').stdout)
    assert {one['level'] for one in found if one['hint']} <= {'note', 'problem'}
    assert any(one['level'] == 'problem' for one in found) == missing


def begins(deployment: Deployment) -> list[str]:
    host = deployment.host
    return [
        f'ok       mirage.yml: {deployment.config} names www',
        f'ok       hooks: git runs {HOOKS} in {host}/.git/hooks',
        f'note     cron: no line in the crontab of {US}: nothing starts by itself after a reboot',
        f'         hint: mirage-hooks install {host}; or have this run every few minutes: '
        f'{MIRAGE} -C {host} pull --quiet',
    ]


def image(release: str, size: int) -> list[str]:
    return [
        f'ok       www: master is at COMMIT, the image xen/{release}/www',
        f'ok       www: it is unix, {size} bytes',
        'ok       www: bubblewrap keeps the image away from this host',
        'ok       www: it switches by `overlap`: two releases can listen on its port at once',
        'ok       www: the image can be started as mirage.yml has it',
    ]


ONE = image('a' * 40, len(web('one')))


def taken(port: int) -> list[str]:
    """What is said of a port that this process holds."""
    return [
        f'PROBLEM  www: port {port} is held by {psutil.Process().name()}, process {os.getpid()}',
        '         hint: end that program; or give this one another port in mirage.yml, as: '
        'network: {mode: socket, port: PORT}',
    ]


def test_all_is_well(serving: Deployment) -> None:
    checked(
        serving, *begins(serving), *ONE,
        f'ok       www: port {serving.port} is held by its own release 1',
        'ok       www: release 1 runs',
        f'ok       www: 127.0.0.1:{serving.port} answers, after TIME',
    )


def test_an_image_that_was_refused(deployment: Deployment) -> None:
    deployment.publish(b'#!/bin/sh\necho no route\nexit 3\n')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 1
    refused = [
        f'ok       www: port {deployment.port} is free',
        'note     www: nothing of it was deployed yet',
        '         hint: mirage-hooks deploy www',
        'PROBLEM  www: refused AGE ago: it ended with exit code 3',
        '         hint: see what it printed: mirage-hooks logs www --failed; publish another one, '
        'or try it again: mirage-hooks deploy www',
    ]
    checked(deployment, *begins(deployment), *image('1' * 40, 31), *refused)


def test_a_refusal_is_over_when_another_image_is_there(serving: Deployment) -> None:
    serving.publish(b'#!/bin/sh\nexit 3\n', 'b' * 40)
    serving.pull()
    assert 'PROBLEM  www: refused ' in serving.mirage('check').stdout
    serving.publish(web('one'), 'a' * 40)
    git(serving.host, 'fetch', '-q')
    git(serving.host, 'update-ref', 'refs/heads/master', 'refs/remotes/origin/master')
    assert 'refused' not in serving.mirage('check').stdout


def test_a_refusal_from_before_mirage_yml_changed_is_only_worth_knowing(
    deployment: Deployment
) -> None:
    deployment.publish(b'#!/bin/sh\nexit 3\n')
    deployment.clone()
    deployment.mirage('deploy')
    deployment.configure(memory=64)
    done = deployment.mirage('check')
    assert done.returncode == 0
    assert told(done.stdout)[-2:] == [
        'note     www: refused AGE ago: it ended with exit code 3; mirage.yml has changed since',
        '         hint: try it again: mirage-hooks deploy www',
    ]


def test_a_port_that_another_program_holds(deployment: Deployment) -> None:
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    with deployment.hold_port(deployment.port):
        checked(
            deployment, *begins(deployment), *ONE,
            *taken(deployment.port),
            'note     www: nothing of it was deployed yet',
            '         hint: mirage-hooks deploy www',
        )


def test_what_holds_the_port_does_not_answer_for_the_release(serving: Deployment) -> None:
    with serving.hold_port() as held:
        port = held.getsockname()[1]
        serving.configure(network={'mode': 'socket', 'port': port})
        checked(
            serving, *begins(serving), *ONE,
            *taken(port),
            'ok       www: release 1 runs',
            'note     www: release 1 runs as mirage.yml had it when it was deployed',
            '         hint: as it is now, from the next push on, or: mirage-hooks deploy www',
        )


def test_an_image_that_waits_is_mentioned(serving: Deployment) -> None:
    serving.publish(web('two'), 'b' * 40)
    git(serving.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
    said = told(serving.mirage('check').stdout)
    waits = said.index('note     www: the branch has another image than release 1')
    assert said[waits + 1] == (
        '         hint: the next push or cron run deploys it, or: mirage-hooks deploy www')
    assert serving.mirage('deploy').returncode == 0
    assert 'another image' not in serving.mirage('check').stdout


def test_an_empty_repository_waits_for_its_first_push(tmp_path: Path) -> None:
    new = Deployment(tmp_path)
    new.configure()
    git(new.hub, 'config', 'mirage.config', str(new.config))
    done = new.mirage('check', repository=new.hub)
    assert ('note     www: the repository is empty: the first push of an image deploys it'
            in done.stdout)
    assert 'has no branch' not in done.stdout


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Deployment]:
    (tmp_path / 'other').mkdir()
    made = Deployment(tmp_path / 'other')
    yield made
    made.end()


def test_a_port_that_another_repository_of_ours_holds(
    serving: Deployment, other: Deployment
) -> None:
    other.port = serving.port
    other.configure()
    other.publish(web('one'), 'a' * 40)
    other.clone()
    checked(
        other, *begins(other), *ONE,
        f'PROBLEM  www: port {other.port} is held by release 1 of www in {serving.host}',
        '         hint: give this one another port in mirage.yml, as: network: {mode: socket, '
        'port: PORT}',
        'note     www: nothing of it was deployed yet',
        '         hint: mirage-hooks deploy www',
    )


def test_a_health_question_that_nobody_answers(serving: Deployment) -> None:
    with serving.hold_port() as held:
        port = held.getsockname()[1]
    serving.configure(health={'http': f'http://127.0.0.1:{port}/', 'within': '1s'})
    checked(
        serving, *begins(serving), *ONE,
        f'ok       www: port {serving.port} is held by its own release 1',
        'ok       www: release 1 runs',
        f'PROBLEM  www: http://127.0.0.1:{port}/ did not answer (Connection refused), after TIME',
        '         hint: see what it prints: mirage-hooks logs www; or fix `health:` in mirage.yml',
    )


def test_what_ended_and_what_is_stopped(serving: Deployment) -> None:
    serving.crash()
    done = serving.mirage('check')
    assert done.returncode == 1
    assert told(done.stdout)[-3:] == [
        f'ok       www: port {serving.port} is free',
        'PROBLEM  www: release 1 is down: it ended by itself, with exit code 143: ended by '
        'somebody (SIGTERM)',
        '         hint: see `mirage-hooks logs www`; start it again: mirage-hooks deploy www',
    ]
    assert serving.mirage('stop', 'www').returncode == 0
    done = serving.mirage('check')
    assert done.returncode == 0
    assert told(done.stdout)[-2:] == [
        'note     www: it is stopped by hand: no push starts it',
        '         hint: mirage-hooks start www',
    ]


def test_hooks_that_git_does_not_run(serving: Deployment) -> None:
    hooks = serving.host / '.git' / 'hooks'
    install = f'mirage-hooks install {serving.host}'
    (hooks / 'post-merge').unlink()
    (hooks / 'post-receive').chmod(0o644)
    (hooks / 'post-rewrite').write_text('#!/bin/sh\n')
    text = (hooks / 'pre-receive').read_text()
    (hooks / 'pre-receive').write_text(text.replace(sys.executable, '/gone/python'))
    checked(
        serving, begins(serving)[0],
        f'PROBLEM  hooks: {hooks}/post-merge is not there: git calls nobody',
        f'         hint: {install}',
        f'PROBLEM  hooks: {hooks}/post-receive is not executable: git passes it over',
        f'         hint: chmod +x {hooks}/post-receive',
        f'PROBLEM  hooks: {hooks}/post-rewrite is another one, and calls nobody of ours',
        f'         hint: {install} (that one then runs first)',
        f'PROBLEM  hooks: {hooks}/pre-receive wants /gone/python, which is gone',
        f'         hint: run install.sh again, or: {install}',
        *begins(serving)[2:], *ONE,
        f'ok       www: port {serving.port} is held by its own release 1',
        'ok       www: release 1 runs',
        f'ok       www: 127.0.0.1:{serving.port} answers, after TIME',
    )


def test_hooks_in_a_folder_where_git_does_not_look(serving: Deployment) -> None:
    git(serving.host, 'config', 'core.hooksPath', '/srv/hooks')
    done = serving.mirage('check')
    git_dir = serving.host / '.git'
    assert done.returncode == 1
    assert told(done.stdout)[1:3] == [
        'PROBLEM  hooks: core.hooksPath makes git run the hooks in /srv/hooks, which is not inside '
        f'{git_dir} and so not for this repository alone',
        f'         hint: give it hooks of its own: git -C {serving.host} config core.hooksPath '
        f'{git_dir}/hooks',
    ]


def test_hooks_that_pre_commit_keeps(serving: Deployment) -> None:
    hooks = serving.host / '.git' / 'hooks'
    for name in ('post-merge', 'post-rewrite'):
        (hooks / name).write_text('#!/bin/sh\n# File generated by pre-commit: https://…\n')
    assert told(serving.mirage('check').stdout)[1:3] == [
        f"note     hooks: {hooks}/{name} is pre-commit's: its configuration says whether it calls "
        'ours' for name in ('post-merge', 'post-rewrite')
    ]


@pytest.fixture
def pulled(deployment: Deployment) -> Deployment:
    """A clone that cron is to pull into."""
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    git(deployment.host, 'config', '--unset', 'mirage.cron')
    return deployment


UNDEPLOYED = [
    'note     www: nothing of it was deployed yet', '         hint: mirage-hooks deploy www',
]


@needs_spool
def test_no_crontab_program(pulled: Deployment, tmp_path: Path) -> None:
    (tmp_path / 'bin' / 'crontab').unlink()
    away = 'mount --bind /dev/null "$0"; exec "$@"'
    done = subprocess.run(
        ('unshare', '-m', 'sh', '-c', away, programs.find('crontab') or '',
         *pulled.command('check')),
        text=True, capture_output=True, check=False,
    )
    host = pulled.host
    assert (done.returncode, done.stderr) == (1, '')
    assert told(done.stdout) == [
        *begins(pulled)[:2],
        'PROBLEM  cron: this host has no program `crontab`: nothing pulls, and nothing starts '
        'after a reboot',
        f'         hint: apt install cron, then mirage-hooks install {host}; or have this run '
        f'every few minutes: {MIRAGE} -C {host} pull --quiet',
        *ONE, f'ok       www: port {pulled.port} is free', *UNDEPLOYED,
    ]


@needs_spool
def test_no_cron_daemon(pulled: Deployment, tmp_path: Path) -> None:
    (tmp_path / 'bin' / 'crontab').unlink()
    spool = Spool(tmp_path / 'spool')
    installed = spool.run(MIRAGE, 'install', str(pulled.host))
    assert installed.returncode == 0, installed.stderr
    # Alone with its own processes: another test may run a daemon.
    done = subprocess.run(
        ('unshare', '--pid', '--fork', '--mount-proc', *spool.command(*pulled.command('check'))),
        text=True, capture_output=True, check=False,
    )
    assert (done.returncode, done.stderr) == (1, '')
    assert told(done.stdout) == [
        *begins(pulled)[:2],
        'ok       cron: the crontab of root pulls: */7 * * * *',
        'PROBLEM  cron: no cron daemon runs: nothing pulls, and nothing starts after a reboot',
        '         hint: start it, now and at each boot: systemctl enable --now cron (or crond); '
        'without systemd: service cron start',
        'note     cron: it has not run yet',
        "note     watcher: no watcher runs: what is silent is not seen; cron's next run starts it, "
        'where systemd does not',
        '         hint: mirage-hooks pull --quiet, or to see what it sees: mirage-hooks watch',
        *ONE, f'ok       www: port {pulled.port} is free', *UNDEPLOYED,
    ]


@needs_spool
def test_cron_is_seen_to_run(pulled: Deployment, tmp_path: Path) -> None:
    (tmp_path / 'bin' / 'crontab').unlink()
    spool = Spool(tmp_path / 'spool')
    with spool.cron():
        assert spool.run(MIRAGE, 'install', str(pulled.host), alone=False).returncode == 0
        assert spool.run(*pulled.command('pull', '--quiet'), alone=False).returncode == 0
        lines = told(spool.run(*pulled.command('check'), alone=False).stdout)
        assert re.fullmatch('ok       cron: its daemon runs: cron, process [0-9]+', lines[3])
        assert lines[4] == 'ok       cron: its last run was AGE ago'
        long_ago = time.time() - 7200
        os.utime(pulled.state().cron, (long_ago, long_ago))
        done = spool.run(*pulled.command('check'), alone=False)
        assert done.returncode == 1
        assert told(done.stdout)[4:6] == [
            'PROBLEM  cron: its last run was 2 h ago, though its line says */7 * * * *',
            '         hint: see what cron says of it: journalctl -u cron, or /var/log/syslog',
        ]


def test_a_clone_into_which_nothing_pulls(pulled: Deployment) -> None:
    done = pulled.mirage('check')
    assert done.returncode == 1
    assert told(done.stdout)[2] == (
        f'PROBLEM  cron: no line in the crontab of {US}: nothing pulls, and nothing starts after a '
        'reboot')
    assert pulled.mirage('pull', '--quiet').returncode == 0
    done = pulled.mirage('check')
    assert done.returncode == 0
    assert told(done.stdout)[2] == (
        f'ok       cron: no line in the crontab of {US}, but something else pulls: the last time '
        'AGE ago')


def test_a_crontab_that_is_forbidden(pulled: Deployment, tmp_path: Path) -> None:
    stub(tmp_path / 'bin', 'crontab', '#!/bin/sh\necho "you may not" >&2\nexit 1\n')
    failed = 'cron: `crontab -l` failed: you may not: nothing'
    hint = (f'         hint: let cron serve {US} (/etc/cron.allow); or have this run every few '
            f'minutes: {MIRAGE} -C {pulled.host} pull --quiet')
    done = pulled.mirage('check')
    assert (done.returncode, told(done.stdout)[2:4]) == (
        1, [f'PROBLEM  {failed} pulls, and nothing starts after a reboot', hint])
    git(pulled.host, 'config', 'mirage.cron', 'none')
    done = pulled.mirage('check')
    assert (done.returncode, told(done.stdout)[2:4]) == (
        0, [f'note     {failed} starts by itself after a reboot', hint])


@pytest.mark.skipif(facts.SYSTEMD.is_dir(), reason='systemd limits the CPU')
def test_a_limit_that_this_host_does_not_keep(serving: Deployment) -> None:
    serving.configure(cpu=50)
    done = serving.mirage('check')
    assert done.returncode == 0
    (line,) = (line for line in done.stdout.splitlines() if 'not limited on this host' in line)
    assert line.startswith('note     www: not limited on this host: ')
    assert line.endswith('the CPU (`cpu: 50` wants systemd)')


def test_a_pull_that_fails(pulled: Deployment) -> None:
    pulled.hub.rename(pulled.hub.with_name('gone.git'))
    assert pulled.mirage('pull', '--quiet').returncode == 1
    done = pulled.mirage('check')
    assert done.returncode == 1
    assert told(done.stdout)[3:5] == [
        f"PROBLEM  cron: the last pull failed: git: '{pulled.hub}' does not appear to be a git "
        'repository',
        f'         hint: see what it says now: mirage-hooks -C {pulled.host} pull',
    ]


def test_a_mirage_yml_that_names_nothing(serving: Deployment) -> None:
    serving.configure('unikernels: {}\n')
    done = serving.mirage('check')
    assert done.returncode == 1
    assert told(done.stdout)[:2] == [
        f'PROBLEM  mirage.yml: {serving.config} names no unikernel: a push starts nothing',
        '         hint: name one there, as: unikernels: {www: {image: unix/latest}}',
    ]


@pytest.mark.parametrize(('root', 'level', 'text'), [
    (True, 'problem', 'bubblewrap is not installed'),
    (False, 'note', 'bubblewrap is not installed: the image has your rights'),
])
def test_root_lacks_bubblewrap_and_others_go_without(
    serving: Deployment, monkeypatch: pytest.MonkeyPatch, root: bool, level: str, text: str
) -> None:
    here = msgspec.structs.replace(facts.look(), sandbox=False, root=root)
    monkeypatch.setattr(facts, 'look', lambda: here)
    find = programs.find
    monkeypatch.setattr(programs, 'find', lambda name: None if name == 'bwrap' else find(name))
    found = check.findings(Repository(serving.host))
    assert [one for one in found if one.text.startswith('bubblewrap')] == [
        finding.Finding('www', level, text, 'apt install bubblewrap')]


def test_it_ends_whatever_hangs(
    serving: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stub(tmp_path / 'bin', 'crontab', '#!/bin/sh\nexec sleep 3600.25\n')
    monkeypatch.setattr(programs, 'PATH', path)
    found = check.findings(Repository(serving.host))
    assert [one for one in found if one.level == 'problem'] == [finding.problem(
        'cron', f'cron: whoever was asked did not answer in {check.PATIENCE:g} s',
        'see what hangs: ps -e --forest',
    )]
    assert not [one for one in psutil.process_iter(['cmdline'])
                if '3600.25' in (one.info['cmdline'] or ())]


def test_when_too_much_hangs_the_rest_is_left_alone(
    serving: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stub(tmp_path / 'bin', 'crontab', '#!/bin/sh\nexec sleep 3600.25\n')
    monkeypatch.setattr(programs, 'PATH', path)
    monkeypatch.setattr(check, 'MOST', 1)
    found = check.findings(Repository(serving.host))
    assert [(one.subject, one.text) for one in found[3:]] == [
        (subject, f'{what}: not looked at, for 1 others hung') for subject, what in (
            ('safeguards', 'safeguards'), ('keeper', 'keeper'), ('watcher', 'watcher'),
                ('git', 'git'),
            *(('www', what) for what in ('image', 'port', 'state', 'health', 'refusal')),
        )
    ]
