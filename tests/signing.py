"""Real keys, made for one test: SSH keys by ssh-keygen, GPG keys in a keyring of their own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deployment import git


def ssh_key(path: Path) -> str:
    """Make a key at `path`; its public half as a line."""
    subprocess.run(
        ('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', path.name, '-f', str(path)),
        check=True, stdin=subprocess.DEVNULL,
    )
    return path.with_suffix('.pub').read_text().strip()


def fingerprint(path: Path) -> str:
    said = subprocess.run(
        ('ssh-keygen', '-lf', f'{path}.pub'), check=True, capture_output=True, text=True
    ).stdout
    return said.split()[1]


def sign_with(site: Path, key: Path | None) -> None:
    """Have every later commit of `site` signed with the SSH key `key`, or none."""
    git(site, 'config', 'commit.gpgSign', 'true' if key else 'false')
    if key:
        git(site, 'config', 'gpg.format', 'ssh')
        git(site, 'config', 'user.signingKey', str(key))


def forged(site: Path, raw: bytes) -> str:
    """Write `raw` into `site` as a commit that no git would write; its name."""
    whole = b'commit %d\0' % len(raw) + raw
    name = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
    path = site / '.git' / 'objects' / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_bytes(zlib.compress(whole))
    return name


class Gpg:
    """`home` holds secret keys, `keyring` what the host knows."""

    def __init__(self, folder: Path) -> None:
        self.home, self.keyring = folder / 'home', folder / 'keyring'
        for each in (self.home, self.keyring):
            each.mkdir(mode=0o700)

    def key(self, name: str, when: str = '', expires: str = 'never') -> str:
        """Make a key; its fingerprint. `when` is a date to make it at, as 20200101T000000."""
        faked = ('--faked-system-time', when) if when else ()
        self.run(
            self.home, *faked, '--passphrase', '', '--quick-gen-key', f'{name} <{name}@x.example>',
            'ed25519', 'sign', expires,
        )
        listed = self.run(self.home, '--with-colons', '--list-keys', f'{name}@x.example')
        return next(line.split(':')[9] for line in listed.splitlines() if line[:4] == 'fpr:')

    def know(self, name: str) -> None:
        """Put the public half of `name` into the host's keyring."""
        exported = self.run(self.home, '--armor', '--export', f'{name}@x.example')
        self.run(self.keyring, '--import', text=exported)

    def revoke(self, made: str) -> None:
        """Let the host know that the key of fingerprint `made` counts no more."""
        text = (self.home / 'openpgp-revocs.d' / f'{made}.rev').read_text()
        self.run(self.keyring, '--import', text=text.replace('\n:---', '\n---'))

    def sign_with(self, site: Path, name: str, when: str = '') -> None:
        faked = f'--faked-system-time {when}' if when else ''
        program = self.home / 'sign'
        program.write_text(f'#!/bin/sh\nexec gpg --homedir {self.home} {faked} "$@"\n')
        program.chmod(0o755)
        for key, value in {'commit.gpgSign': 'true', 'gpg.format': 'openpgp',
                           'gpg.program': str(program), 'user.signingKey': f'{name}@x.example'
                           }.items():
            git(site, 'config', key, value)

    def run(self, home: Path, *arguments: str, text: str = '') -> str:
        return subprocess.run(
            ('gpg', '--homedir', str(home), '--batch', '--quiet', '--no-tty', *arguments),
            input=text, check=True, capture_output=True, text=True,
        ).stdout


@contextmanager
def gpg() -> Iterator[Gpg]:
    """Keyrings in a short path (an agent's socket must fit into 108 bytes); ends their agents."""
    folder = Path(tempfile.mkdtemp(prefix='gpg-', dir='/tmp'))
    made = Gpg(folder)
    try:
        yield made
    finally:
        for home in (made.home, made.keyring):
            subprocess.run(
                ('gpgconf', '--homedir', str(home), '--kill', 'all'), check=False,
                env={**os.environ}, stderr=subprocess.DEVNULL,
            )
        shutil.rmtree(folder, ignore_errors=True)
