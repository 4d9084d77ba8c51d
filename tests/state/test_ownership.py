"""What decides what is run is believed only when nobody else could have written it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
from pathlib import Path

import pytest

from mirage_hooks.messages import errors
from mirage_hooks.state import fastpath, journal, store
from tests.deployment import ROOT, Deployment, run

COMMANDS = (
    ('deploy',), ('pull',), ('status',), ('history',), ('logs', 'www'), ('rollback', 'www'),
    ('stop', 'www'), ('start', 'www'), ('drain',), ('trust', '--forget'), ('slim',), ('check',),
    ('install', '--no-cron'),
)
STRANGER = 65534

root = pytest.mark.skipif(os.geteuid() != 0, reason='root is missing, which may give files away')


def poisoned(serving: Deployment) -> Path:
    """The live release's plan says to touch this file; what ran before is dead."""
    serving.crash()
    proof = serving.folder / 'executed'
    path = serving.state().of('www').folder(1) / 'release.json'
    release = json.loads(path.read_bytes())
    release['plan']['command'] = ['touch', str(proof)]
    path.write_text(json.dumps(release))
    return proof


def refused(serving: Deployment, why: str) -> None:
    """No command believes the state, and none changes or executes anything of it."""
    state = serving.host / '.git' / 'mirage-hooks'
    proof = poisoned(serving)
    before = listing(state)
    for command in COMMANDS:
        words = [*command, str(serving.host)] if command[0] == 'install' else command
        done = serving.mirage(*words)
        if command[0] != 'install':  # which reads no state, and starts nothing
            said = done.stdout + done.stderr
            assert (done.returncode, f'{state} {why}' in said) == (1, True), (command, said)
        assert not proof.exists(), command
    for hook in ('post-merge', 'post-rewrite'):
        run(str(serving.host / '.git' / 'hooks' / hook), '0', cwd=serving.host)
        assert not proof.exists(), hook
    assert listing(state) == before


def listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path.relative_to(folder.resolve())), path.lstat().st_mode,
                   path.lstat().st_mtime_ns) for path in folder.resolve().rglob('*'))


@root
def test_a_state_folder_of_another_user_is_not_believed(serving: Deployment) -> None:
    os.chown(serving.host / '.git' / 'mirage-hooks', STRANGER, STRANGER)
    refused(serving, 'belongs to another user (nobody)')


def test_a_state_folder_that_is_a_link_is_not_followed(serving: Deployment) -> None:
    state = serving.host / '.git' / 'mirage-hooks'
    elsewhere = serving.folder / 'elsewhere'
    state.rename(elsewhere)
    (elsewhere / 'kept.new').write_text('')
    elsewhere.chmod(0o755)
    state.symlink_to(elsewhere)
    refused(serving, 'is a symbolic link')
    assert (elsewhere / 'kept.new').exists()
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755
    state.unlink()
    elsewhere.rename(state)


@pytest.mark.parametrize('mode', [0o770, 0o702])
def test_a_state_folder_that_others_may_write_is_not_believed(
    serving: Deployment, mode: int
) -> None:
    state = serving.host / '.git' / 'mirage-hooks'
    state.chmod(mode)
    refused(serving, 'can be written by others')


def test_a_file_in_the_place_of_the_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'mirage-hooks').write_text('')
    with pytest.raises(errors.Refused, match='is no folder: nothing in it is believed'):
        store.opened(tmp_path / 'mirage-hooks')


def test_the_quick_look_does_not_believe_a_state_of_others(serving: Deployment) -> None:
    git_dir = serving.host / '.git'
    assert fastpath.holds(git_dir)
    (git_dir / 'mirage-hooks').chmod(0o777)
    assert not fastpath.holds(git_dir)


