"""What a health question takes for an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_hooks.switching import consoles
from tests.deployment import Deployment, free_port, web

# Silent, and not listening, while somebody holds the port: an image that lost what it needs.
SILENT = """
import time
while not socket.socket().connect_ex(('127.0.0.1', {port})):
    time.sleep(0.05)
"""


def test_the_console_of_an_earlier_run_proves_nothing(deployment: Deployment) -> None:
    asked = {'health': {'console': '^listening on', 'within': '5s'}, 'confirm': '0s'}
    port = free_port()
    image = web('one', SILENT.format(port=port))
    deployment.configure(**asked)
    deployment.publish(image)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    deployment.crash()
    with deployment.hold_port(port):
        done = deployment.mirage('pull', '--quiet')
    assert (done.returncode, 'did not say' in done.stdout) == (1, True), done.stdout


@pytest.mark.parametrize(
    'after, said', [(b'old\nnew\n', 'new\n'), (b'new', 'new'), (None, '')]
)
def test_what_was_printed_is_told_from_what_was_there(
    tmp_path: Path, after: bytes | None, said: str
) -> None:
    console = tmp_path / 'console.log'
    console.write_bytes(b'old\n')
    printed = consoles.printing(lambda: console)
    assert printed() == ''
    console.unlink() if after is None else console.write_bytes(after)
    assert printed() == said
