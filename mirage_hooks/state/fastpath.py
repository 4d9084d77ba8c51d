"""The fast path: is all as the last converge left it? Only the standard library is imported
here, because every pull and push pays for it. It never decides what to do, only that nothing is."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import __version__
from . import pipe, proc
from .ownership import FOLDER, strange

FILE = 'fastpath.json'
CONSOLE_LIMIT = 8 << 20  # bytes; a longer console is trimmed by the next converge
PATIENCE = 60.0  # seconds for one question to git


class Seen:
    """What one converge read and left: while all of it is still so, nothing is to do."""

    def __init__(self, head: str, named: str) -> None:
        self.version = __version__
        self.head = head  # what is checked out
        self.named = named  # what git's configuration calls mirage.yml
        self.files: dict[str, list[int]] = {}  # mirage.yml, secrets, certificates
        self.read: dict[str, list[str]] = {}  # lines of each revision's tree
        self.commits: dict[str, str] = {}  # what each revision is at, where that must be trusted
        self.runs: list[tuple[int, int, str]] = []  # processes
        self.consoles: list[str] = []  # which are not too long
        self.ports: dict[str, str] = {}  # interfaces and the bridges that they are on

    def file(self, path: Path) -> None:
        """Remember `path` as it is, before it is read: what is changed after that is news."""
        with contextlib.suppress(OSError):  # who reads it says so
            self.files.setdefault(str(path), _seen(path))

    def lines(self, revision: str, lines: Iterable[str]) -> None:
        """Remember `lines` of the tree of `revision`."""
        self.read[revision] = sorted({*self.read.get(revision, []), *lines})


def holds(git_dir: Path) -> bool:
    """Whether everything is as the last converge of the repository at `git_dir` left it."""
    try:
        if strange(git_dir / FOLDER):
            return False
        known = json.loads((git_dir / FOLDER / FILE).read_bytes())
        return bool(
            known['version'] == __version__
            and not (git_dir / FOLDER / 'gate').exists()  # a trial that was killed
            and all(_lives(run) for run in known['runs'])
            and pipe.keeps(git_dir / FOLDER)
            and all(Path(path).stat().st_size <= CONSOLE_LIMIT for path in known['consoles'])
            and all(_bridge(name) == bridge for name, bridge in known['ports'].items())
            and all(_seen(Path(path)) == stat for path, stat in known['files'].items())
            and (git_dir / 'HEAD').read_text().strip() == known['head']
            and _unmoved(git_dir, known['named'], known['read'], known['commits'])
        )
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        return False  # the long way says what is wrong


def lives(git_dir: Path) -> bool:
    """Whether all is known to live that the last converge left; asks nobody but the kernel."""
    try:
        known = json.loads((git_dir / FOLDER / FILE).read_bytes())
        return known['version'] == __version__ and all(_lives(run) for run in known['runs'])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # the long way finds out


def gated(git_dir: Path) -> bool:
    """Whether mirage.yml may ask for the gate: false when it does not hold the word at all."""
    try:
        named = Path(_git(git_dir, 'config', '--get', 'mirage.config').rstrip('\n')).expanduser()
        return not named.is_absolute() or b'gate' in named.read_bytes()
    except (OSError, RuntimeError, subprocess.CalledProcessError):
        return False  # what is not there asks for nothing; the deployment says what is wrong


def _lives(run: list[Any]) -> bool:
    return proc.identity(run[0]) == tuple(run)


def _unmoved(
    git_dir: Path, named: str, read: dict[str, list[str]], commits: dict[str, str]
) -> bool:
    """Whether mirage.yml is where `named` says, and the references named in `commits` and `read`
    are at these commits, and have these lines in their trees."""
    with _asked(git_dir, 'config', '--get', 'mirage.config') as setting:  # both at once
        at = _references(git_dir, {*read, *commits})
        if _said(setting).strip() != named:
            return False
    return all(at[name] == commit for name, commit in commits.items()) and all(
        _tree(git_dir, at[name], lines) == lines for name, lines in read.items()
    )


def _references(git_dir: Path, names: set[str]) -> dict[str, str]:
    """The objects of the references that are called exactly so: where one is gone, a tag whose name
    ends like it would be taken by anything but for-each-ref."""
    if not names:
        return {}
    form = '--format=%(objectname) %(refname)'
    listed = _git(git_dir, 'for-each-ref', form, *sorted(names)).split('\n')[:-1]
    return {name: oid for oid, _, name in (line.partition(' ') for line in listed)}


def _tree(git_dir: Path, commit: str, lines: list[str]) -> list[str]:
    paths = [line.partition('\t')[2] for line in lines]
    found = _git(
        git_dir, '--literal-pathspecs', 'ls-tree', '-z', '--full-tree', commit, '--', *paths
    )
    return sorted(line for line in found.split('\0') if line)


def _git(git_dir: Path, *arguments: str) -> str:
    with _asked(git_dir, *arguments) as process:
        return _said(process)


def _asked(git_dir: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ('git', '--no-replace-objects', f'--git-dir={git_dir}', *arguments),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )


def _said(process: subprocess.Popen[bytes]) -> str:
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return os.fsdecode(said)


def _bridge(name: str) -> str:
    """The bridge of an interface, '' for none; raises OSError when the interface is gone."""
    folder = Path('/sys/class/net', name)
    folder.stat()
    master = folder / 'master'
    return master.readlink().name if master.exists() else ''


def _seen(path: Path) -> list[int]:
    """What changes when a file does; nothing of one that is not there, as a certificate may be."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return []
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
