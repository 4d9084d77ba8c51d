"""A host's clone is weighed and made light, and goes on deploying."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirage_hooks.git.repository import Repository
from mirage_hooks.image import amount
from mirage_hooks.installing import slim
from mirage_hooks.messages import errors
from tests.deployment import Deployment, git, web

RELEASES = 12


@pytest.fixture
def grown(deployment: Deployment) -> Deployment:
    """A full clone of a dozen releases, of which the last one runs."""
    for number in range(RELEASES):
        deployment.publish(page(number), f'{number:040x}')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    return deployment


def page(number: int) -> bytes:
    """An image of 300 KB that no delta makes small."""
    return web(f'page {number}') + b'# ' + os.urandom(150_000).hex().encode() + b'\n'


def held(clone: Path) -> int:
    return sum(path.stat().st_size for path in (clone / '.git/objects').rglob('*')
               if path.is_file())


def files(clone: Path) -> list[str]:
    return sorted(path.name for path in clone.iterdir() if path.name != '.git')


def test_a_full_clone_becomes_light_and_goes_on(grown: Deployment) -> None:
    before = held(grown.host)
    done = grown.mirage('slim')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith(f'{grown.host}: ')
    assert before > RELEASES * 150_000 > 50_000 > held(grown.host)
    assert files(grown.host) == []
    assert git(grown.host, 'status', '--porcelain') == ''
    assert [path.name for path in (grown.host / '.git').glob('slim-*')] == []
    grown.publish(page(99), '9' * 40)
    assert grown.pull().returncode == 0
    assert grown.page() == 'page 99'
    assert grown.mirage('rollback', 'www').returncode == 0
    assert grown.page() == f'page {RELEASES - 1}'
    git(grown.host, 'gc', '-q')
    git(grown.host, 'fsck')
    assert grown.mirage('deploy').returncode == 0


def test_what_cron_pulls_into_a_light_clone_brings_its_image_along(grown: Deployment) -> None:
    assert grown.mirage('slim').returncode == 0
    assert grown.mirage('pull', '--quiet').returncode == 0
    grown.publish(page(99), '9' * 40)
    done = grown.mirage('pull', '--quiet')
    assert done.returncode == 0, done.stderr
    assert grown.page() == 'page 99'
    packs = list((grown.host / '.git/objects/pack').glob('*.pack'))
    grown.hub.rename(grown.hub.with_name('gone.git'))
    assert git(grown.host, 'cat-file', '-t', f'HEAD:xen/{"9" * 40}/www') == 'blob'
    assert packs != []


def test_slimming_twice_forgets_what_came_since(grown: Deployment) -> None:
    assert grown.mirage('slim').returncode == 0
    for number in (1, 2, 3):
        grown.publish(page(number), f'{number}' * 40)
        assert grown.mirage('pull', '--quiet').returncode == 0
    assert held(grown.host) > 450_000
    assert grown.mirage('slim').returncode == 0
    assert held(grown.host) < 50_000
    assert grown.page() == 'page 3'


def test_a_remote_that_cannot_filter_changes_nothing(grown: Deployment) -> None:
    git(grown.hub, 'config', 'uploadpack.allowFilter', 'false')
    before = held(grown.host)
    with pytest.raises(errors.Refused) as refused:
        slim.slim(Repository(grown.host), 'master')
    assert (refused.value.reason, refused.value.hint) == (
        f'file://{grown.hub} cannot leave old images out of a clone',
        'there: git config uploadpack.allowFilter true',
    )
    assert held(grown.host) == before
    assert git(grown.host, 'config', '--get-regexp', r'^remote\..*promisor|^merge|.*') != ''
    assert Repository(grown.host).setting('remote.origin.promisor') == ''


def test_commits_that_only_this_host_has_are_kept(grown: Deployment) -> None:
    git(grown.host, 'commit', '-q', '--allow-empty', '-m', 'mine')
    with pytest.raises(errors.Refused) as refused:
        slim.slim(Repository(grown.host), 'master')
    assert (refused.value.reason, refused.value.hint) == (
        f'{grown.host} has 1 commits that the remote does not have',
        'push them, or drop the branches and tags that hold them',
    )
    assert len(files(grown.host)) == 1


def test_a_refused_slim_leaves_stashes_and_reflog_as_they_were(grown: Deployment) -> None:
    git(grown.host, 'reset', '-q', '--hard', 'HEAD~1')
    git(grown.host, 'merge', '-q', '--ff-only', 'origin/master')
    for word in ('one', 'two'):
        (grown.host / 'xen/latest').write_text(f'{word}\n')
        git(grown.host, 'stash')
    before = logs(grown)
    with pytest.raises(errors.Refused) as refused:
        slim.slim(Repository(grown.host), 'master')
    assert (refused.value.reason, refused.value.hint) == (
        f'{grown.host} has 3 commits that the remote does not have, with those of 2 stashes',
        'push them, or drop the branches, tags and stashes that hold them: git stash list',
    )
    assert logs(grown) == before
    git(grown.host, 'stash', 'pop')
    git(grown.host, 'checkout', '-q', '--', '.')
    git(grown.host, 'stash', 'drop')
    slim.slim(Repository(grown.host), 'master')
    git(grown.host, 'fsck')


def logs(deployment: Deployment) -> tuple[str, str]:
    return git(deployment.host, 'stash', 'list'), git(deployment.host, 'reflog')


def test_a_local_commit_that_only_the_reflog_holds_is_kept(grown: Deployment) -> None:
    git(grown.host, 'commit', '-q', '--allow-empty', '-m', 'mine')
    git(grown.host, 'reset', '-q', '--hard', 'origin/master')
    before = logs(grown)
    with pytest.raises(errors.Refused) as refused:
        slim.slim(Repository(grown.host), 'master')
    assert (refused.value.reason, refused.value.hint) == (
        f'{grown.host} has 1 commits that the remote does not have, in the reflog alone',
        f'push them, or let them go: git -C {grown.host} reflog expire '
        '--expire-unreachable=now --all',
    )
    assert logs(grown) == before
    git(grown.host, 'reflog', 'expire', '--expire-unreachable=now', '--all')
    slim.slim(Repository(grown.host), 'master')


@pytest.mark.parametrize('pulls', [0, 1, 2])
def test_what_was_on_the_remote_once_and_was_rewound_may_go(grown: Deployment, pulls: int) -> None:
    grown.configure(rewound='follow')
    for number in range(pulls):
        grown.publish(page(50 + number), f'{50 + number}' * 20)
        assert grown.mirage('pull', '--quiet').returncode == 0
    git(grown.site, 'reset', '-q', '--hard', f'HEAD~{pulls + 1}')
    grown.publish(page(99), '9' * 40)
    assert grown.mirage('pull', '--quiet').returncode == 0
    assert grown.mirage('slim').returncode == 0
    git(grown.host, 'fsck')
    assert held(grown.host) < 50_000
    assert grown.mirage('slim').returncode == 0


def test_a_remote_that_is_away_changes_nothing(grown: Deployment) -> None:
    grown.hub.rename(grown.hub.with_name('gone.git'))
    before = held(grown.host)
    with pytest.raises(errors.Unavailable) as refused:
        slim.slim(Repository(grown.host), 'master')
    assert refused.value.reason == (
        f"git: fatal: '{grown.hub}' does not appear to be a git repository"
    )
    assert held(grown.host) == before


def test_a_bare_repository_that_is_pushed_to_has_nothing_to_forget(grown: Deployment) -> None:
    with pytest.raises(errors.Refused) as refused:
        slim.slim(Repository(grown.hub), 'master')
    assert (refused.value.reason, refused.value.hint) == (
        f'master of {grown.hub} is pulled from nowhere: its images are here alone',
        'mirage-hooks prune makes a repository that is pushed to lighter',
    )


def test_killed_before_the_old_packs_go_it_has_both(
    grown: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, missing_ok: bool = False) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, 'unlink', killed)
        slim.slim(Repository(grown.host), 'master')
    git(grown.host, 'fsck')
    assert grown.mirage('slim').returncode == 0
    assert held(grown.host) < 50_000


def test_check_says_how_it_grows_and_what_to_do(
    grown: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = held(grown.host)
    checked_out = sum((grown.host / path).stat().st_size
                      for path in git(grown.host, 'ls-files').splitlines())
    assert [line for line in grown.mirage('check').stdout.splitlines() if ' git: ' in line] == [
        f'ok       git: {RELEASES} releases in the tree; this clone, with every old image, '
        f'takes {amount(history)}, and {amount(checked_out)} of files: '
        f'{amount((history + checked_out) // RELEASES)} for each of {RELEASES} commits',
    ]
    weight = slim.weigh(Repository(grown.host), 'master')
    assert 0 < weight.light < 20_000
    assert weight == slim.Weight(
        RELEASES, RELEASES, history, weight.light, checked_out, False, f'file://{grown.hub}'
    )
    for name in ('MANY', 'SMALL', 'LARGE'):
        monkeypatch.setattr(slim, name, 1)
    saved = history + checked_out - weight.light
    assert slim.told(grown.host, weight)[1:] == [
        f'{amount(saved)} of old images could stay on the remote: '
        f'mirage-hooks -C {grown.host} slim',
        f'2 old releases, {amount(checked_out * 2 // RELEASES)} of every checkout, could leave '
        f'the tree: mirage-hooks prune --to file://{grown.hub} --keep 10 (and the history: '
        '--history)',
    ]
    assert grown.mirage('slim').returncode == 0
    assert history + checked_out - held(grown.host) == pytest.approx(saved, rel=0.01)


def test_check_asks_no_network_and_fetches_no_old_image(grown: Deployment) -> None:
    assert grown.mirage('slim').returncode == 0
    grown.mirage('check')  # reads the newest image
    before = held(grown.host)
    grown.hub.rename(grown.hub.with_name('gone.git'))
    done = grown.mirage('check')
    assert f'{RELEASES} releases in the tree; this clone, without the old images' in done.stdout
    assert held(grown.host) == before


def test_no_password_is_shown(grown: Deployment) -> None:
    git(grown.host, 'remote', 'set-url', 'origin', 'https://me:secret@example.org/www.git')
    weight = slim.weigh(Repository(grown.host), 'master')
    assert weight.remote == 'https://example.org/www.git'


def test_the_commands_that_are_told_can_be_pasted() -> None:
    weight = slim.Weight(100, 100, 1 << 30, 0, 0, False, 'https://example.org/my site.git')
    assert slim.told(Path('/srv/my site'), weight)[1:] == [
        "1.1 GB of old images could stay on the remote: mirage-hooks -C '/srv/my site' slim",
        '90 old releases could leave the tree: mirage-hooks prune --to '
        "'https://example.org/my site.git' --keep 10 (and the history: --history)",
    ]
