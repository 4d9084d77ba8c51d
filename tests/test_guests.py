"""The test guests boot for real: what the deployment's own tests lean on."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elftools.elf import elffile, segments

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


class Namespace:
    """A network namespace with a bridge (10.99.0.1/24) and a ready tap on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inside = ('ip', 'netns', 'exec', name)

    def __enter__(self) -> Namespace:
        run('ip', 'netns', 'add', self.name)
        try:
            for line in (
                'link set lo up',
                'link add br0 type bridge',
                'link set br0 address 02:00:00:00:00:01 up',
                'address add 10.99.0.1/24 dev br0',
                'tuntap add dev tap7 mode tap user root',
                'link set tap7 master br0 up',
            ):
                run('ip', '-n', self.name, *line.split())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        run('ip', 'netns', 'del', self.name)

    def fetch(self, url: str) -> str:
        return fetch(url, *self.inside)


def run(*command: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, 'PATH': SBIN})


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace(f'guest{os.getpid()}') as namespace:
        yield namespace


# every fifth IPv4 frame lost, on its way to the guest and from it
LOSSY = """
add table netdev lossy
add chain netdev lossy from { type filter hook ingress device tap7 priority 0; }
add chain netdev lossy to { type filter hook egress device tap7 priority 0; }
add rule netdev lossy from meta protocol ip numgen random mod 5 == 0 drop
add rule netdev lossy to meta protocol ip numgen random mod 5 == 0 drop
"""


