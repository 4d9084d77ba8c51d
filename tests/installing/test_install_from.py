"""install.sh --from: a host's clone that holds only what the host needs, or nothing at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deployment import git
from tests.installing.test_install_sh import (
    NOBODY,
    Person,
    _no_wheels_left,
    offline,
    person,
    wheels,
)

__all__ = ['_no_wheels_left', 'offline', 'person', 'wheels']

SIZE = 100_000  # bytes of an image


@pytest.fixture
def hub(person: Person) -> Path:
    """A bare repository with ten releases and the original's scripts, which lets clones filter."""
    site, hub = person.folder / 'site', person.folder / 'www-deployment.git'
    # The hub will be the person's; the home that this is written to is the test's own.
    git(person.folder, 'config', '--global', 'safe.directory', '*')
    git(person.folder, 'init', '-q', '-b', 'master', str(site))
    git(person.folder, 'init', '-q', '--bare', '-b', 'master', str(hub))
    git(hub, 'config', 'uploadpack.allowFilter', 'true')
    (site / 'xl.conf.in').write_text("name='@NAME@'\nmemory='64'\nvif=['bridge=xenbr0']\n")
    (site / 'README.md').write_text('An old deployment.\n')
    for number in range(10):
        _publish(site, hub, number)
    return hub


def _publish(site: Path, hub: Path, number: int) -> None:
    release = f'{number:040x}'
    for folder in (site / 'xen' / release, site / 'xen' / '.latest'):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'www.xen').write_bytes(b'\x7fELF' + os.urandom(SIZE))
    shutil.copy(site / 'xen' / release / 'www.xen', site / 'xen' / '.latest' / 'www.xen')
    (site / 'xen' / 'latest').write_text(f'{release}\n')
    git(site, 'add', '-A')
    git(site, 'commit', '-q', '-m', f'adding {release} for xen')
    git(site, 'push', '-q', str(hub), 'HEAD:master')
    subprocess.run(('chown', '-R', f'{NOBODY}:{NOBODY}', hub), check=os.geteuid() == 0)


def _held(clone: Path) -> int:
    """Bytes in the object store of `clone`."""
    return sum(path.stat().st_size for path in (clone / '.git/objects').rglob('*')
               if path.is_file())


