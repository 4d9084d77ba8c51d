"""Two releases listen on one port of this host: neither a good image nor a bad one costs a
request."""

from __future__ import annotations

import re
import shutil
import socket
import time
from pathlib import Path

import pytest

from mirage_hooks.host import facts, sharing
from mirage_hooks.switching import drain, launcher
from tests.deployment import PYTHON, Deployment, free_port, git
from tests.patience import PATIENCE, until
from tests.visiting import Visiting

TROUBLE = sharing.trouble()
pytestmark = pytest.mark.skipif(bool(TROUBLE), reason=TROUBLE or 'nothing')
SWITCHES = 5

# Answers as late as its visitor wants, and several at once; at each address, but only once it
# listens at all of them: what begins to listen after it was proved is tried by itself.
SLOW = """#!{python} -IS
import socket, sys, threading, time
flags = dict(argument.partition('=')[::2] for argument in sys.argv[1:])
def serve(server):
    while True:
        visitor, _ = server.accept()
        threading.Thread(target=answer, args=(visitor,), daemon=True).start()
def answer(visitor):
    with visitor:
        while b'\\r\\n\\r\\n' not in (said := visitor.recv(4096)):
            if not said:
                return
        visitor.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n{page}')
{before}
servers = []
for address in {addresses}:
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    servers.append(socket.create_server((address, int(flags['--port'])), family=family))
for server in servers:
    threading.Thread(target=serve, args=(server,)).start()
{after}
"""


def slow(page: str, before: str = '', after: str = '', *addresses: str) -> bytes:
    return SLOW.format(python=PYTHON, page=page, before=before, after=after,
                       addresses=addresses or ('127.0.0.1',)).encode()


class Visitors(Visiting):
    """Ask `address` all the time while the block runs; what they were answered."""

    def __init__(self, port: int, address: str = '127.0.0.1') -> None:
        super().__init__(port)
        self.place = address, port
        self.answers: list[str] = []

    def run(self) -> None:
        while not self.over.wait(0.002):
            try:
                with socket.create_connection(self.place, PATIENCE) as connection:
                    self.answers.append(finish(connection))
            except OSError as error:
                self.answers.append(str(error))


def finish(connection: socket.socket) -> str:
    """Send the request; the page, '' when there is none."""
    connection.sendall(b'GET / HTTP/1.0\r\n\r\n')
    answer = b''
    while piece := connection.recv(65536):
        answer += piece
    return answer.partition(b'\r\n\r\n')[2].decode()


@pytest.fixture
def slowly(deployment: Deployment) -> Deployment:
    """A host's clone that serves `page 1`."""
    deployment.publish(slow('page 1'), f'{1:040x}')
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout
    return deployment


def switched(deployment: Deployment, number: int, image: bytes = b'') -> str:
    """What pulling image `number` says."""
    deployment.publish(image or slow(f'page {number}'), f'{number:040x}')
    return re.sub(r'(?m)^ *\d+\.\d\d s +', '', deployment.pull().stderr)


def listening(deployment: Deployment) -> list[int]:
    """The releases that listen on the port, in order."""
    releases = deployment.state().of('www')
    return [one.number for number in releases.numbers()
            if (one := releases.release(number)) and launcher.listening(releases, one)]


def test_a_switch_costs_no_request_and_keeps_what_is_open(slowly: Deployment) -> None:
    with Visitors(slowly.port) as visitors:
        for number in range(2, 2 + SWITCHES):
            with socket.create_connection(('127.0.0.1', slowly.port)) as kept:
                said = switched(slowly, number)
                assert f'www: starting release {number} next to release {number - 1}' in said
                assert re.search(rf'www: new connections go to release {number}, switched in '
                                 r'\d+\.\d ms', said)
                assert slowly.page() == f'page {number}'
                assert finish(kept) == f'page {number - 1}'
    pages = {f'page {number}' for number in range(1, 2 + SWITCHES)}
    assert set(visitors.answers) == pages
    # Nobody came to one that was not the live one any more.
    assert visitors.answers == sorted(visitors.answers)
    assert listening(slowly) == list(range(1, 2 + SWITCHES))


