"""Objects are read as far as they are wanted: no bomb in git's own compression goes off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mirage_hooks.git import objects
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
