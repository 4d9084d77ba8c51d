"""What a release asks of the host is looked at before anything is touched."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from mirage_hooks import config, targets
from mirage_hooks.messages import errors
from mirage_hooks.state import model
from mirage_hooks.switching import preflight
from tests.deployment import Deployment, web


def refused(name: str, block: config.Block, *places: Path) -> tuple[str, str]:
    with pytest.raises(errors.Refused) as caught:
        preflight.disks(name, config.Unikernel(image='x', blocks={'storage': block}), places)
    return caught.value.reason, caught.value.hint


def test_a_disk_must_be_one(tmp_path: Path) -> None:
    path = tmp_path / 'disk'
    block = config.Block(str(path), sector=4096)
    assert refused('www', block) == (
        f'disk storage of www cannot be opened: {path}: No such file or directory',
        f'make it, as with `truncate -s 64M {path}`, or fix `path:` in mirage.yml',
    )
    path.write_bytes(b'x' * 512)
    assert refused('www', block) == (
        f'disk storage of www has 512 bytes, not a multiple of its sector of 4096: {path}',
        f'truncate -s %4096 {path}',
    )
    path.write_bytes(b'x' * 8192)
    assert refused('www', block, tmp_path) == (
        f'disk storage of www is in the repository: {path}',
        'a disk changes as the unikernel runs: keep it elsewhere',
    )
    wanted = config.Unikernel(image='x', blocks={'storage': block})
    assert preflight.disks('www', wanted, ()) == 8192
    assert refused('www', config.Block('/dev/null')) == (
        'disk storage of www is neither a file nor a block device: /dev/null', ''
    )


def test_a_disk_must_be_its_users(tmp_path: Path) -> None:
    path = tmp_path / 'disk'
    path.write_bytes(b'x' * 512)
    host = model.Host(root=True, sandbox=True)
    wanted = config.Unikernel(image='x', blocks={'storage': config.Block(str(path))})
    request = targets.Request('www', 1, 'blue', '/s', wanted, 'spt', '0' * 16, host=host)
    user = targets.user(request)
    with pytest.raises(errors.Refused) as caught:
        preflight.owned(request)
    assert (caught.value.reason, caught.value.hint) == (
        f'disk storage of www does not belong to the user {user}, as which it runs: {path}',
        f'chown {user} {path} && chmod u+rw {path}',
    )
    path.chmod(0o666)
    preflight.owned(request)


def test_a_missing_tender_is_named() -> None:
    wanted = config.Unikernel(image='x', tender='no-such-tender')
    with pytest.raises(errors.Unavailable) as caught:
        preflight.tender('spt', wanted, 2)
    assert (caught.value.reason, caught.value.hint) == (
        'no-such-tender is not installed, which runs spt images', 'fix `tender:` in mirage.yml'
    )


@pytest.mark.parametrize(('said', 'fine'), [
    ('solo5-spt tender, version v0.9\nABI version 2', True),
    ('no word of an ABI', True),
    ('ABI version 1', False),
])
def test_a_tender_is_asked_for_its_abi(tmp_path: Path, said: str, fine: bool) -> None:
    tender = tmp_path / 'tender'
    tender.write_text(f'#!/bin/sh\necho "{said}"\n')
    tender.chmod(0o755)
    wanted = config.Unikernel(image='x', tender=str(tender))
    if fine:
        assert preflight.tender('spt', wanted, 2) == str(tender)
        return
    with pytest.raises(errors.Unavailable) as caught:
        preflight.tender('spt', wanted, 2)
    assert caught.value.reason == f'{tender} speaks Solo5 ABI 1, the image speaks 2'


HELP = """
if any(a.startswith('--help') for a in sys.argv):
    print('NAME\\n       www\\nOPTIONS\\n       -p INT, --port=INT (absent=8080)\\n'
          '           As --other says.\\n')
    sys.exit(63)
"""


def test_an_image_that_tells_its_options_gets_no_others(deployment: Deployment) -> None:
    network = {'mode': 'socket', 'port': deployment.port, 'ipv4': '127.0.0.1/8'}
    deployment.configure(network=network)
    deployment.publish(web('one').replace(b'\nport = 8080\n', HELP.encode() + b'port = 8080\n', 1))
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout
    assert deployment.current().plan.command[-1] == f'--port={deployment.port}'
    assert '--ipv4=127.0.0.1/8' not in deployment.current().plan.command


@pytest.mark.skipif(os.geteuid() != 0, reason='root is missing')
def test_check_names_what_is_missing_and_how_to_get_it(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.configure(
        target='spt', tender='no-such-tender', network={'mode': 'direct', 'bridge': 'nobridge'},
        blocks={'storage': {'path': str(tmp_path / 'disk')}},
        secrets={'token': str(tmp_path / 'token')},
    )
    deployment.commit('nothing yet')
    deployment.clone()
    done = deployment.mirage('check')
    assert done.returncode == 1
    missing = done.stdout.splitlines()
    assert [line for line in missing if line.startswith('PROBLEM')] == [
        f'PROBLEM  www: commit {deployment_commit(deployment)} has no xen/latest',
        'PROBLEM  www: no-such-tender is not installed, which runs spt images',
        'PROBLEM  www: bridge nobridge does not exist',
        f'PROBLEM  www: disk storage of www cannot be opened: {tmp_path}/disk: No such file or '
        'directory',
        f'PROBLEM  www: cannot read secret token from {tmp_path}/token: No such file or directory',
    ]
    hints = [after for line, after in itertools.pairwise(missing) if line.startswith('PROBLEM')]
    assert [hint[:15] for hint in hints] == ['         hint: '] * 5


def deployment_commit(deployment: Deployment) -> str:
    return (deployment.hub / 'refs/heads/master').read_text()[:12]
