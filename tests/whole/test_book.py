"""The commands of the book's first pages, run as they stand there, in an empty home."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests import recording
from tests.deployment import ROOT, git
from tests.guests.scene import needs
from tests.patience import PATIENCE
from tests.rig import wheels

pytestmark = [
    pytest.mark.long, needs('unshare', 'setpriv', 'ip', 'curl', root=True),
    pytest.mark.skipif(not Path('/usr/bin/python3').exists(), reason='not installed: python3'),
]
NOBODY = 65534
ADDRESS = 'https://example.org/mirage-hooks.git'


class Block(msgspec.Struct, frozen=True):
    """Commands of a page, and the lines that it shows of what they print."""

    commands: str
    shown: tuple[str, ...]


def blocks(page: str) -> list[Block]:
    """Every ```sh block of docs/`page`, with the ```text block after it."""
    found: list[Block] = []
    for kind, text in re.findall(r'^```(\w+)\n(.*?)^```$', (ROOT / 'docs' / page).read_text(),
                                 re.MULTILINE | re.DOTALL):
        if kind == 'sh':
            found.append(Block(text, ()))
        elif kind == 'text':
            found[-1] = Block(found[-1].commands, tuple(text.splitlines()))
    return found


class Reader:
    """Somebody who types in what the book says: an ordinary user with an empty home, and a network
    and processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.source = folder, folder / 'home', folder / 'source'
        self.wheels = folder / 'wheels'
        for made in (self.home, self.wheels):
            made.mkdir()
        wheels.download(self.wheels)
        wheels.source(self.source)
        git(self.source, 'init', '-q', '-b', 'main')
        self.publish('The source')
        (self.home / '.gitconfig').write_text(
            f'[url "{self.source}"]\n\tinsteadOf = {ADDRESS}\n'
            f'[safe]\n\tdirectory = {self.source}/.git\n'
            '[user]\n\tname = A\n\temail = a@example.org\n'
        )
        for path in (self.home, *self.home.rglob('*')):
            os.chown(path, NOBODY, NOBODY)

    def publish(self, what: str) -> None:
        """Commit the source as it is now."""
        git(self.source, 'add', '-A')
        git(self.source, 'commit', '-q', '-m', what)

    def types(self, steps: list[Block]) -> list[str]:
        """What each of `steps` prints, one shell for all of them; fails when one fails."""
        script = self.folder / 'script'
        mark = 'the end of a step'
        script.write_text('\n'.join(f'{step.commands}\necho "{mark}"' for step in steps))
        settings = {'HOME': str(self.home), 'PATH': '/usr/bin:/bin', 'LANG': 'C.UTF-8',
                    'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': str(self.wheels),
                    'PIP_CONFIG_FILE': os.devnull}
        done = subprocess.run(
            ('setpriv', '--pdeathsig=KILL', 'unshare', '--net', '--pid', '--ipc', '--mount-proc',
             '--fork', '--kill-child', 'sh', '-euc', 'ip link set lo up\nexec "$@"', 'sh',
             'setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups', 'env', '-i',
             *(f'{key}={value}' for key, value in settings.items()), 'bash', '-eu', script),
            cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.STDOUT, timeout=PATIENCE, check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout.replace(str(self.home), '~').split(f'{mark}\n')[:-1]


@pytest.fixture
def reader() -> Iterator[Reader]:
    # Not below pytest's own folder, which others may not enter.
    with tempfile.TemporaryDirectory(prefix='book-') as folder:
        Path(folder).chmod(0o755)
        yield Reader(Path(folder))


def require_shown(steps: list[Block], said: list[str]) -> None:
    """Every line that the page shows is printed, in that order."""
    assert len(said) == len(steps)
    for step, text in zip(steps, said, strict=True):
        rest = iter(text.splitlines())
        for line in step.shown:
            wanted = recording.pattern(line)
            assert any(re.fullmatch(wanted, one) for one in rest), (
                f'the page shows\n{line}\nand this was printed:\n{text}')


def test_a_first_evening_goes_as_its_page_says_and_leaves_no_hook(reader: Reader) -> None:
    steps = blocks('first-evening.md')
    assert len(steps) == 6
    require_shown(steps, reader.types(steps))
    assert not (reader.home / '.local/share/mirage-hooks').exists()
    assert not (reader.home / '.local/bin/mirage-hooks').is_symlink()
    hooks = (reader.home / 'www-deployment.git/hooks').iterdir()
    assert [hook.name for hook in hooks if hook.suffix != '.sample'] == []


def test_an_upgrade_and_its_undo_go_as_their_page_says(reader: Reader) -> None:
    evening, upgrading = blocks('first-evening.md'), blocks('upgrading.md')
    newer = reader.folder / 'newer'
    shutil.copytree(reader.source, newer)
    (newer / 'mirage_hooks/__init__.py').write_text("__version__ = '0.2.0'\n")
    git(newer, 'commit', '-qam', 'A newer version')
    fetched = Block(f'git -C ~/mirage-hooks remote set-url origin {newer}\n'
                    f'git config --global --add safe.directory {newer}/.git\n', ())
    said = reader.types([*evening[:3], fetched, *upgrading, evening[-1]])
    assert said[4].splitlines()[-1] == 'mirage-hooks 0.2.0'
    assert said[5].splitlines()[-1] == 'mirage-hooks 0.1.0'