@pytest.mark.parametrize(('image', 'why'), [
    (slow('bad', before='sys.exit(2)'), 'it ended with exit code 2'),
    (slow('bad', after='import os; os._exit(2)'), 'it ended with exit code 2'),
    (slow('bad').replace(b'200 OK', b'500 Oh'), 'answered 500'),
    (slow('bad').replace(b'visitor.sendall', b'time.sleep'), 'did not answer'),
    (slow('bad').replace(b'server.accept()', b'time.sleep(600)'), 'did not answer'),
    (slow('bad', before='time.sleep(600)'), 'it did not listen on port PORT within 2s'),
], ids=['ends', 'listens and ends', 'fails', 'crashes', 'hangs', 'does not listen'])
def test_a_bad_image_gets_no_visitor(slowly: Deployment, image: bytes, why: str) -> None:
    health = {'http': f'http://127.0.0.1:{slowly.port}/', 'within': '2s'}
    slowly.configure(health=health)
    with Visitors(slowly.port) as visitors:
        said = switched(slowly, 2, image)
    assert 'REFUSED: ' in said and why.replace('PORT', str(slowly.port)) in said
    assert set(visitors.answers) == {'page 1'}
    assert listening(slowly) == [1]
    assert 'www: starting release 3 next to release 1' in switched(slowly, 3)
    assert slowly.page() == 'page 3'


def test_when_it_ends_within_confirm_the_old_one_has_everything_again(slowly: Deployment) -> None:
    slowly.configure(confirm='10s')
    before = 'import os; threading.Timer(1.5, lambda: os._exit(2)).start()'
    with Visitors(slowly.port) as visitors:
        said = switched(slowly, 2, slow('page 2', before))
        assert 'REFUSED: it ended with exit code 2' in said
        assert slowly.page() == 'page 1'
        time.sleep(0.2)
    assert 'page 2' in visitors.answers
    assert set(visitors.answers[-20:]) == {'page 1'}
    assert listening(slowly) == [1]


def test_with_several_kept_a_crash_gives_all_to_the_one_before(slowly: Deployment) -> None:
    switched(slowly, 2)
    slowly.configure(confirm='10s')
    before = 'import os; threading.Timer(1.5, lambda: os._exit(2)).start()'
    switched(slowly, 3, slow('page 3', before))
    assert {slowly.page() for _ in range(20)} == {'page 2'}
    assert listening(slowly) == [1, 2]


