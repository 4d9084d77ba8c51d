"""unix/socket with TLS: the pair of certificate and key, HTTPS, the answers to an ACME server."""

from __future__ import annotations

import base64
import http.client
import os
import ssl
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import guests
from tests.guests.scene import CACHE, Start, fetch, needs
from tests.patience import PATIENCE, until

pytestmark = [
    needs('gcc', 'curl', 'openssl'),
    pytest.mark.skipif(not guests.TLS.exists(), reason='needs libbearssl-dev'),
]
THUMBPRINT = 'LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ'
EC = ('ec', '-pkeyopt', 'ec_paramgen_curve:P-256')


def openssl(*words: str, given: bytes = b'') -> bytes:
    got = subprocess.run(('openssl', *words), input=given, capture_output=True)
    assert got.returncode == 0, got.stderr.decode()
    return got.stdout


def made(folder: Path, *algorithm: str, name: str = 'server') -> tuple[Path, Path]:
    """A certificate for localhost, signed by itself, and its key, as files."""
    folder.mkdir(exist_ok=True)
    chain, key = folder / f'{name}.pem', folder / f'{name}.key'
    openssl('req', '-x509', '-nodes', '-newkey', *algorithm, '-keyout', str(key), '-out',
            str(chain), '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost',
            '-days', '2')  # fmt: skip
    return chain, key


def pem(chain: Path, key: Path) -> tuple[str, str]:
    return argument('certificate', chain.read_bytes()), argument('key', key.read_bytes())


def der(chain: Path, key: Path) -> tuple[str, str]:
    whole = [
        ssl.PEM_cert_to_DER_cert(part.lstrip() + ssl.PEM_FOOTER)
        for part in chain.read_text().split(ssl.PEM_FOOTER)[:-1]
    ]
    secret = openssl('pkcs8', '-topk8', '-nocrypt', '-outform', 'DER', '-in', str(key))
    return argument('certificate', b''.join(whole)), argument('key', secret)


def argument(name: str, value: bytes) -> str:
    return f'--tls-{name}={base64.b64encode(value).decode()}'


@pytest.fixture
def image() -> str:
    return str(guests.build('tls', CACHE))


@pytest.fixture
def ports() -> tuple[int, int]:
    first = 20000 + os.getpid() % 10000 * 2
    return first, first + 1


@pytest.fixture
def begin(
    image: str, ports: tuple[int, int], start: Start, console: Callable[[], str]
) -> Start:
    """Starts it on both ports, and returns when it listens on the second."""

    def begun(*arguments: str) -> subprocess.Popen[bytes]:
        guest = start(image, f'--port={ports[0]}', f'--https-port={ports[1]}', *arguments)
        until(lambda: 'for HTTPS' in console())
        return guest

    return begun


@pytest.mark.parametrize('form', [pem, der])
@pytest.mark.parametrize('algorithm', [EC, ('ec', '-pkeyopt', 'ec_paramgen_curve:P-384'),
                                       ('rsa:2048',)], ids=['P-256', 'P-384', 'RSA'])  # fmt: skip
def test_it_serves_https_with_a_pair_in_either_form(
    tmp_path: Path, ports: tuple[int, int], begin: Start, console: Callable[[], str],
    form: Callable[..., tuple[str, str]], algorithm: tuple[str, ...],
) -> None:  # fmt: skip
    chain, key = made(tmp_path, *algorithm)
    begin(*form(chain, key))
    visit = ('curl', '--silent', '--show-error', '--cacert', str(chain))
    got = subprocess.run((*visit, f'https://localhost:{ports[1]}/'), capture_output=True)
    assert (got.stdout, got.stderr) == (b'1 \n', b'')
    assert fetch(f'http://localhost:{ports[0]}/') == '1 \n200'
    assert console() == (
        'Dual IPv4 and IPv6 socket stack: connect\n'
        f'listening on {ports[0]}/TCP\nlistening on {ports[1]}/TCP for HTTPS\n'
    )


def test_the_whole_chain_is_presented_in_its_order(
    tmp_path: Path, ports: tuple[int, int], begin: Start
) -> None:
    (first, key), (second, _) = made(tmp_path, *EC), made(tmp_path, *EC, name='other')
    chain = tmp_path / 'chain.pem'
    chain.write_text(first.read_text() + second.read_text())
    begin(*der(chain, key))
    said = openssl('s_client', '-connect', f'localhost:{ports[1]}', '-showcerts').decode()
    assert [part for part in chain.read_text().split('-----') if part in said] \
        == chain.read_text().split('-----')  # fmt: skip


def test_a_connection_is_kept_for_the_next_request(
    tmp_path: Path, ports: tuple[int, int], begin: Start
) -> None:
    chain, key = made(tmp_path, *EC)
    begin(*pem(chain, key))
    trusted = ssl.create_default_context(cafile=str(chain))
    visitor = http.client.HTTPSConnection('localhost', ports[1], timeout=PATIENCE, context=trusted)
    sockets = set()
    for _ in range(3):
        visitor.request('GET', '/')
        assert visitor.getresponse().read() == b'1 \n'
        sockets.add(visitor.sock)
    assert len(sockets) == 1
    visitor.request('GET', '/nowhere', headers={'Connection': 'close'})
    last = visitor.getresponse()
    assert (last.status, last.getheader('Connection'), last.read()) \
        == (404, 'close', b'not found\n')  # fmt: skip


