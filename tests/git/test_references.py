"""Only the reference of exactly a branch's name is that branch: no tag stands in for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_hooks.git import references
from mirage_hooks.git.repository import Repository
from mirage_hooks.messages import errors
from mirage_hooks.state import fastpath
from tests.deployment import Deployment, git


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Without a branch, but with references that end like one, at a commit."""
    site, made = tmp_path / 'site', tmp_path / 'bare.git'
    git(tmp_path, 'init', '-q', str(site))
    git(site, 'commit', '-q', '--allow-empty', '-m', 'evil')
    git(tmp_path, 'init', '-q', '--bare', str(made))
    git(site, 'push', '-q', str(made), *(f'HEAD:refs/{kind}{name}' for name in ('master', '-x')
                                         for kind in ('tags/refs/heads/', 'refs/heads/', 'tags/')))
    return made


@pytest.mark.parametrize('branch', ['master', '-x', 'heads/master', 'refs/heads/master', 'm*r'])
def test_what_only_ends_like_the_branch_is_not_deployed(bare: Path, branch: str) -> None:
    with pytest.raises(errors.Refused) as refused:
        Repository(bare).commit(branch)
    assert refused.value.reason == f'{bare} has no branch {branch}; it is empty'
    assert Repository(bare).local(branch) == ''


def test_a_branch_may_begin_with_a_dash(bare: Path) -> None:
    commit = git(bare, 'rev-parse', 'refs/tags/master')
    git(bare, 'update-ref', 'refs/heads/-x', commit)
    repository = Repository(bare)
    assert (repository.commit('-x'), repository.branches()) == (commit, ['-x'])


@pytest.mark.parametrize('known', ['read', 'commits'])
def test_a_branch_that_is_gone_is_news_even_when_a_tag_ends_like_it(bare: Path, known: str) -> None:
    commit = git(bare, 'rev-parse', 'refs/tags/master')
    read = {'refs/heads/master': []} if known == 'read' else {}
    commits = {'refs/heads/master': commit} if known == 'commits' else {}
    git(bare, 'config', 'mirage.config', '/mirage.yml')
    with pytest.raises(KeyError):
        fastpath._unmoved(bare, '/mirage.yml', read, commits)
    git(bare, 'update-ref', 'refs/heads/master', commit)
    assert fastpath._unmoved(bare, '/mirage.yml', read, commits)
    assert not fastpath._unmoved(bare, '/other.yml', read, commits)


def test_the_tag_does_not_deploy(serving: Deployment) -> None:
    """The branch goes away on a bare host; the tag brings another page."""
    serving.configure(branch='production')
    git(serving.site, 'push', '-q', str(serving.host), 'HEAD:refs/tags/refs/heads/production')
    done = serving.mirage('deploy')
    assert 'has no branch production; it has master' in done.stdout
    assert done.returncode == 1


def test_a_branch_that_only_the_remote_has_is_followed(serving: Deployment) -> None:
    git(serving.site, 'push', '-q', 'origin', 'HEAD:refs/heads/next')
    git(serving.site, 'tag', 'origin/next', 'HEAD')
    git(serving.site, 'push', '-q', 'origin', 'HEAD:refs/tags/refs/remotes/origin/next')
    git(serving.host, 'fetch', '-q', '--tags')
    repository = Repository(serving.host)
    repository.track('next')
    commit = git(serving.site, 'rev-parse', 'HEAD')
    assert (repository.local('next'), repository.upstream('next')) == (commit, commit)
    assert repository.remote('next') == 'origin'


def test_a_rewind_is_not_hidden_behind_a_tag(serving: Deployment) -> None:
    git(serving.site, 'push', '-q', 'origin', 'HEAD:refs/tags/refs/remotes/origin/master')
    git(serving.host, 'fetch', '-q', '--tags')
    with pytest.raises(errors.Refused) as refused:
        Repository(serving.host).fork_point('master')
    assert refused.value.reason == 'a tag or branch stands in for refs/remotes/origin/master'


@pytest.mark.parametrize('refspec, wanted', [
    ('+refs/heads/*:refs/remotes/origin/*', 'refs/remotes/origin/a/b'),
    ('refs/heads/a/b:refs/remotes/o/x', 'refs/remotes/o/x'),
    ('refs/heads/a/*:refs/remotes/o/*/z', 'refs/remotes/o/b/z'),
    ('refs/heads/c*:refs/remotes/o/*', ''), ('^refs/heads/a/b', ''), ('refs/heads/a/b', ''),
    ('refs/heads/*', ''),
])
def test_a_refspec_says_where_a_fetch_puts_a_branch(refspec: str, wanted: str) -> None:
    assert references.mapped('refs/heads/a/b', refspec) == wanted
