"""What is asked of a release that has a certificate: that it presents this very one."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mirage_hooks import config
from mirage_hooks.config import doubts
from mirage_hooks.state import model, pair
from mirage_hooks.state.releases import Releases
from mirage_hooks.switching import asked, asking, certified
from tests.authority import Authority

CHAIN = ('a' * 64, 'b' * 64)
SERVED = model.Served(digest='x', chain=CHAIN)
PAIR = config.Certificate(chain='/c', key='/k')
SECURE = config.Health(http='https://www.example.org/')
PLAIN = config.Health(http='http://www.example.org/')


def unikernel(*health: config.Health, **keys: object) -> config.Unikernel:
    made = {'image': 'x', 'certificate': PAIR, 'health': health,
            'network': config.Socket(port=8080), **keys}
    return config.Unikernel(**made)  # type: ignore[arg-type]


def certain(question: config.Health, chain: tuple[str, ...] = CHAIN) -> asking.Certain:
    return asking.Certain(**{**msgspec.structs.asdict(question), 'presents': chain})


def release(folder: Path, served: model.Served | None, plan: bool = True) -> model.Release:
    """Release 1 below `folder`, started with what is `served`."""
    own = model.Certificate('/c', '/k') if plan else None
    made = model.Release(
        'www', 1, 'c', 'p', 'b', 'd', 1, 'unix', 'f', 'blue', 1.0,
        model.Plan('unix', (), certificate=own))
    if served is not None:
        from mirage_hooks.state import files

        files.write(Releases(folder).folder(1) / files.CERTIFICATE, served)
    return made


def test_with_a_certificate_questions_over_tls_want_it_and_others_are_as_they_were() -> None:
    insecure = msgspec.structs.replace(SECURE, insecure=True)
    found = certified.asked(unikernel(PLAIN, SECURE, insecure), SERVED)
    assert found.health == (PLAIN, certain(SECURE), insecure)
    assert found.fingerprint == unikernel().fingerprint


def test_without_one_nothing_is_asked_over_tls() -> None:
    found = certified.asked(unikernel(SECURE, PLAIN), model.Served(reason='x'))
    assert found.health == (PLAIN,)


def test_where_the_port_is_named_and_nothing_asked_over_tls_a_handshake_is() -> None:
    arguments = ('--https-port=8443',)
    by_socket = certified.asked(unikernel(arguments=arguments), SERVED)
    assert by_socket.health == (
        config.Health(tcp='127.0.0.1:8080'), certain(config.Health(tcp='127.0.0.1:8443')))
    static = config.Static(bridge='br0', ipv6='2001:db8::10/64')
    by_bridge = certified.asked(unikernel(PLAIN, arguments=arguments, network=static), SERVED)
    assert by_bridge.health == (PLAIN, certain(config.Health(tcp='[2001:db8::10]:8443')))
    direct = config.Direct(bridge='br0')
    by_dhcp = unikernel(PLAIN, arguments=arguments, network=direct)
    assert certified.asked(by_dhcp, SERVED).health == (PLAIN,)
    assert certified.asked(unikernel(PLAIN), SERVED).health == (PLAIN,)


def test_what_runs_is_asked_for_what_it_was_started_with(tmp_path: Path) -> None:
    releases, other = Releases(tmp_path), ('c' * 64,)
    wanted = unikernel(PLAIN, SECURE)
    new = certified.asked(wanted, SERVED)  # as a switch asks its successor
    for asked_for in (wanted, new):
        one = release(tmp_path, model.Served(digest='y', chain=other))
        found = certified.running(asked_for, releases, one)
        assert found.health == (PLAIN, certain(SECURE, other))
        one = release(tmp_path, model.Served(reason='x'))
        assert certified.running(asked_for, releases, one).health == (PLAIN,)
    one = release(tmp_path, None, plan=False)
    assert certified.running(new, releases, one).health == (PLAIN,)
    assert certified.running(wanted, releases, one).health == (PLAIN, SECURE)


def test_the_names_that_must_be_covered_are_those_asked_for() -> None:
    by_host = config.Health(http='https://127.0.0.1:8443/', host='www.example.com:8443')
    insecure = config.Health(http='https://www.example.net/', insecure=True)
    assert certified.hosts(unikernel(PLAIN, SECURE, by_host, insecure)) == (
        'www.example.org', 'www.example.com')


def test_a_trial_answers_it_on_its_stage_and_on_the_ports_that_it_alone_is_reached_at() -> None:
    wanted = certified.asked(
        unikernel(SECURE, arguments=('--port=80',)), SERVED)
    assert asked.on_stage(wanted, ('192.0.2.10',)).now == (certain(SECURE),)
    moved = certain(config.Health(http='https://127.0.0.1:18443/', host='www.example.org'))
    assert asked.on_port(wanted, 18080, {443: 18443, 8080: 18080}).now == (moved,)
    left = asked.on_port(wanted, 18080)
    assert (left.now, left.left) == ((config.Health(tcp='127.0.0.1:18080'),), (certain(SECURE),))


def test_a_question_at_the_port_for_https_is_no_doubt() -> None:
    question = config.Health(http='https://localhost/')
    told = [list(doubts.doubts(config.Settings(unikernels={'www': one}))) for one in (
        unikernel(question), unikernel(question, certificate=None))]
    assert told == [[], ['www: health: asks port 443, but network: has port 8080']]


@pytest.fixture
def presented(tmp_path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The port of a server that presents a chain of two, and that chain."""
    authority = Authority()
    authority.written(tmp_path, authority.issue())
    own = config.Certificate(chain=f'{tmp_path}/fullchain.pem', key=f'{tmp_path}/privkey.pem')
    found = pair.read(own)
    assert found is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.chain, own.key)
    server = socket.create_server(('127.0.0.1', 0))
    thread = threading.Thread(target=serve, args=(server, context))
    thread.start()
    yield server.getsockname()[1], found.served.chain
    server.shutdown(socket.SHUT_RDWR)
    thread.join()
    server.close()


def serve(server: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            visitor, _ = server.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(visitor, server_side=True) as secure:
                if request := secure.recv(4096):
                    host = request.partition(b'Host: ')[2].partition(b'\r\n')[0]
                    secure.sendall(b'HTTP/1.0 200 OK\r\n\r\n' + host)
        except OSError:
            continue


def test_only_this_very_chain_answers(presented: tuple[int, tuple[str, ...]]) -> None:
    port, chain = presented
    url = f'https://127.0.0.1:{port}/'
    page = config.Health(http=url, host='www.example.org', contains='www.example.org')

    def ask(question: config.Health) -> str:
        return asking.ask(question, lambda: '', 60, (), lambda: None)

    other = hashlib.sha256(b'').hexdigest()
    for place, question in ((url, page), (f'127.0.0.1:{port}', config.Health(
            tcp=f'127.0.0.1:{port}'))):
        assert ask(certain(question, chain)) == ''
        assert ask(certain(question, (other, *chain[1:]))) == (
            f'{place} presents another certificate than that of `certificate:`')
        assert ask(certain(question, (*chain, other))) == (
            f'{place} presents its certificate, but not the chain of `certificate:` behind it '
            '(2 of 3 certificates)')
    assert 'certificate verify failed' in ask(page)
