"""A death by memory is named, whoever found out, with what to write in mirage.yml."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from pytest_mock import MockerFixture

from mirage_hooks.host import cgroups, processes, supervisor
from mirage_hooks.state import files, model
from mirage_hooks.state.releases import Releases
from mirage_hooks.switching import ended
from mirage_hooks.switching.ended import End
from tests.deployment import Deployment, web
from tests.patience import until

OF_MEMORY = ': out of memory'
HINT = 'write `memory: 256` for www in mirage.yml: it has 128 MB'

# It serves, and ends as OCaml does when a file says so.
LATE = """
import os, threading, time
def late():
    time.sleep(2)
    print('Fatal error: exception Out of memory', flush=True)
    os._exit(2)
threading.Thread(target=late, daemon=True).start()
"""


def release(tmp_path: Path, target: str = 'unix', **more: object) -> tuple[Releases,
                                                                          model.Release]:
    releases = Releases(tmp_path / 'www')
    made = model.Release(
        unikernel='www', number=releases.begin(), commit='', path='', blob='', digest='', size=0,
        description='', fingerprint='', slot='blue', created=0, memory=128,
        plan=model.Plan(target, ('x', 'image'), **more),  # type: ignore[arg-type]
    )
    return releases, made


def printed(releases: Releases, made: model.Release, before: str, since: str) -> None:
    folder = releases.folder(made.number)
    (folder / files.CONSOLE).write_text(before + since)
    (folder / files.BEGAN).write_text(str(len(before)))


@pytest.mark.parametrize('line', [
    'Fatal error: exception Out of memory',  # OCaml 4 and 5, on every target
    'Fatal error: exception Stdlib.Out_of_memory',
    'Fatal error: out of memory',  # before there is an exception to raise
    'solo5-spt: Error allocating guest memory: Cannot allocate memory',
    "qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory",
])
@pytest.mark.parametrize('after', ['', 'Raised at Stdlib\nSolo5: solo5_exit(2) called\n'])
def test_the_image_s_and_the_tender_s_own_words_name_it(
    tmp_path: Path, line: str, after: str
) -> None:
    releases, made = release(tmp_path)
    printed(releases, made, 'listening\n', f'{line}\n{after}')
    assert ended.how(releases, made, 2) == End(2, f'it ended with exit code 2{OF_MEMORY}', HINT)
    assert ended.how(releases, made, None) == End(None, f'it ended{OF_MEMORY}', HINT)


def test_what_an_earlier_run_printed_does_not_name_it(tmp_path: Path) -> None:
    releases, made = release(tmp_path)
    printed(releases, made, 'Fatal error: exception Out of memory\n', 'listening\n')
    assert ended.how(releases, made, 3) == End(3, 'it ended with exit code 3')


def test_a_console_that_was_cut_meanwhile_is_read_whole(tmp_path: Path) -> None:
    releases, made = release(tmp_path)
    printed(releases, made, '', 'Fatal error: exception Out of memory\n')
    (releases.folder(1) / files.BEGAN).write_text('99999')
    assert ended.how(releases, made, 2).hint == HINT


def test_a_visitor_s_words_on_the_console_do_not_name_it(tmp_path: Path) -> None:
    releases, made = release(tmp_path)
    printed(releases, made, '', 'GET /Fatal error: exception Out of memory\n')
    assert ended.how(releases, made, 3) == End(3, 'it ended with exit code 3')


@pytest.mark.parametrize(('killed', 'reason'), [
    ('oom_kill 1', f'it ended with exit code 137{OF_MEMORY}'),
    ('oom_kill 0', 'it ended with exit code 137: killed by somebody, or by the kernel for want of '
     'memory (`dmesg` tells)'),
])
def test_the_kernel_s_killing_in_a_control_group_names_it(
    tmp_path: Path, mocker: MockerFixture, killed: str, reason: str
) -> None:
    """The group is a folder of plain files: not every machine that tests has cgroup v2."""
    mocker.patch.object(cgroups, 'ROOT', tmp_path)
    (tmp_path / 'ours').mkdir()
    (tmp_path / 'ours' / 'memory.events').write_text(f'low 0\nhigh 0\nmax 7\noom 1\n{killed}\n')
    releases, made = release(tmp_path, group=model.Group('ours', 256, 10))
    assert ended.how(releases, made, 137).reason == reason


@pytest.mark.parametrize(('result', 'starved'), [('oom-kill', True), ('exit-code', False)])
def test_systemd_s_own_result_names_it(
    tmp_path: Path, mocker: MockerFixture, result: str, starved: bool
) -> None:
    mocker.patch.object(supervisor.programs, 'run', return_value=(
        'ActiveState=failed\nMainPID=0\nExecMainCode=2\nExecMainStatus=9\nNRestarts=0\n'
        f'Result={result}\n'
    ))
    releases, made = release(tmp_path, unit='x.service')
    assert (ended.how(releases, made, 137).hint == HINT) is starved


def test_a_release_of_an_earlier_version_says_what_to_write_without_a_number(
    tmp_path: Path
) -> None:
    releases, made = release(tmp_path)
    printed(releases, made, '', 'Fatal error: exception Out of memory\n')
    old = msgspec.structs.replace(made, memory=0)
    assert ended.how(releases, old, 2).hint == 'give www a larger `memory:` in mirage.yml (MB)'


def test_restarted_after_it_status_and_history_go_on_saying_so(deployment: Deployment) -> None:
    deployment.publish(web('one', LATE), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    until(lambda: ('restarted', 1) in deployment.events() and deployment.page())
    how = f'it ended with exit code 2{OF_MEMORY}'
    deployment.dismiss()
    found = next(one for one in deployment.history() if one.event == 'restarted')
    assert (found.trigger, found.reason) in [('keeper', how), ('keeper', f'it ended{OF_MEMORY}')]
    row = json.loads(deployment.mirage('status', '--json').stdout)['unikernels'][0]
    assert row['restarted']['reason'] == found.reason
    assert row['restarted']['hint'] == HINT
    said = deployment.mirage('status').stdout
    assert f': {found.reason}\n    hint: {HINT}\n' in said or 'is DOWN' in said


def test_cron_mails_the_reason_and_what_to_write(deployment: Deployment) -> None:
    deployment.publish(web('one', LATE), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    deployment.dismiss()
    until(lambda: not list(processes.marked(deployment.state().root)))
    done = deployment.mirage('pull', '--quiet')
    said = [line for line in done.stdout.splitlines() if ' s  www: ' not in line]
    assert said[0].startswith('www: release 1 was not running: it ended')
    assert said[0].endswith(OF_MEMORY)
    assert said[1] == f'  hint: {HINT}'


@pytest.mark.parametrize(('said', 'reason'), [
    ('Fatal error: exception Failure("no route")\nRaised at Stdlib.failwith\n',
     ': an OCaml exception'),
    ('Raised by primitive operation at Unix.bind\n', ': an OCaml exception'),
    ('ls: cannot access: No such file or directory\n', ''),
    ('', ''),
])
def test_exit_code_2_is_an_exception_only_where_the_console_says_so(
    tmp_path: Path, said: str, reason: str
) -> None:
    releases, made = release(tmp_path)
    printed(releases, made, '', said)
    assert ended.how(releases, made, 2) == End(2, f'it ended with exit code 2{reason}')
