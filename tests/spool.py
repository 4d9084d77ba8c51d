"""Debian's real crontab and cron on a spool of their own: this host's crontabs stay untouched."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.patience import PATIENCE

CRONTABS = '/var/spool/cron/crontabs'
MOUNTED = (
    'set -e; spool=$1; shift; mount --bind "$spool/crontabs" /var/spool/cron/crontabs; '
    'mount --bind "$spool/cron.d" /etc/cron.d; mount --bind "$spool/empty" /etc/crontab; '
    'mount -t tmpfs tmpfs /run; exec "$@"'
)


def lacking() -> str:
    """What this machine lacks for a spool of its own, or ''."""
    if os.geteuid() != 0:
        return 'a crontab spool of its own needs root'
    absent = [name for name in ('cron', 'crontab', 'unshare') if not shutil.which(name)]
    return f'not installed: {", ".join(absent)}' if absent else ''


class Spool:
    """An empty spool in `folder`, seen by every command that `run` runs in a mount namespace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ('crontabs', 'cron.d'):
            (folder / name).mkdir(parents=True)
        (folder / 'empty').touch()
        shutil.chown(folder / 'crontabs', 'root', 'crontab')
        (folder / 'crontabs').chmod(0o1730)

    def command(self, *command: str) -> tuple[str, ...]:
        """With a process table of its own: no cron daemon but one that `command` starts."""
        return ('unshare', '-m', '-p', '-f', '--mount-proc', *self._mounted(*command))

    def _mounted(self, *command: str) -> tuple[str, ...]:
        return ('sh', '-c', MOUNTED, 'sh', str(self.folder), *command)

    def run(self, *command: str, alone: bool = True) -> subprocess.CompletedProcess[str]:
        """As `command` has it; unless it is `alone`, with the daemon that `cron` starts."""
        words = self.command(*command) if alone else ('unshare', '-m', *self._mounted(*command))
        return subprocess.run(
            words, text=True, capture_output=True, timeout=PATIENCE, check=False,
            stdin=subprocess.DEVNULL,
        )

    @contextlib.contextmanager
    def cron(self) -> Iterator[subprocess.Popen[bytes]]:
        """Debian's cron daemon on it; it looks once a minute. All that it began is over then."""
        # It calls the table 'crontabs/root' by its owner alone, and mails nobody here.
        self.write(b'MAILTO=""\n')
        daemon = subprocess.Popen(
            ('unshare', '-m', *self._mounted('cron', '-f')), stdin=subprocess.DEVNULL
        )
        time.sleep(1.1)  # cron tells a changed table by whole seconds
        try:
            yield daemon
        finally:
            jobs = psutil.Process(daemon.pid).children() if daemon.poll() is None else []
            daemon.terminate()
            daemon.wait(PATIENCE)
            psutil.wait_procs(jobs, PATIENCE)

    def write(self, table: bytes, user: str = 'root') -> None:
        path = self.folder / 'crontabs' / user
        path.write_bytes(table)
        path.chmod(0o600)

    def read(self, user: str = 'root') -> bytes | None:
        """The crontab as it is stored, without the three lines that crontab puts above."""
        path = self.folder / 'crontabs' / user
        if not path.exists():
            return None
        lines = path.read_bytes().splitlines(keepends=True)
        written = bool(lines) and lines[0].startswith(b'# DO NOT EDIT')
        return b''.join(lines[3:] if written else lines)
