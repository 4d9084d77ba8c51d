"""What a git command says while it runs: its progress is shown, the rest is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mirage_hooks.git import watched
from tests.deployment import git


def heard(script: str) -> tuple[list[str], bytes, bytes]:
    """What was told while the shell `script` ran, without repetitions, what it printed and said."""
    told = ['']
    with subprocess.Popen(
        ('sh', '-c', script), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        printed, said = watched.read(
            process, lambda text: told.append(text) if text != told[-1] else None
        )
    return told[1:], printed, said


@pytest.mark.parametrize(('line', 'last', 'kept'), [
    (r'Receiving objects:  45% (450/1000), 12.30 MiB | 4.10 MiB/s\r',
     'Receiving objects: 45% (450/1000), 12.30 MiB | 4.10 MiB/s', b''),
    (r'Enumerating objects: 5, done.\n', 'Enumerating objects: 5, done.', b''),
    (r'remote: Resolving deltas: 100% (2/2), done.\033[K\n',
     'remote: Resolving deltas: 100% (2/2), done.', b''),
    (r'Total 8 (delta 0), reused 1 (delta 0), pack-reused 0\n', '', b''),
    (r'Delta compression using up to 2 threads\n', '', b''),
    (r'remote:   0.41 s  www: starting release 12\n',
     'remote: 0.41 s www: starting release 12',
     b'remote:   0.41 s  www: starting release 12\n'),
    (r'remote: Version: 3 is out\n', 'remote: Version: 3 is out', b'remote: Version: 3 is out\n'),
    ('fatal: no\n', 'fatal: no', b'fatal: no\n'),
    (r'said by\r\n ssh\r\n', 'ssh', b'said by\n ssh\n'),
    ('without an end', '', b'without an end'),
])
def test_progress_is_told_and_the_rest_is_kept(line: str, last: str, kept: bytes) -> None:
    told, printed, said = heard(f"printf %b '{line}' >&2; echo printed")
    assert (told[-1:], printed, said) == ([last] if last else [], b'printed\n', kept)


def test_words_that_come_in_pieces_are_put_together() -> None:
    told, _, said = heard(
        "printf 'Receiving obj' >&2; sleep 0.3; printf 'ects:  1%% (1/99)\\r' >&2"
    )
    assert (told, said) == (['Receiving objects: 1% (1/99)'], b'')


def test_what_a_command_leaves_behind_is_not_waited_for() -> None:
    began = time.monotonic()
    _, printed, said = heard('sleep 20 & echo $!; echo said >&2')
    os.kill(int(printed), signal.SIGTERM)
    assert (said, time.monotonic() - began < 10) == (b'said\n', True)


def test_a_flood_of_words_is_not_held() -> None:
    _, _, said = heard('yes | head -c 5000000 >&2; head -c 5000000 /dev/zero >&2')
    assert len(said) == watched.SAID


def test_a_silent_command_is_told_of_all_the_while() -> None:
    told: list[str] = []
    with subprocess.Popen(
        ('sleep', '0.5'), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        watched.read(process, told.append)
    assert 4 <= len(told) <= 10 and set(told) == {''}


def test_what_git_itself_says_of_a_fetch_is_progress(tmp_path: Path) -> None:
    git(tmp_path, 'init', '-q', 'there')
    (tmp_path / 'there/file').write_text('x')
    git(tmp_path / 'there', 'add', '.')
    git(tmp_path / 'there', 'commit', '-q', '-m', 'one')
    git(tmp_path, 'init', '-q', 'here')
    told, printed, said = heard(
        f'cd {tmp_path}/here && exec git fetch --quiet --progress file://{tmp_path}/there'
    )
    assert told and (printed, said) == (b'', b'')
