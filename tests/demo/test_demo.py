"""The demo shows what it promises, ends everything, and fails when a step is not as promised."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from mirage_hooks.demo import stage, standin
from mirage_hooks.host import processes, sharing
from mirage_hooks.messages import errors
from tests import guests
from tests.deployment import ROOT
from tests.patience import PATIENCE, until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / 'demo'
    folder.mkdir()
    return folder


def play(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, '-I', '-m', 'mirage_hooks.demo', str(root), *arguments),
        capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
    )


def serving(root: Path) -> list[psutil.Process]:
    return [process for _, process in processes.marked(root / 'host/.git/mirage-hooks')]


def test_both_versions_are_shown_the_third_is_refused_and_nothing_is_left(root: Path) -> None:
    done = play(root)
    assert (done.returncode, done.stderr) == (0, '')
    pages = re.findall(r'Hello from version [0-9]', done.stdout)
    assert [page[-1] for page in pages] == ['1', '2', '2', '1']
    counts = dict(re.findall(r'a (good image|bad image|rollback) +([0-9]+ +[0-9]+)\n', done.stdout))
    found = {what: tuple(map(int, count.split())) for what, count in counts.items()}
    assert found.keys() == {'good image', 'bad image', 'rollback'}
    assert all(requests > 5 for requests, _ in found.values())
    assert found['bad image'][1] == 0
    failed = sum(failed for _, failed in found.values())
    assert (f'   {stage.ONE_PORT}\n' in done.stdout) == (failed > 0)
    assert failed == 0 or sharing.trouble()
    assert 'www: REFUSED: it ended with exit code 2: an OCaml exception\n' in done.stdout
    assert done.stdout.endswith(f'All of it is stopped, and {root} removed.\n')
    assert not root.exists()
    assert serving(root) == []


def test_kept_it_says_how_to_stop_and_remove_it_and_that_works(root: Path) -> None:
    done = play(root, '--keep')
    assert done.returncode == 0
    running, _, command = done.stdout.partition('To stop and remove it:\n  ')
    found = re.search(r'It goes on running at (http://127.0.0.1:[0-9]+/), all of it', running)
    assert found
    with urllib.request.urlopen(found[1], timeout=60) as answer:
        assert b'Hello from version 1' in answer.read()
    subprocess.run(('sh', '-c', command), check=True, capture_output=True, timeout=PATIENCE)
    assert not root.exists()
    assert serving(root) == []


@pytest.mark.parametrize(
    ('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_interrupted_it_leaves_nothing(root: Path, number: signal.Signals, code: int) -> None:
    demonstration = subprocess.Popen(
        # Tests that run in the background inherit SIGINT ignored.
        ('env', '--default-signal=INT', sys.executable, '-I', '-m', 'mirage_hooks.demo', str(root)),
        stdout=subprocess.DEVNULL, start_new_session=True,
    )
    until(lambda: serving(root))
    os.killpg(demonstration.pid, number)
    assert demonstration.wait(timeout=PATIENCE) == code
    assert not root.exists()
    assert serving(root) == []


@pytest.mark.skipif(shutil.which('gcc') is None, reason='not installed: gcc')
def test_a_real_image_is_shown_in_place_of_the_stand_in(root: Path, tmp_path: Path) -> None:
    image = guests.build('socket', tmp_path, version='of the guest')
    done = play(root, '--image', str(image))
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.count('of the guest') == 4
    headings = re.findall(r'^== (.*?)  \(', done.stdout, re.M)
    assert headings[1:5] == [
        'Version 1 is your image: the site publishes, cron pulls',
        'Version 2 is your image and one byte more, and shows the same page: the site publishes, '
        'a person pulls',
        'Version 3 is a text and no image: it changes nothing',
        'Back to version 1, from local files alone',
    ]
    assert (
        'www: REFUSED: unix/version-3/www is not an image: it is neither an ELF file nor a script\n'
        in done.stdout
    )
    assert not root.exists()


def test_an_image_that_cannot_be_read_is_refused(root: Path, tmp_path: Path) -> None:
    done = play(root, '--image', str(tmp_path / 'none'))
    assert done.returncode == 1
    assert f'mirage-hooks: cannot read {tmp_path}/none: No such file or directory\n' in done.stdout
    assert not root.exists()


def test_the_installer_refuses_such_an_image_before_it_builds_anything(tmp_path: Path) -> None:
    done = subprocess.run(
        (ROOT / 'install.sh', '--demo', '--image', tmp_path / 'none'), capture_output=True,
        text=True, check=False, env={**os.environ, 'TMPDIR': str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr.endswith(
        f'install.sh: cannot read {tmp_path}/none\n  hint: name a unix/socket image\n'
    )
    assert list(tmp_path.iterdir()) == []


def test_a_page_of_another_version_fails_the_demo(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = standin.text
    monkeypatch.setattr(standin, 'text', lambda version: real(1) + b'#' * version)
    demo = stage.Stage(root, None)
    try:
        with pytest.raises(errors.Refused) as refused:
            demo.play()
    finally:
        demo.strike()
    assert refused.value.reason == 'this is not the page of version 2'


@pytest.mark.parametrize(
    ('arguments', 'code'), [(('--help=plain',), 63), (('--nonsense',), 64), (('--ipv6=::',), 64)]
)
def test_the_stand_in_ends_as_a_mirageos_image_does(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    image = tmp_path / 'image'
    image.write_bytes(standin.text(1))
    image.chmod(0o755)
    assert subprocess.run((image, *arguments), capture_output=True, check=False).returncode == code


def test_no_git_configuration_of_a_person_gets_into_the_demo(root: Path, home: Path) -> None:
    shutil.copy(home / '.gitconfig', home / 'kept')
    with (home / '.gitconfig').open('a') as config:
        config.write('[commit]\n\tgpgSign = true\n[core]\n\thooksPath = /nowhere\n')
    assert play(root).returncode == 0