def test_a_hundred_visitors_are_served_while_one_waits(
    tmp_path: Path, ports: tuple[int, int], begin: Start
) -> None:
    chain, key = made(tmp_path, *EC)
    begin(*pem(chain, key))
    trusted = ssl.create_default_context(cafile=str(chain))

    def visitor(path: str) -> http.client.HTTPSConnection:
        found = http.client.HTTPSConnection(
            'localhost', ports[1], timeout=PATIENCE, context=trusted
        )
        found.request('GET', path)
        return found

    waiting = visitor('/slow?ms=600000')
    with ThreadPoolExecutor(20) as pool:
        held = list(pool.map(visitor, ['/'] * 100))  # all of them open at once
        assert {one.getresponse().read() for one in held} == {b'1 \n'}
    waiting.close()


def test_a_visitor_who_speaks_no_tls_disturbs_nobody(
    tmp_path: Path, ports: tuple[int, int], begin: Start
) -> None:
    chain, key = made(tmp_path, *EC)
    begin(*pem(chain, key))
    plain = subprocess.run(('curl', '-s', '--http0.9', f'http://localhost:{ports[1]}/'))
    assert plain.returncode != 0
    assert fetch(f'https://localhost:{ports[1]}/', 'env', f'CURL_CA_BUNDLE={chain}') == '1 \n200'


def test_without_a_pair_it_serves_http_alone(
    image: str, ports: tuple[int, int], start: Start, console: Callable[[], str]
) -> None:
    start(image, f'--port={ports[0]}', '--redirect=true')
    assert fetch(f'http://localhost:{ports[0]}/') == '1 \n200'
    assert 'HTTPS' not in console()


@pytest.fixture
def wrong(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    (chain, key), (_, other) = made(tmp_path, *EC), made(tmp_path, *EC, name='other')
    certificate, secret = pem(chain, key)
    locked = openssl('pkcs8', '-topk8', '-passout', 'pass:x', '-in', str(key))
    return {
        'HTTPS wants both a certificate and its key': (certificate,),
        '--tls-certificate is no base64': ('--tls-certificate=-----BEGIN', secret),
        '--tls-certificate has no certificate': (argument('certificate', b'nothing'), secret),
        '--tls-key is no base64': (certificate, '--tls-key=!'),
        '--tls-key has no key': (certificate, argument('key', chain.read_bytes())),
        'the first certificate cannot be read':
            (argument('certificate', b'\x30\x03\x02\x01\x05'), secret),
        'the key cannot be read, or has a password': (certificate, argument('key', locked)),
        'the key is not that of the first certificate':
            (certificate, argument('key', other.read_bytes())),
    }  # fmt: skip


def test_it_ends_with_a_code_of_its_own_when_the_pair_is_wrong(
    image: str, wrong: dict[str, tuple[str, ...]]
) -> None:
    got = {
        reason: subprocess.run((image, *arguments), capture_output=True, timeout=PATIENCE)
        for reason, arguments in wrong.items()
    }
    assert {reason: (one.returncode, one.stderr.decode()) for reason, one in got.items()} \
        == {reason: (78, f'tls: {reason}\n') for reason in wrong}  # fmt: skip


def test_it_answers_the_challenges_of_an_acme_server_and_sends_the_rest_to_https(
    tmp_path: Path, ports: tuple[int, int], begin: Start
) -> None:
    begin(*pem(*made(tmp_path, *EC)), f'--acme-thumbprint={THUMBPRINT}', '--redirect=true')
    there = f'http://localhost:{ports[0]}'
    challenge = f'{there}/.well-known/acme-challenge'
    longest = 'a' * 126 + '-_'
    assert fetch(f'{challenge}/{longest}') == f'{longest}.{THUMBPRINT}200'
    assert fetch(f'{challenge}/{longest}a').endswith('404')
    assert fetch(f'{challenge}/a.b').endswith('404')
    assert fetch(f'{challenge}/').endswith('404')
    told = subprocess.run(('curl', '-si', f'{there}/a/b?c=d%20e'), capture_output=True, text=True)
    assert told.stdout.startswith('HTTP/1.1 308 ')
    assert f'\nLocation: https://localhost:{ports[1]}/a/b?c=d%20e\n' in told.stdout
    assert fetch(f'{there}/{"a" * 700}').endswith('404')  # too long for its room
    nameless = ('curl', '-so', '/dev/null', '-w', '%{http_code}', '-H', 'Host:', there)
    assert subprocess.run(nameless, capture_output=True).stdout == b'404'


@pytest.mark.parametrize('kind', ['socket', 'tls'])
def test_a_challenge_is_answered_without_tls_too(
    kind: str, ports: tuple[int, int], start: Start
) -> None:
    start(str(guests.build(kind, CACHE)), f'--port={ports[0]}', f'--acme-thumbprint={THUMBPRINT}')
    there = f'http://127.0.0.1:{ports[0]}'
    assert fetch(f'{there}/.well-known/acme-challenge/aT') == f'aT.{THUMBPRINT}200'
    assert fetch(f'{there}/') == '1 \n200'


def test_a_thumbprint_is_43_characters(image: str) -> None:
    got = subprocess.run((image, '--acme-thumbprint=abc'), capture_output=True)
    assert (got.returncode, got.stderr) == (64, b"option '--acme-thumbprint': invalid value\n")
