"""virtio: the same stack on bare metal, under QEMU."""

from __future__ import annotations

import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf import elffile, segments

from tests import guests
from tests.guests.scene import CACHE, Namespace, Start, needs, run
from tests.patience import PATIENCE

pytestmark = needs('gcc', 'ip', 'curl', 'qemu-system-x86_64', root=True)


@pytest.fixture
def image() -> str:
    return str(guests.build('virtio', CACHE))


def command(image: str, arguments: str, *network: str) -> tuple[str, ...]:
    return (
        *('qemu-system-x86_64', '-m', '64', '-nodefaults', '-machine', 'acpi=off'),
        *('-display', 'none', '-serial', 'stdio', '-device', 'isa-debug-exit'),
        *(*network, '-kernel', image, '-append', arguments),
    )


def on_tap(image: str, arguments: str) -> tuple[str, ...]:
    return command(
        image, arguments,
        '-device', 'virtio-net,netdev=n0,mac=02:00:00:00:00:bb',
        '-netdev', 'tap,id=n0,ifname=tap7,script=no,downscript=no',
    )  # fmt: skip


def test_serves_under_qemu(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    arguments = r'--ipv4=10.99.0.2/24 --ipv4-gateway=10.99.0.1 "--message=a \"b\" é"  --port=80'
    start(*namespace.inside, *on_tap(image, arguments))
    assert namespace.fetch('http://10.99.0.2/') == '1 a "b" é\n200'
    assert namespace.fetch('http://10.99.0.2/args') == (
        '--ipv4=10.99.0.2/24\n--ipv4-gateway=10.99.0.1\n--message=a "b" é\n--port=80\n200'
    )
    assert console() == (
        'Dual TCP/IP stack assembled: mac=02:00:00:00:00:bb,ip=10.99.0.2/24\nlistening on 80/TCP\n'
    )


def test_serves_ipv6_under_qemu(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    run('ip', '-n', namespace.name, 'address', 'add', 'fd77::1/64', 'dev', 'br0', 'nodad')
    start(*namespace.inside, *on_tap(image, '--ipv6=fd77::2/64 --ipv6-only=true'))
    assert namespace.fetch('http://[fd77::2]:8080/') == '1 \n200'
    assert 'ip=fd77::2/64, fe80::ff:fe00:bb/64\n' in console()


def test_a_long_answer_and_many_requests(image: str, namespace: Namespace, start: Start) -> None:
    message = 'x' * 8000
    start(*namespace.inside, *on_tap(image, f'--ipv4=10.99.0.2/24 --message={message}'))
    for _ in range(300):  # more than the rings hold
        assert namespace.fetch('http://10.99.0.2:8080/') == f'1 {message}\n200'


def test_it_eats_of_the_memory_that_it_was_given(
    image: str, namespace: Namespace, start: Start, console: Callable[[], str]
) -> None:
    guest = start(*namespace.inside, *on_tap(image, '--ipv4=10.99.0.2/24'))
    assert namespace.fetch('http://10.99.0.2:8080/eat?mb=50') == '1 \n200'  # of 64
    curl = ('curl', '-s', 'http://10.99.0.2:8080/eat?mb=10')
    subprocess.run((*namespace.inside, *curl, '--max-time', '5'))
    assert guest.wait(PATIENCE) == 83
    assert console().endswith('Fatal error: exception Out of memory\nSolo5: ABORT\n')


def test_its_clock_keeps_time(image: str, namespace: Namespace, start: Start) -> None:
    start(*namespace.inside, *on_tap(image, '--ipv4=10.99.0.2/24'))
    namespace.fetch('http://10.99.0.2:8080/')
    begin = time.monotonic()
    assert namespace.fetch('http://10.99.0.2:8080/slow?ms=2000') == '1 \n200'
    assert 1.8 < time.monotonic() - begin < 20


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ('--bogus', "unknown option '--bogus'\n"),
        ('--interface=0', "unknown option '--interface=0'\n"),
        ('"--message=', 'command line: unterminated quote\n'),
        ('--fail=exit:3', ''),
        ('--fail=crash', 'Solo5: ABORT\n'),
        ('--fail=memory', 'Fatal error: exception Out of memory\nSolo5: ABORT\n'),
        ('--ipv4=10.0.0.2/24', 'no virtio network\n'),
    ],
)
def test_every_exit_is_83(image: str, arguments: str, said: str) -> None:
    got = subprocess.run(
        command(image, arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (got.returncode, got.stdout.decode().replace('\r', '')) == (83, said)


def test_says_what_it_is(image: str) -> None:
    with Path(image).open('rb') as stream:
        notes: list[tuple[object, ...]] = [
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
