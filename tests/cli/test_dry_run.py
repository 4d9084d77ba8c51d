"""`deploy --dry-run`: the difference between what runs and what would run, and nothing else."""

from __future__ import annotations

import json
import shlex

from tests import elf
from tests.deployment import Deployment, called, git, web

B = 'b' * 40


def fetched(deployment: Deployment) -> str:
    """Bring the clone up to the remote without any hook; its commit."""
    git(deployment.host, 'fetch', '-q')
    git(deployment.host, 'reset', '-q', '--hard', 'origin/master')
    return git(deployment.host, 'rev-parse', 'HEAD')[:12]


def test_what_runs_as_it_should_is_nothing_to_do(serving: Deployment) -> None:
    done = serving.mirage('deploy', '--dry-run')
    assert (done.returncode, done.stdout) == (0, 'www: release 1 runs, nothing to do\n')
    found = json.loads(serving.mirage('deploy', '--dry-run', '--json').stdout)['www']
    assert (found['would'], found['running'], 'changes' in found) == ('nothing', 1, False)


def test_another_image_and_other_arguments_are_shown_and_no_number_is_used_up(
    serving: Deployment,
) -> None:
    old, first = serving.current(), git(serving.host, 'rev-parse', 'HEAD')[:12]
    before, events = serving.processes(), serving.events()
    serving.publish(web('two!'), B)
    second = fetched(serving)
    serving.configure(arguments=['--message=hello'], memory=64)
    found = [json.loads(serving.mirage('deploy', '--dry-run', '--json').stdout)['www']
             for _ in range(2)]
    said = serving.mirage('deploy', '--dry-run').stdout.splitlines()
    assert (serving.processes(), serving.events()) == (before, events)
    assert found[0] == found[1]
    assert serving.mirage('deploy').returncode == 0
    new = serving.current()
    assert new.number == 2
    assert said[0] == (f'www: release 1 would be replaced by a new one ({new.description}, commit '
                       f'{second}):')
    assert said[1:5] == [
        f'  - image: {old.digest[:8]}, {old.description}, commit {first}',
        f'  + image: {new.digest[:8]}, {new.description}, commit {second}',
        '  - memory: 128 MB', '  + memory: 64 MB',
    ]
    assert '  + command: --message=hello' in said
    assert said[-1] == '  + switch: next to release 1, which keeps its connections'
    assert found[0]['would'] == 'switch'
    assert tuple(found[0]['plan']['command']) == new.plan.command
    assert {'what': 'memory', 'before': '128 MB', 'after': '64 MB'} in found[0]['changes']


def test_another_port_alone_is_the_only_difference(serving: Deployment) -> None:
    port = serving.port + 1
    serving.configure(network={'mode': 'socket', 'port': port})
    said = serving.mirage('deploy', '--dry-run').stdout.splitlines()
    assert said[1:] == [f'  - command: --port={serving.port}', f'  + command: --port={port}',
                        '  + switch: release 1 stops first: release 1 does not listen on TCP '
                        f'port {port}']


def test_the_same_bytes_in_another_place_are_nothing_to_do(serving: Deployment) -> None:
    serving.publish(web('one'), B)
    fetched(serving)
    assert serving.mirage('deploy', '--dry-run').stdout == 'www: release 1 runs, nothing to do\n'


def test_a_first_release_is_shown_as_it_would_be_run(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    said = deployment.mirage('deploy', '--dry-run').stdout.splitlines()
    assert deployment.processes() == []
    deployment.mirage('deploy')
    release = deployment.current()
    what = called(1, web('one'), release.commit).removeprefix('release 1 ')
    assert said == [f'www: a first release {what} would be started:',
                    f'  {shlex.join(release.plan.command)}']


def test_what_is_stopped_stays_stopped(serving: Deployment) -> None:
    serving.mirage('stop', 'www')
    serving.publish(web('two'), B)
    fetched(serving)
    done = serving.mirage('deploy', '--dry-run')
    assert (done.returncode, done.stdout) == (
        0, 'www: stopped, nothing to do until `mirage-hooks start www`\n')


def test_what_has_ended_would_be_started_again(serving: Deployment) -> None:
    serving.crash()
    assert serving.mirage('deploy', '--dry-run').stdout == (
        'www: release 1 does not run: it would be started again\n')
    assert serving.processes() == []


def test_what_mirage_yml_no_longer_names_would_be_ended(serving: Deployment) -> None:
    serving.configure('unikernels: {}\n')
    assert serving.mirage('deploy', '--dry-run').stdout == (
        'www: release 1 would be ended: mirage.yml no longer names it\n')
    assert serving.page() == 'one'


def test_nothing_configured_is_nothing_to_do(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    deployment.configure('unikernels: {}\n')
    assert deployment.mirage('deploy', '--dry-run').stdout == (
        'mirage.yml names no unikernel: nothing to do\n')


def test_it_plans_without_what_would_run_the_image(serving: Deployment) -> None:
    serving.publish(elf.solo5(2), B)
    serving.configure(network=None, tender='solo5-nowhere')
    fetched(serving)
    done = serving.mirage('deploy', '--dry-run', '--json')
    assert (done.returncode, done.stderr) == (0, (
        'mirage-hooks: www cannot run here yet: solo5-nowhere is not installed, which runs spt '
        'images\n  hint: fix `tender:` in mirage.yml\n'
    ))
    assert 'solo5-nowhere' in json.loads(done.stdout)['www']['plan']['command']
    said = serving.mirage('deploy', '--dry-run').stdout.splitlines()
    assert said[3:5] == ['  - target: unix', '  + target: spt']
    done = serving.mirage('deploy')
    assert done.returncode == 1
    assert 'www: REFUSED: solo5-nowhere is not installed, which runs spt images\n' in done.stdout


def test_what_was_refused_before_is_said_to_be(serving: Deployment) -> None:
    serving.publish(b'#!/bin/sh\nexit 3\n', B)
    serving.pull()
    said = serving.mirage('deploy', '--dry-run').stdout.splitlines()
    assert said[0] == 'www: what follows was refused before: it ended with exit code 3'
    assert said[1].startswith('www: release 1 would be replaced by a new one (')


def test_a_bad_image_is_refused(serving: Deployment) -> None:
    serving.publish(b'nonsense', B)
    fetched(serving)
    done = serving.mirage('deploy', '--dry-run')
    assert (done.returncode, done.stdout, done.stderr) == (1, '', (
        f'mirage-hooks: xen/{B}/www is not an image: it is neither an ELF file nor a script\n'
        '  hint: publish what `mirage build` made\n'
    ))
