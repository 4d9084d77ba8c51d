"""unix/socket: the command line, the pages and the misbehaviours."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests import guests
from tests.guests.scene import CACHE, Start, fetch, needs
from tests.patience import PATIENCE, until

pytestmark = needs('gcc', 'curl')


@pytest.fixture
def image() -> str:
    return str(guests.build('socket', CACHE))


@pytest.fixture
def port() -> int:
    return 20000 + os.getpid() % 20000


def test_the_page_is_the_version_and_the_message(
    image: str, port: int, start: Start, console: Callable[[], str]
) -> None:
    start(image, '--ipv4=127.0.0.1/24', f'--port={port}', r'--message=hello\ "big world"')
    assert fetch(f'http://127.0.0.1:{port}/') == '1 hello big world\n200'
    assert console() == (f'Dual IPv4 and IPv6 socket stack: connect\nlistening on {port}/TCP\n')


def test_the_vector_comes_back_one_token_per_line(image: str, port: int, start: Start) -> None:
    start(image, f'--port={port}', '--status', '503', r"--message='\\\"é;$(x)", '')
    body = fetch(f'http://127.0.0.1:{port}/args')
    assert body == f'--port={port}\n--status\n503\n--message=\'\\"é;$(x)\n200'
    assert fetch(f'http://127.0.0.1:{port}/').endswith('503')


def test_a_held_request_does_not_hold_the_others(image: str, port: int, start: Start) -> None:
    start(image, f'--port={port}')
    fetch(f'http://127.0.0.1:{port}/')
    begin = time.monotonic()
    slow = subprocess.Popen(
        ('curl', '-s', f'http://127.0.0.1:{port}/slow?ms=3000'), stdout=subprocess.PIPE
    )
    fetch(f'http://127.0.0.1:{port}/')
    assert slow.poll() is None
    assert slow.communicate()[0] == b'1 \n'
    assert time.monotonic() - begin >= 3


def test_another_build_is_other_bytes(image: str) -> None:
    other = guests.build('socket', CACHE, version='2')
    assert other.read_bytes() != Path(image).read_bytes()


def test_a_second_build_is_the_first(image: str) -> None:
    assert str(guests.build('socket', CACHE)) == image


@pytest.mark.parametrize(
    ('arguments', 'code', 'said'),
    [
        (['--bogus=1'], 64, "unknown option '--bogus=1'\n"),
        (['--ipv4-gateway=10.0.0.1'], 64, "unknown option '--ipv4-gateway=10.0.0.1'\n"),
        (['--message=hello blue'], 64, "unknown option 'blue'\n"),
        (['--ipv4-only'], 64, "option '--ipv4-only': needs an argument\n"),
        (['--ipv4=10.0.0.1'], 64, "option '--ipv4': invalid value\n"),
        (['--port=1', '--port=1'], 64, "option '--port' cannot be repeated\n"),
        (['--message="x'], 64, 'command line: unterminated quote\n'),
        (['--fail=exit:7'], 7, ''),
        (['--fail=crash'], -6, ''),
    ],
)
def test_exit(image: str, arguments: list[str], code: int, said: str) -> None:
    got = subprocess.run((image, *arguments), capture_output=True, text=True, timeout=PATIENCE)
    assert (got.returncode, got.stdout + got.stderr) == (code, said)


def test_help_lists_the_options_it_has(image: str) -> None:
    got = subprocess.run((image, '--help=plain'), capture_output=True, text=True)
    assert got.returncode == 63
    assert [line.split('=')[0].strip() for line in got.stdout.splitlines()] == [
        '--ipv4', '--ipv4-only', '--port', '--message', '--dns', '--status', '--fail', '--first',
        '--threads', '--acme-thumbprint',
    ]  # fmt: skip


def test_hang_accepts_and_never_answers(
    image: str, port: int, start: Start, console: Callable[[], str]
) -> None:
    start(image, f'--port={port}', '--fail=hang')
    until(lambda: 'listening' in console())
    got = subprocess.run(('curl', '-s', '--max-time', '1', f'http://127.0.0.1:{port}/'))
    assert got.returncode == 28  # curl's time-out


def test_silent_serves_without_a_word(
    image: str, port: int, start: Start, console: Callable[[], str]
) -> None:
    start(image, f'--port={port}', '--fail=silent')
    assert fetch(f'http://127.0.0.1:{port}/') == '1 \n200'
    assert console() == ''


def test_flood_serves_and_never_stops_printing(
    image: str, port: int, start: Start, console: Callable[[], str]
) -> None:
    start(image, f'--port={port}', '--fail=flood')
    assert fetch(f'http://127.0.0.1:{port}/') == '1 \n200'
    until(lambda: len(console()) > 200_000)


def test_late_serves_after_its_time(image: str, port: int, start: Start) -> None:
    begin = time.monotonic()
    start(image, f'--port={port}', '--fail=late:600')
    assert fetch(f'http://127.0.0.1:{port}/') == '1 \n200'
    assert time.monotonic() - begin >= 0.6


def test_the_first_answer_after_the_start_comes_late_and_the_others_do_not(
    image: str, port: int, start: Start, console: Callable[[], str]
) -> None:
    start(image, f'--port={port}', '--first=3000')
    until(lambda: 'listening' in console())
    begin = time.monotonic()
    curl = ('curl', '-s', f'http://127.0.0.1:{port}/')
    with subprocess.Popen(curl, stdout=subprocess.PIPE) as first:
        time.sleep(0.5)  # it has asked; what follows may come at any time
        assert fetch(f'http://127.0.0.1:{port}/') == '1 \n200'
        assert first.poll() is None
        assert first.communicate()[0] == b'1 \n'
    assert time.monotonic() - begin >= 3


@needs('prlimit')
def test_memory_that_is_eaten_up_ends_it(image: str) -> None:
    command = ('prlimit', '--data=64000000', image, '--fail=memory')
    got = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (got.returncode, got.stderr) == (2, 'Fatal error: exception Out of memory\n')


@needs('prlimit')
def test_it_eats_on_request_until_there_is_no_more(
    image: str, port: int, start: Start, console: Callable[[], str]
) -> None:
    guest = start('prlimit', '--data=64000000', image, f'--port={port}')
    for _ in range(2):
        assert fetch(f'http://127.0.0.1:{port}/eat?mb=20') == '1 \n200'
    assert guest.poll() is None
    subprocess.run(('curl', '-s', f'http://127.0.0.1:{port}/eat?mb=40'))
    assert guest.wait(PATIENCE) == 2
    assert console().endswith('/TCP\nFatal error: exception Out of memory\n')


@needs('prlimit')
@pytest.mark.parametrize(('limit', 'said'), [
    ('unlimited', ''),
    ('64000000', 'netif write errored: Unix.Unix_error(Unix.EAGAIN, "launch_thread", "")\n'),
])  # fmt: skip
def test_the_stacks_of_threads_count_as_data(
    image: str, port: int, start: Start, console: Callable[[], str], limit: str, said: str
) -> None:
    guest = start('prlimit', f'--data={limit}', image, f'--port={port}', '--threads=20')
    assert fetch(f'http://127.0.0.1:{port}/') == '1 \n200'
    assert console().startswith(said + 'Dual IPv4')
    assert (psutil.Process(guest.pid).num_threads() < 21) is bool(said)


def test_deaf_serves_on_after_sigterm(image: str, port: int, start: Start) -> None:
    process = start(image, f'--port={port}', '--fail=deaf')
    fetch(f'http://127.0.0.1:{port}/')
    process.terminate()
    assert fetch(f'http://127.0.0.1:{port}/') == '1 \n200'


def test_without_deaf_sigterm_ends_it(image: str, port: int, start: Start) -> None:
    process = start(image, f'--port={port}')
    fetch(f'http://127.0.0.1:{port}/')
    process.terminate()
    assert process.wait(PATIENCE) == -15