@needs('ip', 'curl', 'setpriv', root=True)
class TestDirect:
    @pytest.fixture
    def image(self) -> str:
        return str(guests.build('direct', CACHE))

    # no capability at all: the tap is ours and up
    bare = ('setpriv', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs')

    def test_serves_on_a_ready_tap_without_privilege(
        self, image: str, namespace: Namespace, start: Start, console: Callable[[], str]
    ) -> None:
        start(*namespace.inside, *self.bare, image, '--interface=tap7', '--ipv4=10.99.0.2/24',
              '--mac=02:00:00:00:00:aa', '--message=direct', '--ipv4-only=true')  # fmt: skip
        assert namespace.fetch('http://10.99.0.2:8080/') == '1 direct\n200'
        assert console() == (
            'Dual TCP/IP stack assembled: mac=02:00:00:00:00:aa,ip=10.99.0.2/24\n'
            'listening on 8080/TCP\n'
        )

    def test_raises_a_tap_that_is_down(
        self, image: str, namespace: Namespace, start: Start
    ) -> None:
        run('ip', '-n', namespace.name, 'link', 'set', 'tap7', 'down')
        start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24')
        assert namespace.fetch('http://10.99.0.2:8080/') == '1 \n200'

    def test_a_tap_that_is_down_needs_privilege(self, image: str, namespace: Namespace) -> None:
        run('ip', '-n', namespace.name, 'link', 'set', 'tap7', 'down')
        command = (*namespace.inside, *self.bare, image, '--interface=tap7')
        got = subprocess.run(command, capture_output=True, text=True, timeout=10)
        assert (got.returncode, got.stderr) == (1, 'tap tap7: Operation not permitted\n')

    def test_the_mac_is_random_at_each_start(
        self, image: str, namespace: Namespace, start: Start, console: Callable[[], str]
    ) -> None:
        macs = set()
        for _ in range(2):
            guest = start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24')
            until(lambda: 'assembled' in console())
            macs.add(console().split('mac=')[1].split(',')[0])
            guest.terminate()
            guest.wait()
        assert len(macs) == 2

    def test_an_eight_kilobyte_answer_arrives_whole(
        self, image: str, namespace: Namespace, start: Start
    ) -> None:
        message = 'x' * 8000
        start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24',
              f'--message={message}')  # fmt: skip
        assert namespace.fetch('http://10.99.0.2:8080/') == f'1 {message}\n200'

    @needs('nft')
    def test_a_lossy_wire_delays_and_loses_nothing(
        self, image: str, namespace: Namespace, start: Start
    ) -> None:
        message = 'x' * 8000
        start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24',
              f'--message={message}')  # fmt: skip
        namespace.fetch('http://10.99.0.2:8080/')
        run(*namespace.inside, 'nft', LOSSY)
        for _ in range(5):
            assert namespace.fetch('http://10.99.0.2:8080/') == f'1 {message}\n200'

    def test_another_network_is_answered_through_the_gateway(
        self, image: str, namespace: Namespace, start: Start
    ) -> None:
        run('ip', '-n', namespace.name, 'address', 'add', '10.98.0.1/24', 'dev', 'lo')
        start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24',
              '--ipv4-gateway=10.99.0.1')  # fmt: skip
        far = ('curl', '-s', '--interface', '10.98.0.1', '--max-time', '5')
        namespace.fetch('http://10.99.0.2:8080/')
        got = subprocess.run(
            (*namespace.inside, *far, 'http://10.99.0.2:8080/'), capture_output=True
        )
        assert got.stdout == b'1 \n'

    def test_held_requests_and_new_ones_side_by_side(
        self, image: str, namespace: Namespace, start: Start
    ) -> None:
        start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24')
        namespace.fetch('http://10.99.0.2:8080/')
        held = [
            subprocess.Popen(
                (*namespace.inside, 'curl', '-s', 'http://10.99.0.2:8080/slow?ms=1500'),
                stdout=subprocess.PIPE,
            )
            for _ in range(20)
        ]
        for _ in range(20):
            assert namespace.fetch('http://10.99.0.2:8080/') == '1 \n200'
        assert [one.communicate()[0] for one in held] == [b'1 \n'] * 20

    @needs('ping')
    def test_answers_ping(self, image: str, namespace: Namespace, start: Start) -> None:
        start(*namespace.inside, image, '--interface=tap7', '--ipv4=10.99.0.2/24')
        namespace.fetch('http://10.99.0.2:8080/')
        run(*namespace.inside, 'ping', '-q', '-c1', '-W2', '10.99.0.2')

    def test_without_an_address_it_waits_for_dhcp_in_silence(
        self, image: str, namespace: Namespace, start: Start, console: Callable[[], str]
    ) -> None:
        guest = start(*namespace.inside, image, '--interface=tap7')
        time.sleep(1)
        assert (guest.poll(), console()) == (None, '')

    @needs('dnsmasq')
    def test_dhcp_leases_an_address(
        self, image: str, namespace: Namespace, start: Start, console: Callable[[], str]
    ) -> None:
        dnsmasq = subprocess.Popen(
            (*namespace.inside, 'dnsmasq', '--no-daemon', '--conf-file=/dev/null', '--port=0',
             '--interface=br0', '--bind-interfaces', '--dhcp-leasefile=/dev/null', '--user=root',
             '--dhcp-range=10.99.0.50,10.99.0.50,255.255.255.0,2m', '--pid-file='),
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            start(*namespace.inside, image, '--interface=tap7', '--mac=02:00:00:00:00:ab')
            assert namespace.fetch('http://10.99.0.50:8080/') == '1 \n200'
        finally:
            dnsmasq.terminate()
            dnsmasq.wait()
        assert console() == (
            'Lease obtained! IP: 10.99.0.50\n'
            'Dual TCP/IP stack assembled: mac=02:00:00:00:00:ab,ip=10.99.0.50/24\n'
            'listening on 8080/TCP\n'
        )


@needs('ip', 'curl', 'qemu-system-x86_64', root=True)
class TestVirtio:
    @pytest.fixture
    def image(self) -> str:
        return str(guests.build('virtio', CACHE))

    def command(self, image: str, arguments: str, *network: str) -> tuple[str, ...]:
        return (
            *('qemu-system-x86_64', '-m', '64', '-nodefaults', '-machine', 'acpi=off'),
            *('-display', 'none', '-serial', 'stdio', '-device', 'isa-debug-exit'),
            *(*network, '-kernel', image, '-append', arguments),
        )

    def on_tap(self, image: str, arguments: str) -> tuple[str, ...]:
        return self.command(
            image, arguments,
            '-device', 'virtio-net,netdev=n0,mac=02:00:00:00:00:bb',
            '-netdev', 'tap,id=n0,ifname=tap7,script=no,downscript=no',
        )  # fmt: skip

    def test_serves_under_qemu(
        self, image: str, namespace: Namespace, start: Start, console: Callable[[], str]
    ) -> None:
        arguments = r'--ipv4=10.99.0.2/24 --ipv4-gateway=10.99.0.1 "--message=a \"b\" é"  --port=80'
        start(*namespace.inside, *self.on_tap(image, arguments))
        assert namespace.fetch('http://10.99.0.2/') == '1 a "b" é\n200'
        assert namespace.fetch('http://10.99.0.2/args') == (
            '--ipv4=10.99.0.2/24\n--ipv4-gateway=10.99.0.1\n--message=a "b" é\n--port=80\n200'
        )
        assert console() == (
            'Dual TCP/IP stack assembled: mac=02:00:00:00:00:bb,ip=10.99.0.2/24\n'
            'listening on 80/TCP\n'
        )

    def test_a_long_answer_and_many_requests(
        self, image: str, namespace: Namespace, start: Start
    ) -> None:
        message = 'x' * 8000
        start(*namespace.inside, *self.on_tap(image, f'--ipv4=10.99.0.2/24 --message={message}'))
        for _ in range(300):  # more than the rings hold
            assert namespace.fetch('http://10.99.0.2:8080/') == f'1 {message}\n200'

    def test_its_clock_keeps_time(self, image: str, namespace: Namespace, start: Start) -> None:
        start(*namespace.inside, *self.on_tap(image, '--ipv4=10.99.0.2/24'))
        namespace.fetch('http://10.99.0.2:8080/')
        begin = time.monotonic()
        assert namespace.fetch('http://10.99.0.2:8080/slow?ms=1000') == '1 \n200'
        assert 0.9 < time.monotonic() - begin < 3

    @pytest.mark.parametrize(
        ('arguments', 'said'),
        [
            ('--bogus', "unknown option '--bogus'\n"),
            ('--interface=0', "unknown option '--interface=0'\n"),
            ('"--message=', 'command line: unterminated quote\n'),
            ('--fail=exit:3', ''),
            ('--fail=crash', 'Solo5: ABORT\n'),
            ('--ipv4=10.0.0.2/24', 'no virtio network\n'),
        ],
    )
    def test_every_exit_is_83(self, image: str, arguments: str, said: str) -> None:
        got = subprocess.run(
            self.command(image, arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
        )
        assert (got.returncode, got.stdout.decode().replace('\r', '')) == (83, said)

    def test_says_what_it_is(self, image: str) -> None:
        with Path(image).open('rb') as stream:
            notes = [
                (note['n_name'], note['n_type'], note['n_descdata'])
                for segment in elffile.ELFFile(stream).iter_segments()
                if isinstance(segment, segments.NoteSegment)
                for note in segment.iter_notes()
            ]
        reserved = bytes(68) + struct.pack('<I', 1 << 30) + bytes(32)
        service = b'service'.ljust(68, b'\0') + struct.pack('<I', 2) + bytes(32)
        assert notes == [
            ('Solo5', 0x31494241, struct.pack('<4I', 3, 1, 0, 0)),
            ('Solo5', 0x3154464D, struct.pack('<3I', 0, 1, 2) + reserved + service),
        ]
