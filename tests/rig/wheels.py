"""Carries the project into dom0, which has no network: its source, and wheels for dom0's Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from mirage_hooks.messages.errors import Unavailable

CLONE = Path(__file__).parents[2]
PYTHON = '3.11'  # Debian 12's
PLATFORMS = ('manylinux2014_x86_64', 'manylinux_2_17_x86_64', 'manylinux_2_28_x86_64')

OFFLINE = 'export PIP_NO_INDEX=1 PIP_FIND_LINKS=/share/wheels PIP_DISABLE_PIP_VERSION_CHECK=1\n'
"""For the head of a script in dom0: pip, and install.sh with it, takes what `carry` put there."""


def carry(folder: Path) -> None:
    """Put the source at `folder`/mirage-hooks and the wheels at `folder`/wheels.

    The source is what git would commit now, without its history. The wheels are the project's
    own, what it needs and what building it needs. Raises Unavailable when pip fails.
    """
    copy = folder / 'mirage-hooks'
    source(copy)
    _pip('wheel', '--no-deps', f'--wheel-dir={folder / "wheels"}', str(copy))
    for litter in (copy / 'build', *copy.glob('*.egg-info')):
        shutil.rmtree(litter, ignore_errors=True)
    _pip(
        'download',
        '--only-binary=:all:',
        f'--python-version={PYTHON}',
        *(f'--platform={platform}' for platform in PLATFORMS),
        f'--dest={folder / "wheels"}',
        '--require-hashes',
        f'--requirement={CLONE / "constraints.txt"}',
    )


def download(folder: Path) -> None:
    """Put the wheels that this machine's Python needs at `folder`, for install.sh without a
    network. Raises Unavailable when pip fails."""
    _pip('download', f'--dest={folder}', '--require-hashes',
         f'--requirement={CLONE / "constraints.txt"}')


def source(target: Path) -> None:
    """Copy what git would commit now to `target`, without its history."""
    listed = ('git', '-C', str(CLONE), 'ls-files', '-z', '-co', '--exclude-standard')
    names = subprocess.run(listed, check=True, stdout=subprocess.PIPE, text=True).stdout
    for name in filter(None, names.split('\0')):
        if (CLONE / name).is_file():  # git lists a removed file until the removal is staged
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CLONE / name, target / name)


def _pip(*arguments: str) -> None:
    command = (sys.executable, '-m', 'pip', '--quiet', *arguments)
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise Unavailable(f'pip {arguments[0]} ended with {ended.returncode}:\n{ended.stdout}')
