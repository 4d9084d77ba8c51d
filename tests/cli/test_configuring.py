"""`check FILE` and `config`: mirage.yml is looked at and edited; nothing bad is put in place."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
from pathlib import Path

import pytest

from mirage_hooks.messages import errors
from mirage_hooks.state import draft
from tests.deployment import Deployment

BAD = 'unikernels: {www: {image: xen/latest, memory: lots, keep: 0}}\n'
LOTS = "1:47: www.memory is 'lots': it takes a whole number from 1 to 1048576, such as 128"
NONE = '1:59: www.keep is 0: it takes a whole number from 1 to 1000, such as 3'


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What EDITOR names: a program of the test's, which is given the draft."""
    program = tmp_path / 'an editor'
    program.write_text('#!/bin/sh\n')
    program.chmod(0o755)
    monkeypatch.delenv('VISUAL', raising=False)
    monkeypatch.setenv('EDITOR', f"'{program}' --wait")
    return program


def writes(program: Path, *texts: str) -> None:
    """Let the editor `program` write each of `texts`, one at each call."""
    for number, text in enumerate(texts):
        program.with_name(f'text{number}').write_text(text)
    program.write_text('#!/bin/sh\n'
                       f'cd {program.parent}; text=$(ls text* | head -n 1)\n'
                       '[ "$1" = --wait ] && cat "$text" >"$2" && rm "$text"\n')


def drafted(deployment: Deployment) -> Path:
    return deployment.config.with_name('mirage.draft.yml')


def test_a_file_that_is_well_is_said_to_be(shared: Deployment, tmp_path: Path) -> None:
    one, two, bad = (tmp_path / name for name in ('one.yml', 'two.yml', 'bad.yml'))
    one.write_text('unikernels: {www: {image: a}}\n')
    two.write_text('unikernels: {www: {image: a}, blog: {image: a}}\n')
    done = shared.mirage('check', str(one), str(two))
    assert (done.returncode, done.stdout, done.stderr) == (
        0, f'{one}: 1 unikernel, all well\n{two}: 2 unikernels, all well\n', '')
    two.write_text('unikernels:\n'
                   '  a: {image: i, network: {mode: socket, port: 80}, health: {tcp: "[::1]:81"}}\n'
                   '  b: {image: i, network: {mode: socket, port: 80}}\n')
    done = shared.mirage('check', str(two))
    assert (done.returncode, done.stdout, done.stderr) == (
        0, f'{two}: 2 unikernels, but look again at this:\n'
        '  a: health: asks port 81, but network: has port 80\n'
        '  b: port 80 is also that of a: only one of them can run\n', '')
    two.write_text('unikernels: {www: {image: a}, blog: {image: a}}\n')
    bad.write_text(BAD)
    missing = tmp_path / 'missing.yml'
    done = shared.mirage('check', str(bad), str(missing), str(two))
    assert (done.returncode, done.stdout, done.stderr) == (
        1, f'{two}: 2 unikernels, all well\n',
        f'{bad}:{LOTS}\n{bad}:{NONE}\n'
        f'mirage-hooks: cannot read {missing}: No such file or directory\n')


def test_check_tells_each_mistake_of_the_deployments_own_file(serving: Deployment) -> None:
    serving.config.write_text(BAD)
    done = serving.mirage('check')
    assert (done.returncode, done.stdout.splitlines()) == (1, [
        f'PROBLEM  mirage.yml: {serving.config}:{LOTS}',
        f'PROBLEM  mirage.yml: {serving.config}:{NONE}',
    ])


def test_config_shows_the_file_that_is_read(serving: Deployment) -> None:
    serving.config.write_text('branch: "\x1b[31m"\n\nunikernels: {}\n')
    done = serving.mirage('config', 'show')
    assert (done.returncode, done.stdout, done.stderr) == (
        0, f'# {serving.config}\nbranch: "\\x1b[31m"\n\nunikernels: {{}}\n', '')


def test_an_edit_is_put_in_place_and_says_what_would_change(
    serving: Deployment, editor: Path
) -> None:
    before = serving.config.read_text()
    serving.config.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(serving.config, 0, 7)
    found = serving.config.stat()
    writes(editor, before.replace('www:', 'www:\n    memory: 77'))
    done = serving.mirage('config', 'edit')
    assert (done.returncode, done.stderr) == (0, '')
    first, second, *changes = done.stdout.splitlines()
    assert first == (f'{serving.config} is written; `mirage-hooks deploy`, or the next push or '
                     'pull, does this:')
    assert second.startswith('www: release 1 would be replaced by a new one (unix, ')
    assert '  + memory: 77 MB' in changes
    assert serving.config.read_text() == before.replace('www:', 'www:\n    memory: 77')
    after = serving.config.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        found.st_mode, found.st_uid, found.st_gid)
    assert not drafted(serving).exists()
    assert serving.page() == 'one'


def test_a_wrong_edit_leaves_its_draft_and_the_next_edit_goes_on_with_it(
    serving: Deployment, editor: Path
) -> None:
    before, file = serving.config.read_text(), drafted(serving)
    writes(editor, BAD)
    done = serving.mirage('config', 'edit')
    assert (done.returncode, done.stdout, done.stderr) == (
        1, f'{serving.config} stays as it was; to go on with the draft {file}: '
        f'mirage-hooks -C {serving.host} config edit; to throw it away: '
        f'mirage-hooks -C {serving.host} config discard\n', f'{file}:{LOTS}\n{file}:{NONE}\n')
    assert (serving.config.read_text(), file.read_text()) == (before, BAD)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    editor.write_text('#!/bin/sh\nsed -i "s/lots/77/; s/, keep: 0//" "$2"\n')
    assert serving.mirage('config', 'edit').returncode == 0
    assert serving.config.read_text() == 'unikernels: {www: {image: xen/latest, memory: 77}}\n'