def _git(person: Person, clone: Path, *arguments: str) -> str:
    done = person.run('git', '-C', str(clone), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _left(person: Person) -> list[str]:
    """All that is in the home but for the repository that was there before, and pip's cache."""
    return [path for path in person.left() if not path.startswith('home/.cache')]


def test_a_clone_from_afar_is_partial_and_sparse_and_installed(
    person: Person, hub: Path, offline: dict[str, str]
) -> None:
    clone = person.home / 'hosts' / 'blog'
    done = person.install('--from', f'file://{hub}', str(clone), '--no-cron', '--adopt', **offline)
    assert (done.returncode, done.stderr) == (0, '')
    settings = person.home / '.config/mirage-hooks/blog.yml'
    said = done.stdout.splitlines()
    assert said[0] == f'Cloning file://{hub} …'
    assert said[-2] == (f'3. go live: mirage-hooks install --no-cron {clone} && '
                        f'mirage-hooks -C {clone} deploy')
    assert f'mirage.yml: {settings} is new: read it, and fill in what is open' in said
    assert '  www:\n    image: xen/latest\n' in settings.read_text()
    assert sorted(path.name for path in clone.iterdir()) == ['.git', 'README.md', 'xl.conf.in']
    assert _git(person, clone, 'status', '--porcelain') == ''
    # What --adopt looked at is one image; the other nine stayed away.
    assert SIZE < _held(clone) < 2 * SIZE
    _a_plain_pull_brings_what_is_new_and_no_more(person, hub, clone)
    _a_server_that_cannot_filter_gives_a_full_clone(person, hub, offline)


def _a_plain_pull_brings_what_is_new_and_no_more(
    person: Person, hub: Path, clone: Path
) -> None:
    before = _held(clone)
    _publish(person.folder / 'site', hub, 10)
    _git(person, clone, '-c', 'core.hooksPath=/dev/null', 'pull')
    assert _held(clone) - before < SIZE / 10  # no image came to count its changed lines
    image = _git(person, clone, 'rev-parse', 'HEAD:xen/.latest/www.xen')
    assert _git(person, clone, 'cat-file', '-s', image) == str(SIZE + 4)
    assert SIZE < _held(clone) - before < 1.2 * SIZE


def _a_server_that_cannot_filter_gives_a_full_clone(
    person: Person, hub: Path, offline: dict[str, str]
) -> None:
    git(hub, 'config', 'uploadpack.allowFilter', 'false')
    clone = person.home / 'www-deployment'
    done = person.run('sh', '-c', f'cd {person.home} && {person.clone}/install.sh --no-cron '
                      f'--from={hub}', **offline)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines()[:3] == [
        f'Cloning file://{hub} …',
        f'file://{hub} cannot leave old images out: this clone is a full one. '
        '(There: git config uploadpack.allowFilter true)',
        f'The environment in {person.prefix} is up to date.',
    ]
    assert _held(clone) > 10 * SIZE
    kept = _git(person, clone, 'config', '--get-regexp', r'^remote\.')
    assert kept.splitlines() == [
        f'remote.origin.url file://{hub}',
        'remote.origin.fetch +refs/heads/*:refs/remotes/origin/*',
    ]


@pytest.mark.parametrize('password', ['secret', 'half@secret', 'half/secret', 'half secret'])
def test_an_address_that_nobody_answers(person: Person, password: str) -> None:
    clone = person.home / 'new' / 'clone'
    done = person.install('--from', f'http://me:{password}@127.0.0.1:1/x.git', str(clone))
    assert done.returncode == 1
    assert done.stdout == 'Cloning http://127.0.0.1:1/x.git …\n'
    assert 'secret' not in done.stderr
    first, hint = done.stderr.splitlines()
    assert first.startswith('install.sh: cannot clone http://127.0.0.1:1/x.git: unable to access ')
    assert hint == '  hint: is the address right, and may this user read it?'
    assert _left(person) == []


def test_a_repository_that_is_not_there(person: Person) -> None:
    done = person.install('--from', 'file:///not/there', str(person.home / 'clone'))
    assert (done.returncode, done.stderr) == (
        1, "install.sh: cannot clone file:///not/there: '/not/there' does not appear to be a git "
        'repository\n  hint: is the address right, and may this user read it?\n',
    )
    assert _left(person) == []


def test_a_folder_that_is_there_already(person: Person, hub: Path) -> None:
    done = person.install('--from', f'file://{hub}', str(person.repository))
    assert (done.returncode, done.stdout, done.stderr) == (
        1, '', f'install.sh: {person.repository} is there already\n'
        '  hint: leave --from out to install into it, or name another folder\n',
    )
    assert _left(person) == []


def test_what_fails_after_the_clone_takes_the_clone_away(
    person: Person, hub: Path, tmp_path: Path
) -> None:
    clone = person.home / 'new' / 'clone'
    done = person.install('--from', f'file://{hub}', str(clone), '--no-cron', PIP_NO_INDEX='1')
    assert done.returncode == 1
    assert 'pip could not install mirage-hooks and what it needs' in done.stderr
    assert _left(person) == []


@pytest.mark.parametrize(('arguments', 'said'), [
    (('--from',), '--from wants a value'),
    (('--from=',), '--from wants a value'),
    (('--demo', '--from=x'), '--demo goes only with --keep and --image'),
    (('--uninstall', '--adopt', 'x'), '--uninstall goes without --from and --adopt'),
])
def test_what_does_not_go_together(
    person: Person, arguments: tuple[str, ...], said: str
) -> None:
    done = person.install(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (
        2, '', f'install.sh: {said}\n  hint: ./install.sh --help\n'
    )
