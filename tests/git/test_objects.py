"""Objects are read as far as they are wanted: no bomb in git's own compression goes off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mirage_hooks import config
from mirage_hooks.git import objects, tree
from mirage_hooks.git.repository import Repository
from mirage_hooks.messages import errors
from tests.deployment import Deployment, git, run, web

BOMB = 600 << 20  # bytes
MEASURED = """import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)
sys.exit(done.returncode)
"""


@pytest.mark.parametrize('head, wanted', [
    (b'', 'xen/latest is neither an image nor a pointer: longer than 4096 bytes'),
    (b'#!/bin/sh\n', 'xen/latest has more than 64 MB'),
], ids=['pointer', 'image'])
def test_a_bomb_in_git_s_own_compression_costs_no_memory(
    deployment: Deployment, head: bytes, wanted: str
) -> None:
    deployment.configure(unpacked_limit=64 if head else 1024)
    deployment.publish(web('one'))
    with (deployment.site / 'xen' / 'latest').open('wb') as file:
        file.write(head)
        file.truncate(BOMB)
    deployment.commit('a bomb')
    assert sum(path.stat().st_size for path in (deployment.hub / 'objects').rglob('*')) < 5 << 20
    git(deployment.folder, 'clone', '-q', '--bare', str(deployment.hub), str(deployment.host))
    git(deployment.host, 'config', 'mirage.config', str(deployment.config))
    done = run(sys.executable, '-c', MEASURED, *deployment.command('deploy'), cwd=Path())
    assert f'www: REFUSED: {wanted}' in done.stdout
    peak = int(done.stdout.rpartition('peak ')[2])  # MB
    assert peak < BOMB / 3 / (1 << 20)


def test_a_folder_of_endless_names_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, 'init', '-q', str(tmp_path))
    blob = subprocess.run(('git', 'hash-object', '-w', '--stdin'), cwd=tmp_path, input=b'',
                          stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    lines = ''.join(f'100644 blob {blob}\t{number:0200}\n' for number in range(2000))
    tree = subprocess.run(('git', 'mktree'), cwd=tmp_path, input=lines.encode(),
                          stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    commit = git(tmp_path, 'commit-tree', '-m', 'x', tree)
    assert len(Repository(tmp_path).files(commit)) == 2000
    monkeypatch.setattr(objects, 'OUTPUT', 100_000)
    with pytest.raises(errors.Refused, match=f'the list of files in commit {commit[:12]} is more'):
        Repository(tmp_path).files(commit)


def test_a_commit_with_an_endless_message_is_refused(tmp_path: Path) -> None:
    git(tmp_path, 'init', '-q', str(tmp_path))
    git(tmp_path, 'commit', '-q', '--allow-empty', '-m', 'one')
    first = git(tmp_path, 'rev-parse', 'HEAD')
    (tmp_path / 'message').write_bytes(b'long ' * 300_000)
    git(tmp_path, 'commit', '-q', '--allow-empty', '-F', 'message')
    long = git(tmp_path, 'rev-parse', 'HEAD')
    wanted = f'commit {long[:12]} has a message or headers of more than 1 MB'
    with pytest.raises(errors.Refused, match=wanted):
        Repository(tmp_path).commit('master')
    git(tmp_path, 'commit', '-q', '--allow-empty', '-m', 'short')
    with pytest.raises(errors.Refused, match=wanted):
        Repository(tmp_path).between(first, Repository(tmp_path).commit('master'))


def test_a_stream_that_is_dropped_ends_its_git(tmp_path: Path) -> None:
    git(tmp_path, 'init', '-q', str(tmp_path))
    (tmp_path / 'large').write_bytes(b'#' * (8 << 20))
    oid = git(tmp_path, 'hash-object', '-w', 'large')
    stream = Repository(tmp_path).open(oid)
    process = stream.raw.process  # type: ignore[attr-defined]
    assert stream.read(10) == b'#' * 10
    stream.close()
    assert process.returncode is not None


def test_a_git_that_ends_early_is_no_end_of_the_image(tmp_path: Path) -> None:
    git(tmp_path, 'init', '-q', str(tmp_path))
    (tmp_path / 'large').write_bytes(b'#' * (8 << 20))
    stream = Repository(tmp_path).open(git(tmp_path, 'hash-object', '-w', 'large'))
    stream.read(10)
    stream.raw.process.kill()  # type: ignore[attr-defined]
    with pytest.raises(errors.Unavailable, match='git ended in the middle of object'):
        stream.read()


OLD = """#!/bin/sh
for word; do
    case $word in --batch-command) echo 'error: unknown option' >&2; exit 129 ;; esac
