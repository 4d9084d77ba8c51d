"""Only commits in the form that git itself writes are believed: what git would read otherwise than
as it was signed has another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mirage_hooks.git import commitform
from mirage_hooks.git.repository import Repository
from tests import signing
from tests.conftest import move_in
from tests.deployment import git, run
from tests.signing import forged

pytestmark = pytest.mark.skipif(
    not shutil.which('ssh-keygen'), reason='ssh-keygen (openssh-client) is not installed'
)

needs_gpg = pytest.mark.skipif(not shutil.which('gpg'), reason='gpg (gnupg) is not installed')


class Site(NamedTuple):
    """A repository whose commits are signed, and what verifies them."""

    folder: Path
    signers: Path

    def commit(self, *options: str) -> str:
        git(self.folder, 'commit', '-q', '--allow-empty', '-m', 'one', *options)
        return self.head()

    def branch(self, name: str) -> None:
        git(self.folder, 'checkout', '-q', '-b', name, 'HEAD')
        self.commit('-m', name)
        git(self.folder, 'checkout', '-q', 'master')

    def head(self) -> str:
        return git(self.folder, 'rev-parse', 'HEAD')

    def raw(self, commit: str = 'HEAD') -> bytes:
        return Repository(self.folder).raw(commit)

    def seen(self, raw: bytes) -> tuple[str, ...] | None:
        """What git reads in `raw`: links, author, committer, message; None when it is no commit."""
        made = forged(self.folder, raw)
        done = run('git', '-c', 'log.showSignature=false', 'show', '--no-patch',
                   '--format=%T %P%x00%an %ae %at%x00%cn %ce %ct%x00%e%x00%B', made,
                   cwd=self.folder)
        return None if done.returncode else tuple(done.stdout.split('\0'))

    def accepted(self, raw: bytes) -> bool:
        made = forged(self.folder, raw)
        return run('git', '-c', f'gpg.ssh.allowedSignersFile={self.signers}', 'verify-commit',
                   made, cwd=self.folder).returncode == 0


def a_site(folder: Path) -> Site:
    key, site = folder / 'alice', Site(folder / 'site', folder / 'signers')
    git(folder, 'init', '-q', '-b', 'master', str(site.folder))
    site.signers.write_text(f'alice {signing.ssh_key(key)}\n')
    signing.sign_with(site.folder, key)
    site.commit()
    return site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return a_site(tmp_path)


def names(raw: bytes) -> list[str]:
    """The names of the headers of `raw`, in their order."""
    head = raw.partition(b'\n\n')[0].decode()
    return [line.split()[0] for line in head.split('\n') if not line.startswith(' ')]


def as_git_writes(site: Site) -> list[str]:
    """The headers of the newest commit of `site`, after its form was found good."""
    raw = site.raw()
    assert commitform.links(raw) == Repository(site.folder).links('HEAD')
    assert site.accepted(raw)
    return names(raw)


def test_a_first_commit_has_no_parent(site: Site) -> None:
    assert as_git_writes(site) == ['tree', 'author', 'committer', 'gpgsig']


def test_an_empty_message_is_gits_own_form(site: Site) -> None:
    git(site.folder, 'commit', '-q', '--allow-empty', '--allow-empty-message', '-m', '')
    assert as_git_writes(site) == ['tree', 'parent', 'author', 'committer', 'gpgsig']


def test_another_encoding_is_gits_own_form(site: Site) -> None:
    git(site.folder, 'config', 'i18n.commitEncoding', 'ISO-8859-1')
    site.commit()
    assert as_git_writes(site) == ['tree', 'parent', 'author', 'committer', 'encoding', 'gpgsig']


def test_merges_of_signed_tags_are_gits_own_form(site: Site) -> None:
    for name in ('left', 'right', 'third'):
        site.branch(name)
        git(site.folder, 'tag', '-s', '-m', 'a tag\n\nwith an empty line', f'v-{name}', name)
    git(site.folder, 'config', 'i18n.commitEncoding', 'ISO-8859-1')
    git(site.folder, 'merge', '-q', '--no-ff', '-m', 'two', 'v-left')
    head = ['author', 'committer', 'encoding']
    assert as_git_writes(site) == ['tree', 'parent', 'parent', *head, 'mergetag', 'gpgsig']
    git(site.folder, 'merge', '-q', '--no-ff', '-m', 'three', 'v-right', 'v-third')
    three = ['tree', *['parent'] * 3, *head, 'mergetag', 'mergetag', 'gpgsig']
    assert as_git_writes(site) == three
    git(site.folder, 'commit', '-q', '--amend', '-m', 'and again')
    assert as_git_writes(site) == three


def test_an_octopus_of_tags_that_contain_the_branch_is_gits_own_form(site: Site) -> None:
    for name in ('left', 'right'):
        site.branch(name)
        git(site.folder, 'tag', '-s', '-m', name, f'v-{name}', name)
    git(site.folder, 'merge', '-q', '-m', 'both', 'v-left', 'v-right')
    assert as_git_writes(site) == [
        'tree', 'parent', 'parent', 'author', 'committer', 'mergetag', 'mergetag', 'gpgsig'
    ]


@needs_gpg
def test_a_gpg_signature_is_gits_own_form(site: Site) -> None:
    with signing.gpg() as gpg:
        gpg.key('bob')
        gpg.sign_with(site.folder, 'bob')
        site.commit()
    raw = site.raw()
    assert commitform.links(raw) == Repository(site.folder).links('HEAD')
    assert b'\n \n' in raw  # the armour's empty line


def test_strange_names_are_gits_own_form(site: Site) -> None:
    site.commit('--author', 'J. "ü" (x) <a b@c>', '--date', '@1 +1400')
    assert as_git_writes(site) == ['tree', 'parent', 'author', 'committer', 'gpgsig']


A, B = 'a' * 40, 'b' * 40
WHO = 'A <a@x> 1 +0000'
TAG = f'mergetag object {A}\n type commit\n'
SIGNED = 'gpgsig -----BEGIN SSH SIGNATURE-----\n x\n -----END SSH SIGNATURE-----\n'
HEAD = f'tree {A}\nparent {B}\nauthor {WHO}\ncommitter {WHO}\n'


@pytest.mark.parametrize(('raw', 'reason'), [
    (f'tree {A}\nparent {B}\n{SIGNED}parent {A}\nauthor {WHO}\ncommitter {WHO}\n\nx',
     "'gpgsig -----BEGIN SSH SIGNATURE-----' stands where its author should"),
    (f'parent {B}\ntree {A}\nauthor {WHO}\ncommitter {WHO}\n\nx',
     f"'parent {B[:33]}' stands where its tree should"),
    (f'tree {A}\ntree {A}\nauthor {WHO}\ncommitter {WHO}\n\nx',
     f"'tree {A[:35]}' stands where its author should"),
    (f'{SIGNED}{HEAD}\nx',
     "'gpgsig -----BEGIN SSH SIGNATURE-----' stands where its tree should"),
    (f'tree {A}\nauthor {WHO}\n\nx', 'nothing stands where its committer should'),
    (f'{HEAD}parent {A}\n\nx', f"'parent {A[:33]}' stands where git writes no such header"),
    (f'{HEAD}{SIGNED}{SIGNED}\nx',
     "'gpgsig -----BEGIN SSH SIGNATURE-----' stands where git writes no such header"),
    (f'{HEAD}{SIGNED}{TAG}\nx',
     f"'mergetag object {A[:24]}' stands where git writes no such header"),
    (f'{HEAD}{SIGNED}{SIGNED.replace("gpgsig", "gpgsig-sha256")}\nx',
     "'gpgsig-sha256 -----BEGIN SSH SIGNATURE--' stands where git writes no such header"),
    (f'{HEAD}change-id zzz\n{SIGNED}\nx',
     "'change-id zzz' stands where git writes no such header"),
    (f'{HEAD}\x1b[2J\u202e x\n\nx',
     "'\\x1b[2J\\\\xe2\\\\x80\\\\xae x' stands where git writes no such header"),
    (f'{HEAD}encoding a\nencoding b\n\nx', "'encoding b' stands where git writes no such header"),
    (f'{HEAD}{TAG}{TAG}{SIGNED}\nx', 'it has more mergetag headers than parents'),
    (f'tree {A.upper()}\nauthor {WHO}\ncommitter {WHO}\n\nx',
     f"'tree {A[:35].upper()}' stands where its tree should"),
    (f'tree {A}\nparent {B}x\nauthor {WHO}\ncommitter {WHO}\n\nx',
     f"'parent {B[:33]}' stands where its author should"),
    (f'tree {A}\nauthor A <a@x> 1 +0000 x\ncommitter {WHO}\n\nx',
     "'author A <a@x> 1 +0000 x' stands where its author should"),
    (HEAD, 'no empty line ends its headers'),
    (f'{HEAD}{SIGNED}', 'no empty line ends its headers'),
    (f'{HEAD}\nx\0', 'it holds a NUL byte'),
    (f'tree {A}\r\n{HEAD}\nx', 'its headers hold a carriage return'),
    ('\n\n', 'nothing stands where its tree should'),
])
def test_what_git_would_not_write_is_named(raw: str, reason: str) -> None:
    with pytest.raises(commitform.Strange) as strange:
        commitform.links(raw.encode())
    assert str(strange.value) == reason


@pytest.fixture(scope='module')
def merged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A signed merge of a signed tag, in another encoding."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        move_in(tmp_path_factory.mktemp('home'), monkeypatch)
        site = a_site(tmp_path_factory.mktemp('merged'))
        site.branch('side')
        git(site.folder, 'tag', '-s', '-m', 'v1', 'v1', 'side')
        git(site.folder, 'config', 'i18n.commitEncoding', 'ISO-8859-1')
        git(site.folder, 'merge', '-q', '--no-ff', '-m', 'merge', 'v1')
        yield site


def headers(raw: bytes) -> list[bytes]:
    """The headers of `raw`, each with the lines that go on with it."""
    found: list[bytes] = []
    for line in raw.partition(b'\n\n')[0].split(b'\n'):
        if line.startswith(b' '):
            found[-1] += line + b'\n'
        else:
            found.append(line + b'\n')
    return found


ORDERS = st.lists(st.integers(0, 9), max_size=10) | st.permutations(range(8))
"""Which of the merge's eight headers come, in what order; 8 is one of nobody's, 9 an empty line."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(ORDERS)
@example([0, 1, 7, 2, 3, 4, 5, 6])  # a hidden parent
@example([0, 1, 2, 3, 4, 5, 7, 6])
@example([0, 1, 2, 3, 4, 5, 6, 7])
def test_what_git_reads_otherwise_than_it_was_signed_is_refused(
    merged: Site, order: list[int]
) -> None:
    parts = [*headers(merged.raw()), b'note x\n', b'\n']
    assert len(parts) == 10
    raw = b''.join(parts[one] for one in order) + b'\nmerge\n'
    text = b''.join(parts[one] for one in order if one != 7) + b'\nmerge\n'
    try:
        links = commitform.links(raw)
    except commitform.Strange:
        assert raw != merged.raw()
        return
    seen = merged.seen(raw)
    assert seen is not None and ' '.join(links) == seen[0].strip()
    assert seen == merged.seen(text)
