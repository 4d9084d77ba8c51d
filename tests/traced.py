"""Every program that a command and all its children execute, by Debian's strace."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.patience import PATIENCE

# "PATH", ["ARGUMENT", …] of execve, or DESCRIPTOR, "PATH", … of execveat; -z leaves what succeeded.
EXECUTED = re.compile(r'^(?:execve\(|execveat\([^,]+, )("(?:[^"\\]|\\.)*"), \[(.*?)\](?:\.\.\.)?, ')


class Executed(NamedTuple):
    """One program that was executed: its path, and the arguments after its own name."""

    path: str
    arguments: tuple[str, ...]


def lacking() -> str:
    """What this machine lacks for tracing, or ''."""
    if shutil.which('strace') is None:
        return 'not installed: strace'
    tried = subprocess.run(('strace', '-qq', 'true'), capture_output=True, check=False)
    return '' if tried.returncode == 0 else 'strace may not trace here (ptrace is forbidden)'


def traced(
    *command: str, cwd: Path
) -> tuple[subprocess.CompletedProcess[str], list[Executed]]:
    """Run `command` to its end, and list what was executed. What it leaves running stays traced
    (-D: by a tracer apart) until it ends."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # One file for each process: their lines never mix.
        tracer = ('strace', '-D', '-ff', '-qq', '-z', '-s', '65535', '-e', 'signal=none',
                  '-e', 'trace=execve,execveat', '-o', f'{folder}/of')
        # Files in place of pipes: the tracer would hold a pipe open as long as the image runs.
        with Path(folder, 'out').open('w+b') as out, Path(folder, 'err').open('w+b') as err:
            code = subprocess.run(
                (*tracer, '--', *command), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out,
                stderr=err, timeout=PATIENCE, check=False,
            ).returncode
        said = [Path(folder, name).read_text(errors='replace') for name in ('out', 'err')]
        lines = [line for path in sorted(Path(folder).glob('of.*'))
                 for line in path.read_text(errors='replace').splitlines()]
    return subprocess.CompletedProcess(command, code, *said), [_parsed(line) for line in lines]


def _parsed(line: str) -> Executed:
    found = EXECUTED.match(line)
    assert found, line
    words = ast.literal_eval(f'[{found[2]}]')  # strace quotes as C does
    return Executed(ast.literal_eval(found[1]), tuple(words[1:]))
