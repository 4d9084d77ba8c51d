"""From HTTP to a certificate that renews itself, as docs/tls.md has it: real clients, a real ACME
server, and a unikernel that answers it by itself."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import guests, pebble, secure, tls_page
from tests.deployment import Deployment, git, run
from tests.guests.scene import CACHE
from tests.patience import PATIENCE, until
from tests.pebble import Operator, Pebble
from tests.visiting import Visiting


@pytest.fixture
def server(deployment: Deployment) -> Iterator[Pebble]:
    made = Pebble(deployment.folder / 'pebble', deployment.port)
    yield made
    made.end()


@pytest.fixture
def operator(deployment: Deployment, server: Pebble) -> Operator:
    """One whose site is published and cloned."""
    deployment.publish(guests.build('tls', CACHE).read_bytes())
    deployment.clone()
    return Operator(deployment, server)


def made(operator: Operator, client: str) -> None:
    """All that the page says, until there is a certificate."""
    operator.account(client)
    operator.configure(client)
    operator.run('mirage-hooks -C /srv/www-deployment deploy www')
    assert operator.deployment.page() == '1 \n'  # by HTTP, and nothing is redirected
    with Plain(operator.deployment.port) as plain:
        until(lambda: plain.statuses)
        operator.order(client)
        until(lambda: len(plain.statuses) > 1 or plain.failed)
    assert (plain.failed, plain.statuses) == ([], [200, 308])


class Plain(Visiting):
    """Asks `port` over HTTP all the time while its block runs, and follows no redirect."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.failed: list[str] = []
        self.statuses: list[int] = []  # as they change

    def run(self) -> None:
        while not self.over.wait(0.002):
            visitor = http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE)
            try:
                visitor.request('GET', '/', headers={'Host': pebble.NAME})
                status = visitor.getresponse().status
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(str(error))
                continue
            finally:
                visitor.close()
            if status not in self.statuses[-1:]:
                self.statuses.append(status)


@pytest.mark.parametrize('client', [
    pytest.param(client, marks=[pebble.needed(client),
                                *([] if client == 'certbot' else [pytest.mark.long])])
    for client in pebble.CLIENTS
])  # fmt: skip
def test_a_client_has_a_certificate_issued_and_renewed_while_visitors_come(
    operator: Operator, client: str
) -> None:
    made(operator, client)
    first = secure.shown(operator.https)
    with operator.visitor() as visitor:
        until(lambda: visitor.seen)
        operator.renew(client)
        assert secure.shown(operator.https) != first
        until(lambda: len(visitor.seen) > 1 or visitor.failed)
    assert (visitor.failed, len(visitor.seen)) == ([], 2), visitor.requests
    events = operator.deployment.events()
    assert [number for event, number in events if event == 'deployed'] == [1, 2, 3]


@pytest.mark.long
@pebble.needed('certbot')
def test_from_an_empty_folder_to_twenty_renewals_without_a_request_lost(
    deployment: Deployment, server: Pebble
) -> None:
    operator = Operator(deployment, server)
    operator.account('certbot')
    operator.configure('certbot', image='unix/latest')
    ours = (sys.executable, '-I', '-m', 'mirage_hooks')
    # the host, which is pushed to
    git(deployment.folder, 'init', '-q', '--bare', '-b', 'master', str(deployment.host))
    own = ('--config', str(deployment.config), '--no-cron')
    assert run(*ours, 'install', str(deployment.host), *own, cwd=deployment.folder).returncode == 0
    # the site, whose unikernel is built from an empty folder
    site = deployment.folder / 'empty'
    site.mkdir()
    words = ('--name', 'www', '--author', 'A Site', '--deployment', str(deployment.host))
    assert run(*ours, 'init', *words, cwd=site).returncode == 0
    git(site, 'init', '-q', '-b', 'master')
    git(site, 'add', '-A')
    git(site, 'commit', '-q', '-m', 'My site')
    built = site / '_mirage/dist/www'
    built.parent.mkdir(exist_ok=True)
    built.write_bytes(guests.build('tls', CACHE).read_bytes())
    built.chmod(0o755)
    done = run(*ours, 'publish', str(built), '--to', str(deployment.host), cwd=site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert deployment.page() == '1 \n'
    operator.order('certbot')

    def seen_by_both(number: int) -> None:
        until(lambda: one.failed + other.failed or len(one.seen) == len(other.seen) == number)

    with operator.visitor() as one, operator.visitor() as other:
        for number in range(1, 21):
            seen_by_both(number)
            operator.renew('certbot')
        seen_by_both(21)
    print(f'{one.requests} and {other.requests} requests, {len(set(one.seen))} certificates')
    assert (one.failed, other.failed) == ([], [])
    assert (len(one.seen), one.seen) == (21, other.seen)


@pytest.mark.long
@pebble.needed('lego', 'knotd')
def test_lego_answers_by_dns_while_the_image_is_not_asked(
    deployment: Deployment, tmp_path: Path
) -> None:
    with pebble.Knot(tmp_path / 'knot') as knot:
        server = Pebble(tmp_path / 'pebble', deployment.port, knot.place)
        try:
            deployment.publish(guests.build('tls', CACHE).read_bytes())
            deployment.clone()
            operator = Operator(deployment, server, resolver=knot.place)
            operator.environment['RFC2136_NAMESERVER'] = knot.place
            operator.configure('lego', acme=None)
            operator.run('mirage-hooks -C /srv/www-deployment deploy www')
            order = tls_page.by_dns()[-1].replace('127.0.0.1:53', knot.place).replace(
                'SECRET=…', f'SECRET={knot.secret}')
            operator.run(order)
            first = secure.shown(operator.https)
            with operator.visitor() as visitor:
                until(lambda: visitor.seen)
                operator.run(order.replace('run --run-hook', 'renew --days 30 --renew-hook'))
                until(lambda: len(visitor.seen) > 1 or visitor.failed)
            assert secure.shown(operator.https) != first
            assert (visitor.failed, len(visitor.seen)) == ([], 2)
        finally:
            server.end()


@pytest.mark.long
@pebble.needed('certbot')
def test_the_thumbprint_of_another_account_gets_no_certificate_and_the_site_goes_on(
    operator: Operator
) -> None:
    operator.account('certbot')
    operator.configure('certbot', acme={'thumbprint': 43 * 'x'})
    operator.run('mirage-hooks -C /srv/www-deployment deploy www')
    with pytest.raises(AssertionError, match='file from the server did not match'):
        operator.order('certbot')
    assert (operator.deployment.page(), operator.deployment.events()) == (
        '1 \n', [('deployed', 1)])
