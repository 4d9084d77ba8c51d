"""Whatever git event fires, or none at all, the right image ends up running."""

from __future__ import annotations

import pytest

from tests.deployment import Deployment, web


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    """A host's clone that serves version one."""
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    assert deployment.page() == 'one'
    return deployment


def test_a_fast_forward_pull_boots_the_new_image(serving: Deployment) -> None:
    serving.publish(web('two'), 'b' * 40)
    done = serving.pull()
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].endswith('now runs')
    assert serving.page() == 'two'
