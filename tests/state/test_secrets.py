"""Secrets reach the image and nobody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirage_hooks import config
from mirage_hooks.messages import errors
from mirage_hooks.state import secret
from tests.deployment import Deployment, web

SAY = "print('heard', [a for a in sys.argv if 'message' in a], flush=True)"


@pytest.fixture
def token(deployment: Deployment, tmp_path: Path) -> Path:
    """A deployment whose image is told a secret, and the secret's file."""
    file = tmp_path / 'token'
    file.write_text('open sesame"\\\n')
    file.chmod(0o600)
    deployment.configure(secrets={'message': str(file)})
    deployment.publish(web('one', SAY))
    deployment.clone()
    return file


def kept(deployment: Deployment) -> str:
    """All that is on disk below the state, the image and what it printed aside."""
    return '\n'.join(
        path.read_text() for path in deployment.state().root.rglob('*')
        if path.is_file() and path.name not in ('image', 'console.log', 'trial.log')
    )


def test_a_secret_reaches_the_image_and_is_kept_nowhere(
    deployment: Deployment, token: Path
) -> None:
    dry = [('deploy', '--dry-run'), ('deploy', '--dry-run', '--json')]
    first = [deployment.mirage(*command).stdout for command in dry]
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout
    console = (deployment.state().of('www').folder(1) / 'console.log').read_text()
    assert console.splitlines()[0] == r"""heard ['--message=open\\ sesame\\"\\\\']"""
    token.write_text('another sesame\n')
    said = [*first, done.stdout, *(deployment.mirage(*command).stdout for command in (
        ('status', '--json'), ('history', '--json'), *dry,
    ))]
    assert [text for text in [*said, kept(deployment)] if 'sesame' in text] == []
    assert said[0].rstrip().endswith("'--message=***'")
    assert (said[5].startswith('www: release 1 would be replaced'), '--message=***' in said[6]) == (
        True, True)


def test_a_changed_secret_starts_the_unikernel_anew(deployment: Deployment, token: Path) -> None:
    deployment.mirage('deploy')
    assert deployment.mirage('pull', '--quiet').stdout == ''
    token.write_text('other')
    done = deployment.mirage('pull', '--quiet')
    assert (done.returncode, done.stdout.splitlines()[-1][-8:]) == (0, 'now runs')
    console = (deployment.state().of('www').folder(2) / 'console.log').read_text()
    assert console.splitlines()[0] == "heard ['--message=other']"


def test_a_touched_secret_changes_nothing(deployment: Deployment, token: Path) -> None:
    deployment.mirage('deploy')
    os.utime(token, (1, 1))
    assert deployment.mirage('pull', '--quiet').stdout == ''
    assert deployment.current().number == 1


def test_an_unfit_secret_is_refused(tmp_path: Path) -> None:
    file = tmp_path / 'token'
    wanted = config.Unikernel(image='x', secrets={'token': str(file)})

    def refused(*places: Path, unikernel: config.Unikernel = wanted) -> tuple[str, str]:
        with pytest.raises(errors.Refused) as caught:
            secret.check(unikernel, places)
        return caught.value.reason, caught.value.hint

    assert refused() == (
        f'cannot read secret token from {file}: No such file or directory',
        'make the file, or fix `secrets:` in mirage.yml (token)',
    )
    file.write_text('x')
    file.chmod(0o604)
    assert refused() == (
        f'secret token is readable by everybody: {file}', f'chmod o-rwx {file}'
    )
    file.chmod(0o600)
    assert refused(tmp_path) == (
        f'secret token is in the repository: {file}',
        'keep it elsewhere, and change it: whoever clones the repository knows it',
    )
    both = config.Unikernel(image='x', secrets={'token': str(file)}, arguments=('--token=a',))
    assert refused(unikernel=both) == (
        '--token is both an argument and a secret', 'drop one of them in mirage.yml'
    )
    for content in (b'', b'\n', b'a\0b', b'\xff', b'x' * 4097):
        file.write_bytes(content)
        assert refused() == (
            f'{file} holds no secret: 1 to 4096 bytes of text are wanted in a plain file', ''
        )
