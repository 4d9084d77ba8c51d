"""What git calls: every hook runs the one that was there before, then converges. Nothing heavy is
imported until something is to do."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

from ..state import caller, fastpath

BEFORE = '.before-mirage-hooks'
"""What the name of a hook that was there before ours ends in."""


def main(name: str, arguments: list[str]) -> int:
    """Run as hook `name`; the exit code is git's to ignore after a merge or push, but true."""
    pulling = os.environ.pop(caller.PULLING, '')
    if pulling:  # we told git where it is; a hook after plain `git pull` is told nothing
        for variable in ('GIT_DIR', 'GIT_WORK_TREE'):
            os.environ.pop(variable, None)
    read = b'' if name == 'post-merge' else sys.stdin.buffer.read()
    before = _before(Path(sys.argv[0]).with_name(name + BEFORE), arguments, read)
    git_dir = _git_dir()
    caller.forget(quarantined=name == 'pre-receive')
    caller.close_to_others()
    if name == 'pre-receive':
        return before or _gate(git_dir, read)
    if pulling or fastpath.holds(git_dir):
        return before
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the pusher may hang up, we go on
    from . import running

    trigger = _trigger(name)
    return running.guarded(lambda: running.pushed(git_dir, trigger), git_dir) or before


def _gate(git_dir: Path, read: bytes) -> int:
    """Whether git may accept the push that `read` tells of: 0 for yes."""
    if not fastpath.gated(git_dir):
        return 0
    from . import running

    pushed = {}
    for line in filter(None, os.fsdecode(read).split('\n')):
        _, new, reference = line.split(' ', 2)
        pushed[reference] = new if new.strip('0') else ''
    trigger = _trigger('pre-receive')
    return running.guarded(lambda: running.gate(git_dir, pushed, trigger), git_dir)


def _before(previous: Path, arguments: list[str], read: bytes) -> int:
    """Run the hook that was there before, with the same arguments and input; its exit code."""
    if not os.access(previous, os.X_OK):
        return 0
    try:
        return _ran(previous, arguments, read)
    except OSError as error:
        print(f'mirage-hooks: the earlier hook {previous} does not run: {error.strerror}')
        return 1


def _ran(previous: Path, arguments: list[str], read: bytes) -> int:
    try:
        return subprocess.run((previous, *arguments), input=read, check=False).returncode
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        # As git does with a hook that lacks its `#!` line.
        return subprocess.run(('sh', previous, *arguments), input=read, check=False).returncode


def _git_dir() -> Path:
    """The repository's own git directory, the same from every linked work tree."""
    given = Path(os.environ.get('GIT_DIR', '.git'))
    if given.is_dir() and not (given / 'commondir').exists():
        return given.resolve()
    said = subprocess.run(
        ('git', 'rev-parse', '--git-common-dir'), check=True, stdout=subprocess.PIPE
    ).stdout
    return Path(os.fsdecode(said).rstrip('\n')).resolve()


def _trigger(name: str) -> str:
    action = {'post-merge': 'git pull or merge', 'post-receive': 'git push',
              'post-rewrite': 'git rebase', 'pre-receive': 'git push'}.get(name, name)
    return f'{action} by {caller.person()}'
