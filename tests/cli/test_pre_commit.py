"""The hooks that we offer to clones whose hooks pre-commit runs, tried with the real pre-commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mirage_hooks.installing import install
from tests.deployment import ROOT, Deployment, git, run, web

PRE_COMMIT = str(Path(sys.prefix) / 'bin' / 'pre-commit')
PARTS = ('setup.cfg', 'pyproject.toml', 'LICENSE', 'README.md', 'mirage_hooks', 'hooks',
         '.pre-commit-hooks.yaml')


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pre-commit's own, shared by the tests of this file: it makes the environment once."""
    return tmp_path_factory.mktemp('pre-commit')


@pytest.fixture(autouse=True)
def _use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PRE_COMMIT_HOME', str(cache))


@pytest.fixture(scope='module')
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project as a repository of one commit, as pre-commit wants to clone it."""
    folder = tmp_path_factory.mktemp('mirage-hooks')
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignore = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / part, folder / part, ignore=ignore)
        elif (ROOT / part).exists():
            shutil.copy(ROOT / part, folder / part)
    person = {'GIT_AUTHOR_NAME': 'A', 'GIT_AUTHOR_EMAIL': 'a@example.org',
              'GIT_COMMITTER_NAME': 'A', 'GIT_COMMITTER_EMAIL': 'a@example.org'}
    for command in (('init', '-q'), ('add', '.'), ('commit', '-q', '-m', 'all')):
        subprocess.run(('git', *command), cwd=folder, check=True, env={**os.environ, **person})
    return folder


def configuration(path: Path, ours: Path, *ids: str) -> Path:
    hooks = [{'id': name} for name in ids]
    repo = {'repo': str(ours), 'rev': git(ours, 'rev-parse', 'HEAD'), 'hooks': hooks}
    path.write_text(yaml.safe_dump({'repos': [repo]}))
    return path


def test_a_pull_or_a_rebase_run_by_pre_commit_boots_what_came(
    deployment: Deployment, ours: Path
) -> None:
    deployment.publish(web('one'), '1' * 40)
    git(deployment.folder, 'clone', '-q', str(deployment.hub), str(deployment.host))
    git(deployment.host, 'config', 'mirage.config', str(deployment.config))
    # Outside the repository: a push could change a configuration inside it.
    config = configuration(
        deployment.folder / 'pre-commit.yaml', ours,
        'mirage-hooks-post-merge', 'mirage-hooks-post-rewrite',
    )
    done = run(
        PRE_COMMIT, 'install', '-c', str(config), '-t', 'post-merge', '-t', 'post-rewrite',
        '--install-hooks', cwd=deployment.host,
    )
    assert done.returncode == 0, done.stderr
    deployment.publish(web('two'), '2' * 40)
    assert 'now runs' in deployment.pull().stderr
    assert deployment.page() == 'two'
    (deployment.host / 'local').write_text('a commit of the host')
    git(deployment.host, 'add', '.')
    git(deployment.host, 'commit', '-q', '-m', 'local')
    deployment.publish(web('three'), '3' * 40)
    assert deployment.pull('--rebase').returncode == 0
    assert deployment.page() == 'three'


def test_a_wrong_mirage_yml_is_refused_before_the_commit(tmp_path: Path, ours: Path) -> None:
    git(tmp_path, 'init', '-q', 'etc')
    etc = tmp_path / 'etc'
    configuration(etc / '.pre-commit-config.yaml', ours, 'check-mirage-yml')
    (etc / 'mirage.yml').write_text('unikernels: {www: {image: xen/latest}}\n')
    git(etc, 'add', '.')
    assert run(PRE_COMMIT, 'run', '--all-files', cwd=etc).returncode == 0
    (etc / 'mirage.yml').write_text('unikernels: {www: {image: xen/latest, memory: lots}}\n')
    done = run(PRE_COMMIT, 'run', '--all-files', cwd=etc)
    assert done.returncode == 1
    assert ("mirage.yml:1:47: www.memory is 'lots': it takes a whole number from 1 to 1048576, "
            'such as 128\n') in done.stdout


def test_pre_commit_installed_after_us_runs_us_once_and_both_stay(deployment: Deployment) -> None:
    deployment.publish(web('one'), '1' * 40)
    git(deployment.folder, 'clone', '-q', str(deployment.hub), str(deployment.host))
    hook = deployment.host / '.git/hooks/post-merge'
    hook.write_text('#!/bin/sh\necho the first\n')
    hook.chmod(0o755)
    install.install(deployment.host, deployment.config, when='')
    config = deployment.folder / 'pre-commit.yaml'
    config.write_text('repos: []\n')
    done = run(PRE_COMMIT, 'install', '-c', str(config), '-t', 'post-merge', cwd=deployment.host)
    assert done.returncode == 0, done.stderr
    assert install.install(deployment.host, when='')[0].startswith('hooks: unchanged in ')
    deployment.publish(web('two'), '2' * 40)
    said = deployment.pull().stderr
    assert said.count('the first\n') == 1
    assert said.count('now runs') == 1
    assert deployment.page() == 'two'


@pytest.mark.parametrize(
    'command', [('validate-config', '.pre-commit-config.yaml'),
                ('validate-manifest', '.pre-commit-hooks.yaml')],
)
def test_our_own_files_are_as_pre_commit_wants_them(command: tuple[str, str]) -> None:
    done = run(PRE_COMMIT, *command, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