done
exec {git} "$@"
"""
COUNTING = """#!/bin/sh
for word; do
    case $word in cat-file) echo "$*" >>{log} ;; esac
done
exec {git} "$@"
"""


def in_front(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, **words: object) -> None:
    """Put `script` in the place of git."""
    real = shutil.which('git')
    (folder / 'bin').mkdir()
    (folder / 'bin' / 'git').write_text(script.format(git=real, **words))
    (folder / 'bin' / 'git').chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}/bin:{os.environ["PATH"]}')


def test_an_older_git_is_asked_in_two_processes(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.publish(web('one') + b'#' * (1 << 17))
    deployment.publish(web('two'), 'b' * 40)
    in_front(deployment.folder, monkeypatch, OLD)
    repository = Repository(deployment.hub)
    wanted = config.Unikernel(image='xen/latest')
    for commit, page in ((repository.commit('master'), 'two'),
                         (git(deployment.hub, 'rev-parse', 'master^'), 'one')):
        found = repository.find(commit, 'www', wanted)
        with repository.open(found.blob) as stream:
            assert stream.read().startswith(web(page))
    with pytest.raises(errors.Unavailable, match='git cannot read object 111111111111'):
        repository.open('1' * 40)


def test_a_deployment_reads_objects_from_one_process(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.publish(web('one') + b'#' * (1 << 17))
    git(deployment.folder, 'clone', '-q', '--bare', str(deployment.hub), str(deployment.host))
    git(deployment.host, 'config', 'mirage.config', str(deployment.config))
    log = deployment.folder / 'log'
    in_front(deployment.folder, monkeypatch, COUNTING, log=log)
    done = deployment.mirage('deploy')
    assert (done.returncode, deployment.page()) == (0, 'one'), done.stderr
    assert log.read_text().splitlines() == [
        '-c core.bigFileThreshold=1m cat-file --batch-command'
    ]


def test_after_a_dropped_stream_and_a_killed_git_objects_are_read_again(tmp_path: Path) -> None:
    git(tmp_path, 'init', '-q', str(tmp_path))
    (tmp_path / 'large').write_bytes(b'#' * (1 << 20))
    oid = git(tmp_path, 'hash-object', '-w', 'large')
    repository = Repository(tmp_path)
    with repository.open(oid) as stream, repository.open(oid) as other:
        assert stream.read(5) == other.read(5) == b'#' * 5
    with repository.open(oid) as stream:
        process = stream.raw.process  # type: ignore[attr-defined]
        assert len(stream.read()) == 1 << 20
    process.kill()
    process.wait()
    with repository.open(oid) as stream:
        assert len(stream.read()) == 1 << 20


def test_what_is_called_a_file_and_is_none_is_not_read(tmp_path: Path) -> None:
    git(tmp_path, 'init', '-q', str(tmp_path))
    git(tmp_path, 'commit', '-q', '--allow-empty', '-m', 'one')
    with pytest.raises(errors.Unavailable, match='git cannot read object'):
        Repository(tmp_path).open(git(tmp_path, 'rev-parse', 'HEAD'))


def test_trees_are_read_as_git_lists_them(tmp_path: Path) -> None:
    """Modes of before git's first release among them."""
    git(tmp_path, 'init', '-q', str(tmp_path))
    blob = bytes.fromhex(git(tmp_path, 'hash-object', '-w', '--stdin'))
    raw = b''.join(mode + b' ' + name + b'\0' + blob for mode, name in (
        (b'100664', b'\xff\n'), (b'100755', b'a b'), (b'100600', b'c'), (b'120000', b'd'),
        (b'160000', b'e'), (b'40000', b'f'),
    ))
    made = subprocess.run(
        ('git', 'hash-object', '-w', '--literally', '-t', 'tree', '--stdin'), cwd=tmp_path,
        input=raw, stdout=subprocess.PIPE, check=True,
    ).stdout.decode().strip()
    listed = subprocess.run(('git', 'ls-tree', '-z', made), cwd=tmp_path, stdout=subprocess.PIPE,
                            check=True).stdout
    assert tree.entries(raw, '') == [tree.parsed(line) for line in listed.split(b'\0')[:-1]]
    with pytest.raises(errors.Unavailable, match='git holds a damaged tree at xen/'):
        tree.entries(raw[:-1], 'xen/')
