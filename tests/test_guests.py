"""The test guests boot for real: what the deployment's own tests lean on."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import guests

pytestmark = pytest.mark.skipif(shutil.which('gcc') is None, reason='gcc is missing')
CACHE = Path(__file__).parent.parent / '.cache' / 'guests'
SBIN = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'
Start = Callable[..., 'subprocess.Popen[bytes]']


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command with its output in `console`; ends it with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*command: str) -> subprocess.Popen[bytes]:
        with (tmp_path / 'console').open('wb') as console:
            running.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
                )
            )
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def console(tmp_path: Path) -> Callable[[], str]:
    # a serial line ends its lines in CR LF
    return lambda: (tmp_path / 'console').read_bytes().decode().replace('\r', '')


def until(found: Callable[[], object], within: float = 20) -> None:
    end = time.monotonic() + within
    while not found():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)


def fetch(url: str, *inside: str) -> str:
    """Body and status, tried for 20 s; `inside` is the command that enters the namespace."""
    command = (*inside, 'curl', '--silent', '--max-time', '5', '--write-out', '%{http_code}', url)
    end = time.monotonic() + 20
    while True:
        got = subprocess.run(command, capture_output=True, text=True)
        if got.returncode == 0 or time.monotonic() > end:
            assert got.returncode == 0, got
            return got.stdout
        time.sleep(0.05)


def needs(*commands: str, root: bool = False) -> pytest.MarkDecorator:
    missing = [c for c in commands if shutil.which(c, path=SBIN) is None]
    missing += ['root'] if root and os.geteuid() != 0 else []
    return pytest.mark.skipif(bool(missing), reason=f'needs {" and ".join(missing)}')


class TestSocket:
    @pytest.fixture
    def image(self) -> str:
        return str(guests.build('socket', CACHE))

    @pytest.fixture
    def port(self) -> int:
        return 20000 + os.getpid() % 20000

    def test_the_page_is_the_version_and_the_message(
        self, image: str, port: int, start: Start, console: Callable[[], str]
    ) -> None:
        start(image, '--ipv4=127.0.0.1/24', f'--port={port}', r'--message=hello\ "big world"')
        assert fetch(f'http://127.0.0.1:{port}/') == '1 hello big world\n200'
        assert console() == (f'Dual IPv4 and IPv6 socket stack: connect\nlistening on {port}/TCP\n')

    def test_the_vector_comes_back_one_token_per_line(
        self, image: str, port: int, start: Start
    ) -> None:
        start(image, f'--port={port}', '--status', '503', r"--message='\\\"é;$(x)", '')
        body = fetch(f'http://127.0.0.1:{port}/args')
        assert body == f'--port={port}\n--status\n503\n--message=\'\\"é;$(x)\n200'
        assert fetch(f'http://127.0.0.1:{port}/').endswith('503')

    def test_a_held_request_does_not_hold_the_others(
        self, image: str, port: int, start: Start
    ) -> None:
        start(image, f'--port={port}')
        fetch(f'http://127.0.0.1:{port}/')
        begin = time.monotonic()
        slow = subprocess.Popen(
            ('curl', '-s', f'http://127.0.0.1:{port}/slow?ms=700'), stdout=subprocess.PIPE
        )
        fetch(f'http://127.0.0.1:{port}/')
        assert time.monotonic() - begin < 0.6
        assert slow.communicate()[0] == b'1 \n'
        assert time.monotonic() - begin >= 0.7

    def test_another_build_is_other_bytes(self, image: str) -> None:
        other = guests.build('socket', CACHE, version='2')
        assert other.read_bytes() != Path(image).read_bytes()

    def test_a_second_build_is_the_first(self, image: str) -> None:
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
    def test_exit(self, image: str, arguments: list[str], code: int, said: str) -> None:
        got = subprocess.run((image, *arguments), capture_output=True, text=True, timeout=10)
        assert (got.returncode, got.stdout + got.stderr) == (code, said)

    def test_help_lists_the_options_it_has(self, image: str) -> None:
        got = subprocess.run((image, '--help=plain'), capture_output=True, text=True)
        assert got.returncode == 63
        assert [line.split('=')[0].strip() for line in got.stdout.splitlines()] == [
            '--ipv4', '--ipv4-only', '--port', '--message', '--status', '--fail',
        ]  # fmt: skip

    def test_hang_accepts_and_never_answers(
        self, image: str, port: int, start: Start, console: Callable[[], str]
    ) -> None:
        start(image, f'--port={port}', '--fail=hang')
        until(lambda: 'listening' in console())
        got = subprocess.run(('curl', '-s', '--max-time', '1', f'http://127.0.0.1:{port}/'))
        assert got.returncode == 28  # curl's time-out

    def test_silent_serves_without_a_word(
        self, image: str, port: int, start: Start, console: Callable[[], str]
    ) -> None:
        start(image, f'--port={port}', '--fail=silent')
        assert fetch(f'http://127.0.0.1:{port}/') == '1 \n200'
        assert console() == ''

    def test_flood_serves_and_never_stops_printing(
        self, image: str, port: int, start: Start, console: Callable[[], str]
    ) -> None:
        start(image, f'--port={port}', '--fail=flood')
        assert fetch(f'http://127.0.0.1:{port}/') == '1 \n200'
        until(lambda: len(console()) > 200_000)

    def test_late_serves_after_its_time(self, image: str, port: int, start: Start) -> None:
        begin = time.monotonic()
        start(image, f'--port={port}', '--fail=late:600')
        assert fetch(f'http://127.0.0.1:{port}/') == '1 \n200'
        assert time.monotonic() - begin >= 0.6

    def test_deaf_serves_on_after_sigterm(self, image: str, port: int, start: Start) -> None:
        process = start(image, f'--port={port}', '--fail=deaf')
        fetch(f'http://127.0.0.1:{port}/')
        process.terminate()
        assert fetch(f'http://127.0.0.1:{port}/') == '1 \n200'

    def test_without_deaf_sigterm_ends_it(self, image: str, port: int, start: Start) -> None:
        process = start(image, f'--port={port}')
        fetch(f'http://127.0.0.1:{port}/')
        process.terminate()
        assert process.wait(5) == -15