def test_a_person_at_a_terminal_may_edit_again(serving: Deployment, editor: Path) -> None:
    before = serving.config.read_text()
    good = before.replace('www:', 'www:\n    memory: 77')
    writes(editor, BAD, good)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        serving.command('config', 'edit'), stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as editing:
        os.write(ours, b'y\n')
        said, wrong = editing.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    assert editing.returncode == 0, (said, wrong)
    assert wrong == f'{drafted(serving)}:{LOTS}\n{drafted(serving)}:{NONE}\n'
    assert said.startswith(f'Edit it again? [Y/n] {serving.config} is written; ')
    assert serving.config.read_text() == good


def test_an_edit_that_changes_nothing_leaves_nothing(serving: Deployment, editor: Path) -> None:
    found = serving.config.stat()
    done = serving.mirage('config', 'edit')
    assert (done.returncode, done.stdout, done.stderr) == (0, 'nothing is changed\n', '')
    assert serving.config.stat() == found
    assert not drafted(serving).exists()


def test_a_file_that_was_wrong_already_can_be_edited(serving: Deployment, editor: Path) -> None:
    good = serving.config.read_text()
    serving.config.write_text(BAD)
    writes(editor, good)
    assert serving.mirage('config', 'edit').returncode == 0
    assert serving.config.read_text() == good


def test_an_edit_whose_image_is_not_there_is_in_place_and_told(
    serving: Deployment, editor: Path
) -> None:
    good = serving.config.read_text()
    writes(editor, good.replace('xen/latest', 'xen/none'))
    done = serving.mirage('config', 'edit')
    assert done.returncode == 1
    assert done.stderr.startswith('mirage-hooks: ')
    assert 'xen/none' in done.stderr.splitlines()[0]
    assert serving.config.read_text() == good.replace('xen/latest', 'xen/none')


def test_an_editor_that_fails_or_is_missing_puts_nothing_in_place(
    serving: Deployment, editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = serving.config.read_text()
    editor.write_text('#!/bin/sh\necho x >"$2"; exit 3\n')
    done = serving.mirage('config', 'edit')
    assert (done.returncode, done.stdout, done.stderr) == (1, '', (
        f"mirage-hooks: the editor '{editor}' --wait ended with 3: nothing is put in place\n"
        f'  hint: the draft is kept as {drafted(serving)}; to go on: '
        f'mirage-hooks -C {serving.host} config edit; to throw '
        f'it away: mirage-hooks -C {serving.host} config discard\n'))
    monkeypatch.setenv('VISUAL', 'no-such-editor')
    done = serving.mirage('config', 'edit')
    assert (done.returncode, done.stdout, done.stderr) == (1, '', (
        'mirage-hooks: no-such-editor is not installed\n'
        f'  hint: name another: EDITOR=nano mirage-hooks -C {serving.host} config edit; the draft '
        f'is kept as {drafted(serving)}, to throw it away: mirage-hooks -C {serving.host} config '
        'discard\n'))
    assert serving.config.read_text() == before
    gone = serving.mirage('config', 'discard')
    assert (gone.returncode, gone.stdout) == (
        0, f'{drafted(serving)} is gone; {serving.config} is as it was\n')
    assert not drafted(serving).exists()
    assert serving.mirage('config', 'discard').stdout == 'there is no draft\n'


def test_a_file_that_was_written_meanwhile_is_left_to_whoever_did(
    serving: Deployment, editor: Path
) -> None:
    editor.write_text(f'#!/bin/sh\necho "unikernels: {{}}" >"$2"; echo "{{}}" >{serving.config}\n')
    done = serving.mirage('config', 'edit')
    assert (done.returncode, done.stdout, done.stderr) == (1, '', (
        f'mirage-hooks: {serving.config} was written by somebody else in the meantime, and '
        f'stays as it is now\n  hint: take from the draft {drafted(serving)} what is still wanted, '
        'and move it away\n'))
    assert serving.config.read_text() == '{}\n'


def test_a_draft_that_is_older_than_the_file_or_a_link_is_not_gone_on_with(
    tmp_path: Path
) -> None:
    path, file = tmp_path / 'mirage.yml', tmp_path / 'mirage.draft.yml'
    file.write_text('old')
    path.write_text('new')
    os.utime(file, (1, 1))
    with pytest.raises(errors.Refused) as refused:
        draft.begun(path, b'new')
    assert (refused.value.reason, refused.value.hint) == (
        f'{path} was written after its draft {file}, which an earlier edit left',
        'take from the draft what is still wanted, then: mirage-hooks config discard')
    file.unlink()
    file.symlink_to('/etc/passwd')
    with pytest.raises(errors.Refused) as refused:
        draft.begun(path, b'new')
    assert (refused.value.reason, refused.value.hint) == (
        f'{file} is a symbolic link', 'look what it is, and move it away')


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, to give a file away')
def test_the_file_of_another_user_is_not_edited(serving: Deployment, editor: Path) -> None:
    writes(editor, 'unikernels: {}\n')
    os.chown(serving.config, 65534, 65534)
    done = serving.mirage('config', 'edit')
    os.chown(serving.config, 0, 0)
    assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (1, '', (
        f'mirage-hooks: {serving.config} belongs to another user (nobody): it decides what is run '
        'here'))
    assert not drafted(serving).exists()

