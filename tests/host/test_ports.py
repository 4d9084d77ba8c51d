"""A port that is held: by whom, as far as it can be told."""

from __future__ import annotations

import re

from tests.deployment import Deployment, git, web


def test_a_port_that_a_release_of_another_repository_holds_is_told_with_its_name(
    serving: Deployment,
) -> None:
    other = serving.folder / 'other'
    git(serving.folder, 'clone', '-q', str(serving.hub), str(other))
    serving.hooks(other / '.git')
    done = serving.mirage('deploy', repository=other)
    assert done.returncode == 1
    assert told(done.stdout) == [
        f'www: REFUSED: port {serving.port} is held by release 1 of www in {serving.host}',
        '  hint: give this one another port in mirage.yml, or end that one: '
        f'mirage-hooks -C {serving.host} stop www',
        'www: nothing runs',
    ]


def test_a_port_that_a_stranger_holds_is_told_with_how_to_see_who(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    with deployment.hold_port(deployment.port):
        done = deployment.mirage('deploy')
    assert told(done.stdout) == [
        f'www: REFUSED: port {deployment.port} is held by another program',
        f'  hint: see who: ss -ltnp sport = {deployment.port}',
        'www: nothing runs',
    ]


def told(said: str) -> list[str]:
    """`said` without the steps, and without what the image printed on trial."""
    return [line for line in said.splitlines() if not re.match(r' +([0-9.]+ s |\|)', line)]
