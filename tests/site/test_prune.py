"""Taking old images out of a deployment repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_hooks.site import prune, releases
from tests.deployment import git, run
from tests.guests.scene import needs
from tests.signing import sign_with, ssh_key
from tests.site.test_publish import A, B, C, D, here, hub, mirage, put, released, show, spt, tree

__all__ = ['here', 'hub']  # fixtures


def old(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four releases, a second apart, and a README between them."""
    monkeypatch.setattr(releases, 'TIME', '%Y-%m-%dT%H:%M:%SZ')
    for second, commit in enumerate((A, B, C, D)):
        monkeypatch.setattr('time.gmtime', lambda *_, at=second: (2020, 1, 1, 0, 0, at, 0, 1, 0))
        released(hub, commit, commit)
        if commit == B:
            work = hub.parent / 'work'
            git(hub.parent, 'clone', '-q', str(hub), str(work))
            put(str(work / 'README'), b'by hand\n')
            git(work, 'add', '-A')
            git(work, 'commit', '-q', '-m', 'By hand')
            git(work, 'push', '-q', 'origin', 'HEAD:master')
    monkeypatch.undo()


def left(*commits: str) -> set[str]:
    return {'README', 'spt/latest', 'spt/.latest/www.spt',
            *(f'spt/{commit}/www.{kind}' for commit in commits for kind in ('spt', 'json'))}


@pytest.fixture
def full(hub: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        old(hub, patch)
    capsys.readouterr()
    return hub


def test_old_releases_leave_the_tree_in_a_commit(
    full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = git(full, 'rev-parse', 'master')
    assert mirage('prune', '--to', str(full), '--keep', '2') == 0
    assert set(tree(full)) == left(C, D)
    assert git(full, 'rev-parse', 'master^') == before
    assert git(full, 'log', '-1', '--format=%B', 'master') == (
        f'Remove 2 old releases\n\nspt/{A}\nspt/{B}')
    after = git(full, 'rev-parse', '--short=12', 'master')
    assert capsys.readouterr().out == (
        f'removed spt/{A}\nremoved spt/{B}\n'
        f'master of {full} is {after} now, without 2 old releases\n'
    )


def test_nothing_old_is_nothing_to_do(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = git(full, 'for-each-ref')
    for more in ((), ('--history',)):
        assert mirage('prune', '--to', str(full), '--keep', '4', *more) == 0
        assert capsys.readouterr().out == (
            f'nothing to do: master of {full} holds no more releases than that\n')
    assert git(full, 'for-each-ref') == before


def test_an_empty_repository_is_nothing_to_do(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ((), ('--history',)):
        assert mirage('prune', '--to', str(hub), *more) == 0
        assert capsys.readouterr().out == (
            f'nothing to do: master of {hub} holds no more releases than that\n')


def test_a_dry_run_says_what_would_go(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = git(full, 'for-each-ref')
    for more in ((), ('--history',)):
        assert mirage('prune', '--to', str(full), '--keep', '3', '--dry-run', *more) == 0
        assert capsys.readouterr().out == (
            f'would remove spt/{A}\nwould remove 1 releases from master of {full}\n')
    assert git(full, 'for-each-ref') == before


def test_the_history_is_rewritten_and_what_it_was_is_kept(
    full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = git(full, 'rev-parse', 'master')
    dates = git(full, 'log', '-2', '--format=%an %ad %cd %s', 'master')
    assert mirage('prune', '--to', str(full), '--keep', '2', '--history') == 0
    assert set(tree(full)) == left(C, D)
    assert git(full, 'log', '--format=%an %ad %cd %s', 'master') == dates
    assert git(full, 'diff', '--name-only', before, 'master').splitlines() == sorted(
        f'spt/{commit}/www.{kind}' for commit in (A, B) for kind in ('json', 'spt'))
    backup = git(full, 'for-each-ref', '--format=%(refname)', prune.BACKUP)
    assert git(full, 'rev-parse', backup) == before
    assert backup.startswith(f'{prune.BACKUP}master/')
    assert capsys.readouterr().out.endswith(f"""2 old releases
what it was is {backup}; to free its room, when nobody needs it: git push {full} --delete {backup}
hosts follow with `rewound: follow` in mirage.yml, and where `trust:` is set after \
`mirage-hooks trust --forget`
""")
    git(full, 'update-ref', '-d', backup)
    git(full, 'gc', '-q', '--prune=now')
    for commit in (A, B):
        blob = run('git', 'hash-object', put('blob', spt(commit)), cwd=Path())
        assert run('git', 'cat-file', '-e', blob.stdout.strip(), cwd=full).returncode != 0
    git(full, 'fsck', '--strict')
    assert show(full, f'spt/{C}/www.spt') == spt(C)


def test_publishing_goes_on_after_the_history_was_rewritten(full: Path) -> None:
    assert mirage('prune', '--to', str(full), '--keep', '1', '--history') == 0
    released(full, A, 'again')
    assert set(tree(full)) == left(A, D)


def test_a_host_that_refuses_a_rewritten_branch_is_told_of(
    full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(full, 'config', 'receive.denyNonFastForwards', 'true')
    before = git(full, 'for-each-ref')
    assert mirage('prune', '--to', str(full), '--keep', '1', '--history') == 1
    err = capsys.readouterr().err
    assert err.startswith(f'mirage-hooks: {full} refuses the push: [remote rejected] ')
    assert err.endswith('  hint: there, for as long as this takes: '
                        'git config receive.denyNonFastForwards false\n')
    assert git(full, 'for-each-ref') == before


def test_a_branch_that_is_not_there_is_missed_aloud(
    full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ((), ('--history',)):
        assert mirage('prune', '--to', str(full), '--branch', 'nothere', *more) == 1
        assert capsys.readouterr().err == (
            f'mirage-hooks: {full} has no branch nothere\n  hint: --branch: master\n')


@needs('ssh-keygen')
def test_signatures_are_not_lost(
    full: Path, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(here, 'init', '-q')
    ssh_key(tmp_path / 'signing')
    sign_with(here, tmp_path / 'signing')
    released(full, 'e' * 40, 'signed')
    sign_with(here, None)
    before = git(full, 'for-each-ref')
    assert mirage('prune', '--to', str(full), '--keep', '1', '--history') == 1
    assert capsys.readouterr().err == (
        'mirage-hooks: master has signed commits, which would be made again without a signature\n'
        '  hint: let git sign them: git config --global commit.gpgsign true, and user.signingkey\n')
    assert git(full, 'for-each-ref') == before
    sign_with(here, tmp_path / 'signing')
    assert mirage('prune', '--to', str(full), '--keep', '1', '--history') == 0
    assert '\ngpgsig -----BEGIN SSH' in git(full, 'cat-file', 'commit', 'master')


@pytest.mark.parametrize('count', ['0', '-1', 'x', '1e3'])
def test_a_number_of_releases_is_wanted(
    hub: Path, capsys: pytest.CaptureFixture[str], count: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        mirage('prune', '--to', str(hub), f'--keep={count}')
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(
        f"argument --keep: {count!r} is not a number from 1\n")
