"""Which repository a command works on: git's word, and nothing that a push could have brought."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from mirage_hooks.git import discovery
from mirage_hooks.git.discovery import Place
from mirage_hooks.git.repository import Repository
from mirage_hooks.messages import errors
from tests.deployment import Deployment, git


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    made = tmp_path / 'clone'
    git(tmp_path, 'init', '-q', str(made))
    git(made, 'commit', '-q', '--allow-empty', '-m', 'one')
    (made / 'sub').mkdir()
    return made


def disguised(folder: Path, state: Path, marker: Path) -> None:
    """Make `folder` look like a git directory whose live release is to be started by touching
    `marker`."""
    for name in ('objects', 'refs'):
        (folder / name).mkdir(parents=True)
        (folder / name / 'keep').write_text('')
    (folder / 'HEAD').write_text('ref: refs/heads/master\n')
    (folder / 'config').write_text(
        f'[core]\n\trepositoryformatversion = 0\n\tbare = true\n[mirage]\n\tconfig = {folder}/y\n'
    )
    shutil.copytree(state, folder / 'mirage-hooks', ignore=lambda _, names: [
        name for name in names
        if 'lock' in name or name in ('fastpath.json', 'run.json', 'keeper')])
    for path in folder.rglob('release.json'):
        release = json.loads(path.read_bytes())
        release['plan']['command'] = ['/usr/bin/touch', str(marker)]
        path.write_text(json.dumps(release))
    (folder / 'y').write_text('unikernels: {www: {image: nowhere}}\n')


@pytest.mark.parametrize('where', ['.', 'sub', 'sub/sub'])
def test_a_tree_that_looks_like_a_git_directory_starts_nothing(
    serving: Deployment, where: str
) -> None:
    marker = serving.folder / 'pwned'
    disguised(serving.site / where, serving.host / '.git' / 'mirage-hooks', marker)
    if where == 'sub/sub':  # a bare one in a bare one, the outer one with its work tree elsewhere
        disguised(serving.site / 'sub', serving.host / '.git' / 'mirage-hooks', marker)
        with (serving.site / 'sub/config').open('a') as file:
            file.write(f'[core]\n\tbare = false\n\tworktree = {serving.folder}/away\n')
    serving.commit('looks like a repository')
    for _ in range(2):
        serving.mirage('pull')
        done = serving.mirage('pull', repository=serving.host / where)
    assert not marker.exists()
    assert Repository(serving.host).git_dir == serving.host / '.git'
    if where == '.':
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        assert (done.returncode, done.stderr) == (1, (
            f'mirage-hooks: {serving.host}/{where} lies in the work tree of {serving.host}: a push '
            'to that one could have made it\n'
            f'  hint: name the repository that you mean with -C {serving.host}, or move this one '
            'out of that work tree\n'
        ))


def test_a_clone_is_found_from_each_of_its_folders(clone: Path, tmp_path: Path) -> None:
    (tmp_path / 'link').symlink_to(clone / 'sub')
    wanted = Place(clone / '.git', clone, bare=False)
    for path in (clone, clone / 'sub', clone / '.git', clone / '.git/refs', tmp_path / 'link'):
        assert discovery.find(path) == wanted, path


def test_a_linked_worktree_means_its_main_one(clone: Path, tmp_path: Path) -> None:
    git(clone, 'worktree', 'add', '-q', '-b', 'other', str(tmp_path / 'linked'))
    wanted = Place(clone / '.git', clone, bare=False)
    assert discovery.find(tmp_path / 'linked') == wanted
    assert discovery.find(clone / '.git/worktrees/linked') == wanted


def test_a_linked_worktree_of_a_bare_repository_means_that(clone: Path, tmp_path: Path) -> None:
    bare = tmp_path / 'bare.git'
    git(tmp_path, 'clone', '-q', '--bare', str(clone), str(bare))
    git(bare, 'worktree', 'add', '-q', str(tmp_path / 'linked'), 'master')
    for path in (bare, tmp_path / 'linked', bare / 'refs'):
        assert discovery.find(path) == Place(bare, None, bare=True)


def test_a_separate_git_directory_does_not_say_where_its_work_tree_is(tmp_path: Path) -> None:
    apart = tmp_path / 'apart'
    git(tmp_path, 'init', '-q', f'--separate-git-dir={apart}', str(tmp_path / 'tree'))
    assert discovery.find(tmp_path / 'tree') == Place(apart, tmp_path / 'tree', bare=False)
    assert discovery.find(apart) == Place(apart, None, bare=False)


def test_a_submodule_is_a_repository_of_its_own(clone: Path, tmp_path: Path) -> None:
    outer = tmp_path / 'outer'
    git(tmp_path, 'init', '-q', str(outer))
    git(outer, 'submodule', '--quiet', 'add', str(clone), 'inner')
    modules = outer / '.git/modules/inner'
    assert discovery.find(outer / 'inner') == Place(modules, outer / 'inner', bare=False)


def test_a_clone_in_the_work_tree_of_another_is_one_of_its_own(clone: Path) -> None:
    git(clone, 'init', '-q', 'sub')
    assert discovery.find(clone / 'sub') == Place(clone / 'sub/.git', clone / 'sub', bare=False)


def test_an_empty_folder_called_git_makes_no_work_tree(tmp_path: Path) -> None:
    (tmp_path / '.git').mkdir()
    git(tmp_path.parent, 'init', '-q', '--bare', str(tmp_path / 'bare.git'))
    assert discovery.find(tmp_path / 'bare.git').git_dir == tmp_path / 'bare.git'


def test_the_caller_s_variables_lead_nowhere_else(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, 'init', '-q', '--bare', str(tmp_path / 'other'))
    for variable in ('GIT_DIR', 'GIT_COMMON_DIR', 'GIT_OBJECT_DIRECTORY'):
        monkeypatch.setenv(variable, str(tmp_path / 'other'))
    monkeypatch.setenv('GIT_WORK_TREE', str(tmp_path))
    assert discovery.find(clone) == Place(clone / '.git', clone, bare=False)


def test_a_line_end_in_the_name_is_refused(tmp_path: Path) -> None:
    git(tmp_path, 'init', '-q', str(tmp_path / 'a\nb'))
    with pytest.raises(errors.Refused, match='has a line end in its name'):
        discovery.find(tmp_path / 'a\nb')


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, to give a repository away')
def test_the_repository_of_another_user_is_left_to_that_user(clone: Path) -> None:
    os.chown(clone / '.git', 65534, 65534)
    os.chown(clone, 65534, 65534)
    with pytest.raises(errors.Refused) as refused:
        discovery.find(clone / 'sub')
    assert (refused.value.reason, refused.value.hint) == (
        f'git refuses {clone}: it belongs to another user, nobody',
        "run this as its owner: sudo -u nobody …; git's own way out, safe.directory, would run as "
        'root whatever nobody writes into its configuration and hooks',
    )