@pytest.mark.parametrize('address', ['0.0.0.0', '::1', '::'])
def test_ipv6_and_all_addresses_are_switched_as_well(
    deployment: Deployment, address: str
) -> None:
    if ':' in address and not Path('/proc/net/if_inet6').exists():
        pytest.skip('no IPv6 here')
    asked = {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(address, address)
    deployment.configure(health={'tcp': f'[::1]:{deployment.port}' if ':' in address else
                                 f'127.0.0.1:{deployment.port}'})
    deployment.publish(slow('page 1', '', '', address), f'{1:040x}')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    with Visitors(deployment.port, asked) as visitors:
        for number in range(2, 4):
            said = switched(deployment, number, slow(f'page {number}', '', '', address))
            assert f'www: new connections go to release {number}' in said
        broken = slow('bad', '', '', address).replace(b'server.accept()', b'time.sleep(600)')
        assert 'REFUSED' in switched(deployment, 4, broken)
    assert set(visitors.answers) == {'page 1', 'page 2', 'page 3'}


def test_several_listeners_are_switched_together(deployment: Deployment) -> None:
    if not Path('/proc/net/if_inet6').exists():
        pytest.skip('no IPv6 here')
    deployment.publish(slow('page 1', '', '', '127.0.0.1', '::1'), f'{1:040x}')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    with Visitors(deployment.port) as four, Visitors(deployment.port, '::1') as six:
        said = switched(deployment, 2, slow('page 2', '', '', '127.0.0.1', '::1'))
    assert 'www: new connections go to release 2' in said
    for visitors in (four, six):
        assert visitors.answers == sorted(visitors.answers)
        assert set(visitors.answers) == {'page 1', 'page 2'}


def test_several_ports_of_one_image_are_switched_together(deployment: Deployment) -> None:
    """As a site with TLS has them."""
    second = free_port()
    also = (f"server = socket.create_server(('127.0.0.1', {second}))\n"
            'threading.Thread(target=serve, args=(server,), daemon=True).start()')
    deployment.publish(slow('page 1', also), f'{1:040x}')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    with Visitors(deployment.port) as one, Visitors(second) as other:
        for number in range(2, 5):
            said = switched(deployment, number, slow(f'page {number}', also))
            assert f'www: new connections go to release {number}' in said
    for visitors in (one, other):
        assert visitors.answers == sorted(visitors.answers)
        assert set(visitors.answers) == {f'page {number}' for number in range(1, 5)}


def test_a_port_that_is_opened_while_the_first_release_is_watched_is_shared_too(
    deployment: Deployment
) -> None:
    deployment.configure(confirm='3s')
    late = f"time.sleep(0.5); serve(socket.create_server(('127.0.0.1', {free_port()})))"
    deployment.publish(slow('page 1', after=late), f'{1:040x}')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    deployment.configure()
    assert 'www: new connections go to release 2' in switched(
        deployment, 2, slow('page 2', after=late))
    assert deployment.page() == 'page 2'


def test_after_a_rollback_in_time_nothing_is_started(slowly: Deployment) -> None:
    switched(slowly, 2)
    switched(slowly, 3)
    before = {process.pid for _, process in slowly.processes()}
    with Visitors(slowly.port) as visitors:
        done = slowly.mirage('rollback', 'www', '1')
        assert slowly.page() == 'page 1'
        done = slowly.mirage('rollback', 'www', '2')
    assert 'next to' not in done.stdout + done.stderr
    assert {process.pid for _, process in slowly.processes()} == before
    assert slowly.page() == 'page 2'
    assert set(visitors.answers) <= {'page 3', 'page 1', 'page 2'}


def test_what_is_over_is_ended_and_the_others_are_told_apart_still(slowly: Deployment) -> None:
    slowly.configure(drain='2s')
    with Visitors(slowly.port) as visitors:
        switched(slowly, 2)
        slowly.configure(drain='300s')
        switched(slowly, 3)
        until(lambda: listening(slowly) == [2, 3])  # release 1 is over
        switched(slowly, 4)
        assert listening(slowly) == [2, 3, 4]
        assert {slowly.page() for _ in range(20)} == {'page 4'}
    assert set(visitors.answers) == {f'page {number}' for number in range(1, 5)}


def test_one_that_ends_by_itself_while_it_is_kept_costs_nothing_to_the_next(
    slowly: Deployment
) -> None:
    for number in (2, 3):
        switched(slowly, number)
    slowly.dismiss()
    gone = slowly.state().of('www').folder(1)
    for mark, process in slowly.processes():
        if mark == gone:
            process.kill()
    until(lambda: listening(slowly) == [2, 3])
    assert 'www: new connections go to release 4' in switched(slowly, 4)
    assert {slowly.page() for _ in range(20)} == {'page 4'}


def test_who_gets_what_is_unknown_when_two_ended_so_the_others_are_ended_as_well(
    slowly: Deployment
) -> None:
    for number in (2, 3, 4):
        switched(slowly, number)
    slowly.dismiss()
    for mark, process in slowly.processes():
        if mark.name in ('1', '2'):
            process.kill()
    until(lambda: listening(slowly) == [3, 4])
    slowly.mirage('deploy')
    assert listening(slowly) == [4]
    assert {slowly.page() for _ in range(20)} == {'page 4'}


def test_switched_off_the_old_one_stops_first(slowly: Deployment) -> None:
    slowly.configure(switch='replace')
    said = switched(slowly, 2)
    assert 'www: trying release 2 on a spare port\n' in said
    assert 'www: stopping release 1\n' in said
    assert 'next to' not in said
    assert listening(slowly) == [2]


@pytest.mark.parametrize('dry', [True, False])
def test_after_an_older_version_of_ours_the_old_one_stops_first_and_it_is_said(
    slowly: Deployment, dry: bool
) -> None:
    (slowly.state().of('www').folder(1) / 'shared.json').unlink()
    why = 'release 1 was started without sharing its port'
    if dry:
        slowly.publish(slow('page 2'), f'{2:040x}')
        git(slowly.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
        assert f'release 1 stops first: {why}' in slowly.mirage('deploy', '--dry-run').stdout
        return
    said = switched(slowly, 2)
    assert f'www: release 2 cannot listen next to release 1: {why}\n' in said
    assert 'www: stopping release 1\n' in said
    assert 'www: new connections go to release 3' in switched(slowly, 3)


def test_the_dry_run_says_that_both_will_listen(slowly: Deployment) -> None:
    slowly.publish(slow('page 2'), f'{2:040x}')
    git(slowly.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
    said = slowly.mirage('deploy', '--dry-run').stdout
    assert 'next to release 1, which keeps its connections' in said


@pytest.mark.parametrize(('addition', 'why'), [
    ('socket.socket(type=socket.SOCK_DGRAM).bind(("127.0.0.1", int(flags["--port"]) + 4000))',
     'it also uses UDP port {other}, which two cannot share'),
    ('late = socket.create_server(("127.0.0.2", int(flags["--port"])))',
     'release 1 does not listen as it did when it was started'),
], ids=['UDP', 'another listener later'])
def test_what_cannot_be_shared_is_said(deployment: Deployment, addition: str, why: str) -> None:
    udp = 'DGRAM' in addition
    deployment.publish(
        slow('page 1', addition if udp else '', '' if udp else f'time.sleep(2)\n{addition}'),
        f'{1:040x}')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    until(lambda: udp or len(deployment_listeners(deployment)) == 2)
    said = switched(deployment, 2)
    why = why.format(other=deployment.port + 4000)
    assert f'www: release 2 cannot listen next to release 1: {why}\n' in said
    assert 'www: trying release 2 on a spare port\n' in said
    assert deployment.page() == 'page 2'


def deployment_listeners(deployment: Deployment) -> list[object]:
    releases = deployment.state().of('www')
    return list(launcher.listening(releases, deployment.current()))


def test_one_that_listens_elsewhere_is_tried_and_takes_the_place_of_the_old_one(
    slowly: Deployment
) -> None:
    said = switched(slowly, 2, slow('page 2', '', '', '0.0.0.0'))
    assert (f'www: release 2 cannot listen next to release 1: it listens at '
            f'0.0.0.0:{slowly.port}\n'
            'www: trying release 2 on a spare port\n'
            'www: stopping release 1\n') in said
    assert slowly.page() == 'page 2'


TWO = ('127.0.0.1', '127.0.0.2')


def test_one_that_listens_at_more_places_is_followed_side_by_side_as_well(
    slowly: Deployment
) -> None:
    """As a site that has its first certificate, or got a port more."""
    switched(slowly, 2, slow('page 2', '', '', *TWO))
    with Visitors(slowly.port) as one, Visitors(slowly.port, TWO[1]) as other:
        for number in (3, 4):
            said = switched(slowly, number, slow(f'page {number}', '', '', *TWO))
            assert f'www: new connections go to release {number}' in said
    for visitors in (one, other):
        assert visitors.answers == sorted(visitors.answers)
        assert set(visitors.answers) == {'page 2', 'page 3', 'page 4'}
    slowly.dismiss()
    gone = slowly.state().of('www').folder(1)
    for mark, process in slowly.processes():  # the kernel's numbers change at one place alone
        if mark == gone:
            process.kill()
    until(lambda: listening(slowly) == [2, 3, 4])
    said = switched(slowly, 5, slow('page 5', '', '', *TWO))
    assert 'www: new connections go to release 5' in said
    for address in TWO:
        for _ in range(20):
            with socket.create_connection((address, slowly.port)) as connection:
                assert finish(connection) == 'page 5'


def test_to_go_back_to_one_that_listens_at_fewer_places_the_newer_one_stops_first(
    slowly: Deployment
) -> None:
    switched(slowly, 2, slow('page 2', '', '', *TWO))
    done = slowly.mirage('rollback', 'www')
    assert done.returncode == 0
    assert (f'release 1 cannot listen next to release 2: release 1 does not listen at '
            f'127.0.0.2:{slowly.port}, as release 2 does') in done.stdout + done.stderr
    assert {slowly.page() for _ in range(20)} == {'page 1'}


def test_killed_between_the_switch_and_the_pointer_the_old_one_gets_all_again(
    slowly: Deployment
) -> None:
    switched(slowly, 2)
    slowly.dismiss()
    slowly.state().of('www').point(1)  # so is the state then, and what is new goes to release 2
    assert slowly.page() == 'page 2'
    state = slowly.state()
    drain.tidy(state, facts.owner(state.root))  # as every converge begins
    assert {slowly.page() for _ in range(20)} == {'page 1'}
    assert listening(slowly) == [1]


@pytest.mark.skipif(not shutil.which('bwrap'), reason='bubblewrap is missing')
def test_a_person_who_restarts_it_waits_for_no_connection(slowly: Deployment) -> None:
    switched(slowly, 2)
    assert slowly.mirage('stop', 'www').returncode == 0
    assert listening(slowly) == []
    assert slowly.mirage('start', 'www').returncode == 0
    assert slowly.page() == 'page 2'
    assert 'www: new connections go to release 3' in switched(slowly, 3)
