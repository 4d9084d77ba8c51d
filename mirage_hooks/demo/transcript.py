"""What the demo shows: headings, commands as they are run, and what they say."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from ..messages import errors, report


class Transcript:
    """Commands run below `root`, shown as they are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.line = report.Reporter().line
        self.began = time.monotonic()

    def run(
        self, place: str, *command: str, shown: bool = True, refused: bool = False, path: str = ''
    ) -> None:
        """Run `command` in a folder of ours and show both; raises Refused when it fails, or when
        it should have been `refused` and was not."""
        words = shlex.join(['mirage-hooks', *command[4:]] if command[0] == sys.executable
                           else command)
        if shown:
            self.line(f'   {place}$ {words}')
        environment = {
            'PATH': path or os.environ.get('PATH', ''), 'HOME': str(self.root / 'home'),
            'LANG': 'C.UTF-8', 'USER': os.environ.get('USER', 'you'),
            # A person's own hooks, signing keys and aliases stay out.
            'GIT_CONFIG_GLOBAL': os.devnull, 'GIT_CONFIG_NOSYSTEM': '1',
            **{f'GIT_{role}_{key}': value for role in ('AUTHOR', 'COMMITTER')
               for key, value in (('NAME', 'Demo'), ('EMAIL', 'demo@example.org'))},
        }
        done = subprocess.run(
            command, cwd=self.root / place, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
        )
        if shown or done.returncode:
            self.quote(done.stdout.decode(errors='replace'))
        if bool(done.returncode) != refused:
            wanted = 'should have failed' if refused else 'should have succeeded'
            raise errors.Refused(f'`{words}` ended with {done.returncode}, and {wanted}')

    def heading(self, text: str) -> None:
        self.line(f'\n== {text}  ({time.monotonic() - self.began:.1f} s)')

    def quote(self, text: str) -> None:
        for line in text.splitlines():
            self.line(f'     {report.plain(line)}')


def ours(*arguments: str) -> tuple[str, ...]:
    """`mirage-hooks` with `arguments`, whatever is on PATH."""
    return (sys.executable, '-I', '-m', 'mirage_hooks', *arguments)
