"""Where ACME clients keep their account keys, and how those are shown."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mirage_hooks.installing import accounts
from mirage_hooks.messages import errors
from tests.deployment import run
from tests.state.test_account import RFC, THUMBPRINT

CERTBOT = 'accounts/acme-v02.api.letsencrypt.org/directory/0a1b/private_key.json'
STAGING = 'accounts/acme-staging-v02.api.letsencrypt.org/directory/2c3d/private_key.json'
ADDRESS = base64.urlsafe_b64encode(b'https://acme-v02.api.letsencrypt.org/directory\n').decode()
KEYS = {
    'certbot': CERTBOT,
    'lego': 'accounts/acme-v02.api.letsencrypt.org/me@example.org/keys/me@example.org.key',
    'dehydrated': f'accounts/{ADDRESS.rstrip("=")}/account_key.pem',
    'uacme': 'private/key.pem',
    'acme.sh': 'ca/acme-v02.api.letsencrypt.org/directory/account.key',
}


def put(folder: Path, *keys: str) -> Path:
    for key in keys:
        (folder / key).parent.mkdir(parents=True)
        (folder / key).write_text(json.dumps(RFC))
    return folder


def thumbprint(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What the command says anywhere, outside of any repository."""
    command = (sys.executable, '-I', '-m', 'mirage_hooks', 'acme', 'thumbprint', *words)
    return run(*command, cwd=folder)


@pytest.mark.parametrize('client', KEYS)
def test_each_client_is_known_by_how_it_calls_its_key(tmp_path: Path, client: str) -> None:
    found = accounts.found(put(tmp_path, KEYS[client]))
    server = {'certbot': 'acme-v02.api.letsencrypt.org/directory', 'uacme': '',
              'lego': 'acme-v02.api.letsencrypt.org'}.get(
                  client, 'acme-v02.api.letsencrypt.org/directory')
    assert found == [accounts.Found(client, server, str(tmp_path / KEYS[client]),
                                    'RSA, 2048 bits', THUMBPRINT)]  # fmt: skip


def test_the_command_prints_what_goes_into_mirage_yml(tmp_path: Path) -> None:
    put(tmp_path, CERTBOT, STAGING)
    done = thumbprint(tmp_path, str(tmp_path))
    staging, production = (
        f'  key         {tmp_path}/{key} (RSA, 2048 bits)\n'
        f'  thumbprint  {THUMBPRINT}\n'
        f'  mirage.yml  acme: {{thumbprint: {THUMBPRINT}}}\n'
        f'          or  acme: {{account: {tmp_path}/{key}}}, where who deploys may read it\n'
        for key in (STAGING, CERTBOT)
    )
    assert (done.returncode, done.stderr, done.stdout) == (
        0, '',
        'certbot: acme-staging-v02.api.letsencrypt.org/directory, a staging account: no browser '
        f'trusts its certificates\n{staging}\n'
        f'certbot: acme-v02.api.letsencrypt.org/directory, production\n{production}',
    )
    only = thumbprint(tmp_path, str(tmp_path), '--server', 'acme-v02').stdout
    assert only == (f'certbot: acme-v02.api.letsencrypt.org/directory, production\n{production}')
    found = json.loads(thumbprint(tmp_path, str(tmp_path), '--json').stdout)
    assert [(one['client'], one['thumbprint'], one['staging']) for one in found] == [
        ('certbot', THUMBPRINT, True), ('certbot', THUMBPRINT, False)]


def test_a_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    put(tmp_path, 'any/name')
    assert thumbprint(tmp_path, 'any/name').stdout.startswith(
        f'an account key\n  key         {tmp_path}/any/name (RSA, 2048 bits)\n')


def test_a_key_of_no_use_is_shown_with_why_next_to_the_others(tmp_path: Path) -> None:
    put(tmp_path, CERTBOT, KEYS['uacme'])
    (tmp_path / CERTBOT).write_text('{}')
    done = thumbprint(tmp_path, str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.startswith(
        'certbot: acme-v02.api.letsencrypt.org/directory, production\n'
        f'  {tmp_path}/{CERTBOT} holds no key as JWK: Object missing required field `kty`\n\n'
        'uacme: the server is not written there\n  key         '
    )
    (tmp_path / KEYS['uacme']).unlink()
    assert thumbprint(tmp_path, str(tmp_path)).returncode == 1


def test_a_folder_that_one_server_shares_with_another_is_shown_once(tmp_path: Path) -> None:
    put(tmp_path, CERTBOT)
    (tmp_path / 'accounts/acme-v03.api.letsencrypt.org').symlink_to('acme-v02.api.letsencrypt.org')
    assert len(accounts.found(tmp_path)) == 1


def test_without_any_it_says_whose_were_looked_for(tmp_path: Path) -> None:
    done = thumbprint(tmp_path, str(tmp_path))
    assert (done.returncode, done.stdout + done.stderr) == (1, (
        f'mirage-hooks: no account key below {tmp_path}, of certbot, lego, dehydrated, uacme, '
        'acme.sh\n  hint: have the client register one first, such as `certbot register`; or name '
        'the file or its folder: mirage-hooks acme thumbprint FILE\n'))
    put(tmp_path, CERTBOT)
    done = thumbprint(tmp_path, str(tmp_path), '--server', 'zerossl')
    assert f"no account key of 'zerossl' below {tmp_path}" in done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
def test_who_may_not_look_is_told_to_ask_as_root() -> None:
    with tempfile.TemporaryDirectory() as name:  # nobody comes to a folder of root's pytest
        folder = Path(name)
        folder.chmod(0o755)
        put(folder, CERTBOT)
        (folder / 'accounts').chmod(0o700)
        if (child := os.fork()) == 0:
            code = 1
            try:
                code = _nobody_is_told(folder)
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _nobody_is_told(folder: Path) -> int:
    """0 when all is as it should be; in a process of its own."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    try:
        accounts.found(folder)
    except errors.Refused as refused:
        return int((refused.reason, refused.hint) != (
            f'cannot look into {folder}/accounts: Permission denied',
            'as root: sudo mirage-hooks acme thumbprint; the thumbprint is no secret, and goes '
            'into mirage.yml',
        ))
    return 2