@pytest.mark.parametrize('spoil', ['file', 'folder'])
def test_a_mirage_yml_that_everybody_may_write_runs_nothing(
    serving: Deployment, spoil: str
) -> None:
    folder = serving.folder / 'settings'
    folder.mkdir()
    serving.config = Path(shutil.move(serving.config, folder / 'mirage.yml'))
    run('git', 'config', 'mirage.config', str(serving.config), cwd=serving.host)
    path = serving.config if spoil == 'file' else folder
    path.chmod(path.stat().st_mode | 0o002)
    for command in ('deploy', 'check'):
        done = serving.mirage(command)
        said = done.stdout + done.stderr
        assert done.returncode == 1
        assert f'{path} can be written by others: it decides what is run here' in said
        assert f'hint: chmod o-w {path}' in said
    assert serving.page() == 'one'


@root
def test_root_runs_nothing_that_another_user_s_mirage_yml_says(serving: Deployment) -> None:
    proof = serving.folder / 'executed'
    serving.configure()
    text = serving.config.read_text()
    serving.config.write_text(f'{text}notify: {{command: [touch, {proof}]}}\n')
    os.chown(serving.config, STRANGER, STRANGER)
    serving.crash()
    done = serving.mirage('deploy')
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert f'{serving.config} belongs to another user (nobody): it decides what' in said
    assert not proof.exists()


def test_what_is_made_under_an_open_umask_is_written_by_nobody_else(
    deployment: Deployment, home: Path
) -> None:
    deployment.publish(b'#!/bin/sh\nexit 1\n')
    deployment.clone()
    run('git', 'config', '--unset', 'mirage.config', cwd=deployment.host)
    words = deployment.command('install', str(deployment.host), '--no-cron')
    done = run('sh', '-c', 'umask 000; HOME="$0" "$@"', str(home), *words, cwd=deployment.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    named = run('git', 'config', 'mirage.config', cwd=deployment.host).stdout.strip()
    try:
        assert stat.S_IMODE(Path(named).stat().st_mode) == 0o600
        assert Path(named).parent.stat().st_mode & 0o002 == 0
        hooks = (deployment.host / '.git' / 'hooks').glob('post-*')
        assert [path.name for path in hooks if path.stat().st_mode & 0o022] == []
    finally:
        if not Path(named).is_relative_to(home):  # root's are in /etc
            Path(named).unlink()
            with contextlib.suppress(OSError):  # somebody else's are there, too
                Path(named).parent.rmdir()


def test_the_history_is_cut_when_it_has_grown_long(tmp_path: Path) -> None:
    path = tmp_path / 'history.jsonl'
    entry = journal.Entry(at=1.0, unikernel='www', event='deployed', trigger='git push')
    journal.append(path, entry)
    line = path.read_bytes()
    path.write_bytes(line * (journal.LIMIT // len(line) + 2))
    journal.append(path, journal.Entry(at=2.0, unikernel='www', event='last', trigger='git push'))
    kept = list(journal.entries(path))
    assert path.stat().st_size < journal.LIMIT // 2 + len(line)
    assert (kept[0], kept[-1].event) == (entry, 'last')
    assert list(tmp_path.iterdir()) == [path]


def test_json_for_programs_holds_nothing_that_a_terminal_obeys(serving: Deployment) -> None:
    text = serving.config.read_text().replace('www:', '"www":')
    serving.config.write_text(f'{text}    tender: "\u009b31m\u202e"\n')
    for command in ('status', 'check', 'history'):
        said = serving.mirage(command, '--json').stdout
        assert said.isascii(), command
        json.loads(said)


def test_a_file_that_cannot_be_read_is_no_image(serving: Deployment) -> None:
    done = serving.mirage('inspect', '/proc/self/mem')
    assert done.returncode == 1
    assert done.stderr == 'mirage-hooks: cannot read /proc/self/mem: Input/output error\n'


def test_what_the_page_on_security_says_was_tried_is_tried() -> None:
    named = set(re.findall(r'\*(test_\w+)\*', (ROOT / 'docs' / 'security.md').read_text()))
    there = {name for path in (ROOT / 'tests').rglob('test_*.py')
             for name in re.findall(r'^def (test_\w+)\(', path.read_text(), re.M)}
    assert named and named - there == set()
