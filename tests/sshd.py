"""Debian's real sshd on loopback, with keys of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from tests.deployment import free_port, run
from tests.patience import PATIENCE
from tests.signing import ssh_key

JAIL = Path('/run/sshd')
"""What an sshd started by root wants, and a Debian that booted without it lacks."""


def _program() -> str | None:
    return shutil.which('sshd', path=f'{os.environ["PATH"]}:/usr/sbin')


def lacking() -> str:
    """What this machine lacks for it, or ''."""
    if _program() is None:
        return 'sshd is missing: apt-get install openssh-server'
    if pwd.getpwuid(os.getuid()).pw_shell.endswith(('nologin', 'false')):
        return 'this user has no login shell: sshd runs nothing for it'
    return ''


class Sshd:
    """Runs until `end`. The key `deploy` in `folder` may log in, `stranger` may not."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir()
        for name in ('host', 'deploy', 'stranger'):
            ssh_key(folder / name)
        (folder / 'authorized').write_text((folder / 'deploy.pub').read_text())
        (folder / 'sshd_config').write_text(
            f'ListenAddress 127.0.0.1:{self.port}\nHostKey {folder}/host\nPidFile none\n'
            f'AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n'
            'PasswordAuthentication no\n'
        )
        if os.getuid() == 0:  # other tests' sshd needs it, too: it goes with the last of them
            JAIL.mkdir(mode=0o755, exist_ok=True)
        program = _program()
        assert program is not None
        with (folder / 'sshd.log').open('w') as log:
            self._process = subprocess.Popen(
                [program, '-D', '-e', '-f', str(folder / 'sshd_config')], stderr=log
            )

    def address(self, path: Path) -> str:
        user = run('id', '-un', cwd=self.folder).stdout.strip()
        return f'ssh://{user}@127.0.0.1:{self.port}{path}'

    def known(self, name: str = 'host') -> str:
        """The line of known_hosts for it, or for `name` in its place."""
        return f'[127.0.0.1]:{self.port} {(self.folder / f"{name}.pub").read_text()}'

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

