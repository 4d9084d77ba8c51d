"""From HTTP to a certificate that renews itself, as docs/tls.md has it: real clients, a real ACME
server, and a unikernel that answers it by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import guests, pebble, secure
from tests.deployment import Deployment
from tests.guests.scene import CACHE
from tests.pebble import Operator, Pebble


@pytest.fixture(name='pebble')
def fixture_pebble(deployment: Deployment) -> Iterator[Pebble]:
    made = Pebble(deployment.folder / 'pebble', deployment.port)
    yield made
    made.end()


@pytest.fixture
def operator(deployment: Deployment, pebble: Pebble) -> Operator:
    """One whose site is published and cloned."""
    deployment.publish(guests.build('tls', CACHE).read_bytes())
    deployment.clone()
    return Operator(deployment, pebble)


def made(operator: Operator, client: str) -> None:
    """All that the page says, until there is a certificate."""
    operator.account(client)
    operator.configure(client)
    operator.run('mirage-hooks -C /srv/www-deployment deploy www')
    assert operator.deployment.page() == '1 \n'  # by HTTP, and nothing is redirected
    operator.order(client)


@pytest.mark.parametrize('client', [
    pytest.param(client, marks=[*pebble.needed(client),
                                *([] if client == 'certbot' else [pytest.mark.long])])
    for client in pebble.CLIENTS
])  # fmt: skip
def test_a_client_has_a_certificate_issued_and_renewed_while_visitors_come(
    operator: Operator, client: str
) -> None:
    made(operator, client)
    first = secure.shown(operator.https)
    with operator.visitor() as visitor:
        operator.renew(client)
        assert secure.shown(operator.https) != first
    assert (visitor.failed, len(visitor.seen)) == ([], 2), visitor.requests
    events = operator.deployment.events()
    assert [number for event, number in events if event == 'deployed'] == [1, 2, 3]
