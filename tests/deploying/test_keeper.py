"""What ends by itself is back within seconds, without cron: one small process waits for it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest
from pytest_mock import MockerFixture

from mirage_hooks import keeper
from mirage_hooks.host import sharing
from mirage_hooks.state import fastpath, ownership, pipe, proc
from tests.deployment import ROOT, Deployment, run, web
from tests.patience import PATIENCE, until

KILLED = 'killed by somebody, or by the kernel for want of memory (`dmesg` tells)'


def waiting(deployment: Deployment) -> list[psutil.Process]:
    """The keepers themselves, without what they have begun."""
    return [one for one in deployment.keepers() if 'mirage_hooks.keeper' in one.cmdline()]


def kill(deployment: Deployment) -> None:
    """End the release, and leave the keeper alone."""
    for _, process in deployment.processes():
        process.kill()


def restarted(deployment: Deployment, times: int) -> None:
    until(lambda: deployment.events().count(('restarted', 1)) >= times and deployment.page())


@pytest.mark.skipif(bool(sharing.trouble()), reason=sharing.trouble() or 'nothing')
def test_dismissed_it_ends_what_it_has_begun(serving: Deployment) -> None:
    """Else that makes the state folder anew, which is about to be removed."""
    serving.publish(web('two'), 'b' * 40)
    serving.pull()
    until(lambda: len(serving.keepers()) > len(waiting(serving)))  # it drains
    pipe.dismiss(serving.state().root)
    assert serving.keepers() == []


def test_what_is_killed_serves_again_and_the_history_says_why(serving: Deployment) -> None:
    kill(serving)
    restarted(serving, 1)
    last = serving.history()[-1]
    assert (last.event, last.trigger, last.release) == ('restarted', 'keeper', 1)
    assert last.reason in ('', f'it ended with exit code 137: {KILLED}')
    said = serving.mirage('status').stdout.splitlines()[2]
    why = f': {last.reason}' if last.reason else ''
    assert re.sub('[0-9]+ s ago', 'N s ago', said) == f'  restarted once, last N s ago{why}'


def test_a_second_end_is_followed_by_a_pause_and_nobody_is_needed(serving: Deployment) -> None:
    for times in (1, 2, 3):
        kill(serving)
        restarted(serving, times)
    known = serving.state().of('www').crashes()
    assert known is not None and known.count == 3


def test_there_is_one_and_it_ends_when_nothing_is_to_run(serving: Deployment) -> None:
    for _ in range(3):
        assert serving.mirage('deploy').returncode == 0
    assert len(waiting(serving)) == 1
    assert serving.mirage('stop', 'www').returncode == 0
    until(lambda: not serving.keepers())
    assert serving.page() == ''
    assert serving.events()[-1] == ('stopped', 1)
    assert serving.mirage('start', 'www').returncode == 0
    assert len(waiting(serving)) == 1


def test_it_takes_no_part_in_what_a_deployment_ends(serving: Deployment) -> None:
    serving.configure(switch='replace')
    for page in ('two', 'three'):
        serving.publish(web(page), page.encode().hex().ljust(40, '0'))
        assert serving.mirage('pull').returncode == 0
    until(lambda: len(serving.keepers()) == 1)
    assert serving.events() == [('deployed', 1), ('deployed', 2), ('deployed', 3)]


def test_one_that_was_killed_is_missed_by_the_quick_look_and_started_by_cron(
    serving: Deployment
) -> None:
    assert fastpath.holds(serving.host / '.git')
    serving.dismiss()
    assert not fastpath.holds(serving.host / '.git')
    assert serving.mirage('status').stdout.splitlines()[-1] == (
        'no keeper runs: what ends is started again by the next deploy or pull alone'
    )
    assert json.loads(serving.mirage('status', '--json').stdout)['keeper'] is False
    done = serving.mirage('pull', '--quiet')
    assert (done.returncode, done.stdout) == (0, '')
    assert len(waiting(serving)) == 1
    assert fastpath.holds(serving.host / '.git')
    kill(serving)
    restarted(serving, 1)


def test_a_deployment_that_was_killed_between_two_releases_is_finished(serving: Deployment) -> None:
    """It ended the old one, and died before the new one served."""
    serving.configure(confirm='60s')
    serving.publish(web('two'), 'b' * 40)
    command = (sys.executable, '-I', str(ROOT / 'tests' / 'killed.py'), 'SIGKILL', '6', 'after',
               '-C', str(serving.host), 'pull')
    assert run(*command, cwd=serving.folder).returncode == -signal.SIGKILL
    serving.configure()
    until(lambda: serving.page() in ('one', 'two'))


def test_it_ends_with_the_state_folder(serving: Deployment) -> None:
    shutil.rmtree(serving.state().root)
    kill(serving)
    until(lambda: not serving.keepers())
    assert not serving.state().root.exists()


def test_uninstalled_what_runs_goes_on_and_is_not_started_again(serving: Deployment) -> None:
    assert serving.mirage('install', str(serving.host), '--no-cron').returncode == 0
    done = serving.mirage('install', str(serving.host), '--uninstall')
    assert done.returncode == 0, done.stderr
    assert (serving.page(), serving.keepers()) == ('one', [])


def test_a_converge_that_changes_nothing_is_tried_again_with_pauses(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    state = tmp_path / ownership.FOLDER
    state.mkdir()
    wanted = {'runs': [[1, 1, 'another boot']], 'domains': [], 'due': 0, 'drain': False}
    (state / pipe.KEPT).write_text(json.dumps(wanted))
    asked = mocker.patch.object(keeper.subprocess, 'run')
    one = keeper._Keeper(tmp_path, -1)
    pauses = []
    for _ in range(13):
        one._converge(wanted)
        pauses.append(one.pause)
    assert pauses == [2.0 ** n for n in range(1, 12)] + [3600.0, 3600.0]
    assert asked.call_count == 13
    assert asked.call_args.args[0][1:] == (
        '-I', '-m', 'mirage_hooks', '-C', str(tmp_path), 'keep')
    (state / pipe.KEPT).unlink()  # a deployment that was under way has ended it on purpose
    one._converge(wanted)
    assert asked.call_count == 13


def test_a_process_that_another_has_the_number_of_has_ended(tmp_path: Path) -> None:
    one = keeper._Keeper(tmp_path, -1)
    found = proc.identity(os.getpid())
    assert found is not None
    wanted = {'domains': [], 'due': 0, 'drain': False}
    assert not one._has_ended({**wanted, 'runs': [list(found)]})
    assert one._has_ended({**wanted, 'runs': [[found[0], found[1] + 1, found[2]]]})


def test_a_newer_version_takes_over(serving: Deployment, tmp_path: Path) -> None:
    (before,) = waiting(serving)
    path = serving.state().kept
    wanted = json.loads(path.read_bytes())
    other = tmp_path / 'python'
    other.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/called\nexec sleep 3600\n')
    other.chmod(0o755)
    path.write_text(json.dumps({**wanted, 'version': '99', 'python': str(other)}))
    assert pipe.called(serving.state().root)
    until((tmp_path / 'called').exists)
    said = (tmp_path / 'called').read_text().split()
    assert said[:4] == ['-I', '-m', 'mirage_hooks.keeper', str(serving.host / '.git')]
    assert pipe.called(serving.state().root)  # the pipe went with it
    before.kill()
    before.wait(PATIENCE)


def test_it_waits_with_the_standard_library_alone() -> None:
    program = (
        'import sys; before = set(sys.modules); from mirage_hooks import keeper; '
        'print(sorted(m for m in set(sys.modules) - before '
        'if m.split(".")[0] not in sys.stdlib_module_names))'
    )
    done = run(sys.executable, '-I', '-c', program, cwd=Path('/'))
    modules = ('keeper', 'state', 'state.ownership', 'state.pipe', 'state.proc')
    assert done.stdout == f'{["mirage_hooks", *(f"mirage_hooks.{one}" for one in modules)]}\n'


XL = """#!/bin/sh
[ "$1" = list ] || exit 1
[ -e {folder}/broken ] && exit 1
cat {folder}/domains
"""
DOMAINS = """\
Name                                        ID   Mem VCPUs      State   Time(s)
Domain-0                                     0  1024     1     r-----      12.3
www-1                                        7    32     1     -b----       0.1
crashed-2                                    8    32     1     ---sc-       0.1
"""


@pytest.mark.skipif(os.geteuid() != 0, reason='root is missing')
def test_a_domain_that_is_gone_or_crashed_has_ended_and_a_silent_xen_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`xl` is a stand-in: this machine runs no Xen."""
    program = tmp_path / 'xl'
    program.write_text(XL.format(folder=tmp_path))
    program.chmod(0o755)
    (tmp_path / 'domains').write_text(DOMAINS)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    one = keeper._Keeper(tmp_path, -1)
    wanted = {'runs': [], 'due': 0, 'drain': False}
    assert not one._has_ended({**wanted, 'domains': ['www-1']})
    assert one._has_ended({**wanted, 'domains': ['www-1', 'crashed-2']})
    assert one._has_ended({**wanted, 'domains': ['gone-3']})
    (tmp_path / 'broken').touch()
    assert not one._has_ended({**wanted, 'domains': ['gone-3']})


def test_it_costs_little_memory(serving: Deployment) -> None:
    (one,) = waiting(serving)
    assert one.memory_full_info().uss < 12 << 20


def test_what_it_met_is_told_by_the_next_cron_run_and_once(serving: Deployment) -> None:
    kill(serving)
    restarted(serving, 1)
    until(lambda: (serving.state().root / 'untold.json').exists())
    said = serving.mirage('pull', '--quiet').stdout
    assert 'www: release 1 (' in said
    assert said.endswith(' runs again\n')
    assert serving.mirage('pull', '--quiet').stdout == ''


def test_it_goes_on_while_mirage_yml_is_refused(serving: Deployment) -> None:
    serving.config.write_text('unikernels: [')
    for times in (1, 2):
        kill(serving)
        until(lambda: serving.events().count(('restarted', 1)) >= times)  # noqa: B023
        until(serving.page)
