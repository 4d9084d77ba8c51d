"""A good image costs no request and a bad one costs nothing: real guests on a real bridge, asked
all the time from the wire and from the host itself."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mirage_hooks.host import processes
from tests import wired
from tests.deployment import web
from tests.patience import PATIENCE, until
from tests.wired import Wired, act

pytestmark = pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')
SWITCHES = int(os.environ.get('MIRAGE_HOOKS_SWITCHES', '10'))
"""How many switches under load; the figures in docs/reliability.md take 100."""
UNDER_LOAD = 'switched under load on a bridge in a namespace; no request fails'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Wired]:
    """Release 1 serves on the bridge."""
    made = Wired(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.end()


class Load:
    """Clients on the wire and on the host itself, asking until `end`."""

    def __init__(self, site: Wired, held: int = 700) -> None:
        self.clients = [site.asking(where, held) for where in (site.outside(), site.inside())]

    def end(self) -> list[dict[str, Any]]:
        return [client.end() for client in self.clients]


def costs(found: list[dict[str, Any]]) -> list[tuple[int, int, dict[str, int]]]:
    """Failed and broken requests of each client, and why."""
    return [(one['failed'], one['held_failed'], one['reasons']) for one in found]


NOTHING: list[tuple[int, int, dict[str, int]]] = [(0, 0, {}), (0, 0, {})]


def test_a_control_run_without_a_switch_loses_nothing(site: Wired) -> None:
    load = Load(site)
    time.sleep(2)
    assert costs(load.end()) == NOTHING


@pytest.mark.parametrize('kind', [
    pytest.param('direct', marks=pytest.mark.proves('unix/direct', 'static', UNDER_LOAD)),
    pytest.param('virtio', marks=[
        pytest.mark.proves('virtio', 'static', UNDER_LOAD), pytest.mark.long]),
])
def test_no_request_fails_through_many_switches(
    site: Wired, kind: str, record_property: Callable[[str, object], None]
) -> None:
    if kind == 'virtio' and shutil.which('qemu-system-x86_64') is None:
        pytest.skip('qemu-system-x86_64 is missing')
    if kind == 'virtio':
        site.configure(tender=str(emulated(site.folder)), memory=64, health={
            'http': f'http://{wired.ADDRESS}:8080/', 'within': '2m'})
    load, took = Load(site), []
    switches = SWITCHES if kind == 'direct' else 4
    for _ in range(switches):
        site.release(wired.guest(site.version + 1, kind))
        done = site.mirage('pull')
        assert done.returncode == 0, done.stdout + done.stderr
        took += [int(ms) for ms in re.findall(r'switched in (\d+) ms', done.stdout)]
    time.sleep(1)
    found = load.end()
    record_property(
        f'{len(took)} switches of {kind} by `overlap`',
        f'{min(took)} to {max(took)} ms, median {sorted(took)[len(took) // 2]} ms')
    for where, one in zip(('wire', 'host'), found, strict=True):
        record_property(
            f'the same, asked from the {where}', f'{one["requests"]} requests, {one["failed"]} '
            f'failed, longest {one["longest_ms"]} ms; {one["held"]} held open, '
            f'{one["held_failed"]} broken')
    assert costs(found) == NOTHING
    assert len(took) == switches
    assert all(one['held'] > 2 for one in found)
    assert all(len(one['pages']) == switches + 1 for one in found)
    assert site.page() == f'release-{site.version:04}'
    site.alone(site.version)


@pytest.fixture
def routed(tmp_path: Path) -> Iterator[Wired]:
    """A host whose gateway is another machine."""
    made = Wired(tmp_path)
    try:
        made.route()
        yield made
    finally:
        made.end()


NETWORK = {'mode': 'static', 'bridge': 'br0'}
ROUTED = {**NETWORK, 'ipv4': f'{wired.ADDRESS}/24', 'gateway': wired.ROUTER}
ROUTED6 = {'ipv6': f'{wired.ADDRESS6}/64', 'ipv6_gateway': wired.ROUTER6}


@pytest.mark.parametrize(('network', 'addresses', 'arguments'), [
    pytest.param(ROUTED, (wired.ADDRESS,), [], id='ipv4', marks=pytest.mark.long),
    # MirageOS of 2014 and 2015: whom it met on the stage it knows for ever.
    pytest.param(ROUTED, (wired.ADDRESS,), ['--neighbours=keep'], id='ipv4 kept for ever'),
    pytest.param({**NETWORK, **ROUTED6}, (wired.ADDRESS6,), [], id='ipv6',
                 marks=pytest.mark.long),
    pytest.param({**ROUTED, **ROUTED6}, (wired.ADDRESS, wired.ADDRESS6), [], id='both'),
])
def test_no_request_fails_beyond_the_gateway_through_switches_there_and_back(
    routed: Wired, network: dict[str, str], addresses: tuple[str, ...], arguments: list[str]
) -> None:
    health = [{'http': f'http://{f"[{one}]" if ":" in one else one}:8080/'} for one in addresses]
    routed.configure(network=network, health=health, drain='1s', arguments=arguments)
    routed.start()
    beyond = {wired.ADDRESS: wired.BEYOND, wired.ADDRESS6: wired.BEYOND6}
    clients = [routed.asking(routed.outside(), 700, source, one)
               for one in addresses for source in (beyond[one], '')]
    for _ in range(3):
        routed.release()
        done = routed.mirage('pull')
        assert done.returncode == 0, done.stdout
        done = routed.mirage('rollback', 'www')
        assert done.returncode == 0, done.stdout
    time.sleep(0.5)
    found = [one.end() for one in clients]
    assert costs(found) == [(0, 0, {})] * len(clients)
    assert all(len(one['pages']) == 4 for one in found)


def test_the_first_switch_after_mirage_yml_names_the_address_costs_no_request(
    routed: Wired
) -> None:
    """As after the adoption of an image that has its address compiled in."""
    own = [f'--ipv4={wired.ADDRESS}/24', f'--ipv4-gateway={wired.ROUTER}']
    routed.configure(network=NETWORK, arguments=own)
    routed.start()
    load = Load(routed)
    routed.configure(network={**ROUTED, 'compiled_in': True}, arguments=own)
    routed.release()
    done = routed.mirage('pull')
    assert done.returncode == 0, done.stdout
    assert 'www: new connections go to release 2' in done.stdout
    time.sleep(0.3)
    assert costs(load.end()) == NOTHING
    assert [one.gap for one in routed.history()] == [0, 0]
    routed.alone(2)


def test_one_after_the_other_the_neighbours_know_each_release_at_once(site: Wired) -> None:
    """Each takes another hardware address, and what it says of it may be lost at its start."""
    site.configure(switch='replace')
    for _ in range(4):
        site.release()
        done = site.mirage('pull')
        assert done.returncode == 0, done.stdout
        assert site.page() == f'release-{site.version:04}'
        assert site.history()[-1].gap > 0


def test_what_a_neighbour_answers_reaches_the_release_that_asked(site: Wired) -> None:
    """Both have one hardware address; an answer that went to the other would be asked for again
    after MirageOS's 1.5 s, while the client waits."""
    site.configure(arguments=['--mac=02:00:00:00:00:77'], drain='1s')
    site.release()
    assert site.mirage('pull').returncode == 0
    site.alone(2)
    heard = subprocess.Popen(
        (*site.outside(), sys.executable, '-Ic', ARP_REQUESTS, wired.CLIENT), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    load = Load(site)
    for _ in range(6):
        site.release()
        assert site.mirage('pull').returncode == 0
    found = load.end()
    said, _ = heard.communicate('\n', timeout=PATIENCE)
    assert costs(found) == NOTHING
    assert 6 <= int(said) < 10, f'{said} questions by 6 releases; {found}'


ARP_REQUESTS = """
import select, socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
wanted, found = socket.inet_aton(sys.argv[1]), 0
while sys.stdin not in select.select([sys.stdin, wire], [], [])[0]:
    frame = wire.recv(2048)
    # Requests for that address, but for announcements of who has it.
    found += frame[20:22] == b'\\0\\1' and frame[38:42] == wanted != frame[28:32]
print(found)
"""


def test_an_image_that_does_not_answer_by_way_of_its_gateway_gives_everything_back(
    routed: Wired
) -> None:
    routed.configure(network=ROUTED)
    routed.start()
    load = Load(routed, held=20_000)  # begun before, answered after
    routed.configure(network=ROUTED, arguments=['--ipv4-gateway=10.9.0.77'])
    routed.release()
    done = routed.mirage('pull')
    assert done.returncode == 1
    assert 'www: release 2 serves there' in done.stdout
    assert (
        'www: REFUSED: http://10.9.0.2:8080/ did not answer (timed out) within 5s, asked by way of '
        f'the gateway {wired.ROUTER}\n'
    ) in done.stdout
    assert [one['held_failed'] for one in load.end()] == [0, 0]
    assert routed.page() == 'release-0001'
    routed.alone(1)


def test_what_has_served_is_restarted_though_it_does_not_answer_beyond_its_gateway(
    routed: Wired
) -> None:
    own = ['--ipv4-gateway=10.9.0.77']
    routed.configure(network=ROUTED, arguments=own, switch='replace')
    routed.start()
    routed.configure(network=ROUTED, arguments=own)
    routed.dismiss()
    processes.end([process for _, process in processes.marked(routed.state().root)])
    done = routed.mirage('pull')
    assert done.returncode == 0, done.stdout
    assert f'WARNING: release 1 does not answer, asked by way of the gateway {wired.ROUTER}: ' in (
        done.stdout)
    assert routed.page() == 'release-0001'
    routed.alone(1)


def test_interrupted_after_the_switch_everything_goes_back(site: Wired) -> None:
    site.configure(confirm='10m')
    site.release()
    with subprocess.Popen(
        (*site.inside(), *site.command('pull')), stdout=subprocess.PIPE, text=True
    ) as pulling:
        until(lambda: site.page() == 'release-0002' or pulling.poll() is not None)
        while pulling.poll() is None:  # one that comes while sh ends a command is lost
            pulling.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                pulling.wait(10)
    assert pulling.returncode == 130
    assert [site.page() for _ in range(5)] == ['release-0001'] * 5
    site.configure()
    assert site.mirage('pull').returncode == 0
    site.alone(3)


def test_a_gateway_that_nobody_knows_is_told_and_asked_again(site: Wired) -> None:
    site.configure(network={**ROUTED, 'gateway': '10.9.0.77'})
    site.release()
    done = site.mirage('pull')
    assert done.returncode == 0
    said = [line.partition(' s  ')[2] for line in done.stdout.splitlines()]
    first = said.index('www: nobody on br0 answers for the gateway 10.9.0.77 yet')
    again = said.index('www: nobody answers for the gateway 10.9.0.77: it is not asked from beyond')
    assert first < said.index('www: release 2 serves there') < again
    assert site.page() == 'release-0002'
    site.alone(2)


@pytest.mark.parametrize(('arguments', 'health', 'reason'), [
    (['--fail=exit:3'], {}, 'it ended with exit code 3'),
    (['--fail=hang'], {}, 'http://10.9.0.2:8080/ did not answer ('),
    (['--status=500'], {}, 'http://10.9.0.2:8080/ answered 500 (200 wanted) within 3s'),
    ([], {'contains': 'another page'},
     "http://10.9.0.2:8080/ answered without 'another page' within 3s"),
    (['--ipv4=10.9.0.3/24'], {}, 'http://10.9.0.2:8080/ did not answer ('),
])
def test_a_bad_image_costs_no_request(
    site: Wired, arguments: list[str], health: dict[str, str], reason: str
) -> None:
    url = f'http://{wired.ADDRESS}:8080/'
    site.configure(arguments=arguments, health={'http': url, 'within': '3s', **health})
    load = Load(site)
    site.release()
    done = site.mirage('pull')
    time.sleep(0.3)
    assert costs(load.end()) == NOTHING
    assert done.returncode == 1
    assert f'www: REFUSED: {reason}' in done.stdout
    assert site.page() == 'release-0001'
    site.alone(1)


def test_what_the_stage_cannot_be_asked_is_asked_after_the_switch_and_gives_everything_back(
    site: Wired
) -> None:
    proxy = f'{wired.GATEWAY}:443'  # where nobody listens
    site.configure(arguments=['--port=8080'], health={'tcp': proxy, 'within': '500ms'})
    load = Load(site, held=4000)  # begun before, answered after
    site.release()
    done = site.mirage('pull')
    assert [one['held_failed'] for one in load.end()] == [0, 0]
    later = f'www: {proxy} cannot be asked of a trial, only after a switch'
    said = [line.partition(' s  ')[2] for line in done.stdout.splitlines()]
    assert said.index(later) < said.index('www: release 2 serves there')
    assert f'www: REFUSED: {proxy} did not answer (' in done.stdout
    assert site.page() == 'release-0001'
    site.alone(1)


@pytest.mark.skipif(not shutil.which('bwrap'), reason='bubblewrap is missing')
def test_with_a_disk_to_write_to_a_release_is_tried_with_a_copy_and_then_the_old_one_stopped(
    site: Wired, tmp_path: Path
) -> None:
    disk = tmp_path / 'disk.img'
    disk.write_bytes(b'.' * 8192)
    disk.chmod(0o666)
    site.configure(blocks={'storage': {'path': str(disk)}})
    site.release(web('', "open('/storage', 'r+b').write(b'bad'); sys.exit(2)").replace(
        b"elif key not in ('--ipv4', '--message'):", b'elif False:'))
    done = site.mirage('pull')
    assert 'www: trying release 2 on a stage' in done.stdout
    assert 'www: REFUSED: it ended with exit code 2' in done.stdout
    assert disk.read_bytes() == b'.' * 8192
    assert site.page() == 'release-0001'
    site.alone(1)
    first = 'release 1 (stops|is stopped) first: both would write to its disk'
    site.release()
    act('git', '-C', str(site.host), '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
    assert re.search(first, site.mirage('deploy', '--dry-run').stdout)
    assert 'it switches by `replace`: both would write to its disk' in site.mirage('check').stdout
    assert re.search(first, site.mirage('deploy').stdout)
    site.alone(3)


def test_a_release_that_ends_while_it_is_watched_gives_everything_back(site: Wired) -> None:
    site.configure(confirm='60s')
    load = Load(site, held=20_000)  # begun before, answered after
    site.release()
    with subprocess.Popen(
        (*site.inside(), *site.command('pull')), stdout=subprocess.PIPE, text=True
    ) as pulling:
        until(lambda: site.page() == 'release-0002' or pulling.poll() is not None)
        assert pulling.poll() is None
        time.sleep(1)  # so that the clients see it, too
        for mark, process in processes.marked(site.state().root):
            if mark.name == '2':
                with contextlib.suppress(psutil.NoSuchProcess):  # its walls went, and it with them
                    process.kill()
        said, _ = pulling.communicate(timeout=PATIENCE)
    found = load.end()
    assert pulling.returncode == 1
    assert 'www: REFUSED: it ended' in said
    assert [one['held_failed'] for one in found] == [0, 0]
    assert all(one['pages'].get('release-0002') for one in found), 'it never was switched to'
    assert site.page() == 'release-0001'
    site.alone(1)


def test_a_rollback_to_a_release_that_is_still_drained_boots_nothing(site: Wired) -> None:
    site.configure(drain='5m')
    load = Load(site)
    site.release()
    assert site.mirage('pull').returncode == 0
    first = run_of(site, 1)
    assert first is not None
    done = site.mirage('rollback', 'www')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'on a stage' not in done.stdout
    assert run_of(site, 1) == first
    assert site.page() == 'release-0001'
    time.sleep(1)
    assert costs(load.end()) == NOTHING
    assert site.mirage('deploy').returncode == 0
    assert site.page() == 'release-0002'


def test_a_rollback_to_an_ended_release_costs_no_request(site: Wired) -> None:
    site.configure(drain='1s')  # a visitor holds a connection for 0.7 s
    for _ in range(2):
        site.release()
        assert site.mirage('pull').returncode == 0
    site.alone(3)
    load = Load(site)
    done = site.mirage('rollback', 'www', '1')  # of the same slot
    assert done.returncode == 0, done.stdout + done.stderr
    time.sleep(0.5)
    found = load.end()
    assert [one['failed'] for one in found] == [0, 0]
    assert site.page() == 'release-0001'
    site.alone(1)


def test_what_is_drained_is_shown_and_ended(site: Wired) -> None:
    site.configure(drain='10s')
    site.release()
    assert site.mirage('pull').returncode == 0
    said = site.mirage('status').stdout
    assert re.search(r'\n  release 1 keeps its connections, [0-9]+ s at most\n', said), said
    assert site.processes() == [1, 2]
    site.alone(2)
    assert 'release 1 of www has drained' in site.mirage('history').stdout
    assert 'keeps its connections' not in site.mirage('status').stdout


def test_without_the_drain_process_the_next_converge_ends_what_is_drained(site: Wired) -> None:
    site.configure(drain='5s')
    site.release()
    assert site.mirage('pull').returncode == 0
    processes.end(site.drainers(), grace=0)
    time.sleep(5.2)
    assert site.processes() == [1, 2]
    assert site.mirage('pull', '--quiet').returncode == 0
    site.alone(2)


def test_stopped_by_hand_it_leaves_nothing_drained(site: Wired) -> None:
    site.configure(drain='1m')
    site.release()
    assert site.mirage('pull').returncode == 0
    assert site.mirage('stop', 'www').returncode == 0
    assert (site.processes(), site.links(), site.tables()) == ([], [], [])
    assert site.mirage('start', 'www').returncode == 0
    assert site.page() == 'release-0002'
    site.alone(2)


def test_rules_flushed_by_the_admin_come_back_and_the_site_answers_meanwhile(site: Wired) -> None:
    site.configure(drain='1m')
    site.release()
    assert site.mirage('pull').returncode == 0
    table = site.tables()
    act(*site.inside(), 'nft', 'flush', 'ruleset')
    assert {site.page() for _ in range(5)} <= {'release-0001', 'release-0002'}
    # unix/direct: until then some neighbours reach release 1
    until(lambda: site.tables() == table)
    assert [site.page() for _ in range(5)] == ['release-0002'] * 5


def test_where_flows_cannot_be_pinned_the_ports_are_exchanged(site: Wired) -> None:
    site.release()
    done = site.mirage('pull', before='mount --bind /bin/false "$(command -v nft)"')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'release 1 will break: `nft -f -` failed with 1: it said nothing' in done.stdout
    assert site.page() == 'release-0002'
    site.alone(2)


def test_what_is_not_ours_is_not_touched(site: Wired) -> None:
    for line in ('table netdev stranger', 'table bridge mirage_hooks',
                 'table netdev mirage_hooks_00000000'):
        act(*site.inside(), 'nft', 'add', *line.split())
    act(*site.inside(), 'ip', 'link', 'add', 'mh-00000000-s', 'type', 'bridge')
    act(*site.inside(), 'ip', 'tuntap', 'add', 'dev', 'stranger', 'mode', 'tap')
    act(*site.inside(), 'ip', 'link', 'set', 'stranger', 'master', 'br0', 'up')
    bridge = act(*site.inside(), 'cat', '/sys/class/net/br0/address')
    tables, links = site.tables(), ['mh-00000000-s', 'stranger']
    site.configure(drain='0s')
    site.release()
    assert site.mirage('pull').returncode == 0
    site.drained()
    assert site.tables() == tables
    assert sorted(site.links()) == sorted([*links, site.tap(2)])
    assert act(*site.inside(), 'cat', '/sys/class/net/br0/address') == bridge
    assert act(*site.inside(), 'ls', '/sys/class/net/br0/brif').split() == sorted(
        ['stranger', 'wire', site.tap(2)]
    )


def test_the_host_reaches_the_first_release_on_a_bridge_that_had_no_port(tmp_path: Path) -> None:
    """The bridge takes its first port's address when the release joins."""
    site = Wired(tmp_path)
    try:
        act('ip', '-n', site.inner, 'link', 'set', 'wire', 'nomaster')
        site.start()
        for version in (1, 2):
            said = act(*site.inside(), 'curl', '-s', '-m', '3', f'http://{wired.ADDRESS}:8080/')
            assert said.strip() == f'release-{version:04}'
            site.configure(drain='0s')
            site.release()
            assert site.mirage('pull').returncode == 0
    finally:
        site.end()


def test_a_bridge_of_taps_alone_keeps_its_address(site: Wired) -> None:
    act('ip', '-n', site.inner, 'link', 'set', 'wire', 'nomaster')
    site.configure(drain='0s')
    before = act(*site.inside(), 'cat', '/sys/class/net/br0/address')
    site.release()
    assert site.mirage('pull').returncode == 0
    site.drained()
    assert act(*site.inside(), 'cat', '/sys/class/net/br0/address') == before


def emulated(folder: Path) -> Path:
    """QEMU without KVM, which may be there and not work inside another virtual machine."""
    path = folder / 'qemu'
    path.write_text("""#!/bin/bash
exec qemu-system-x86_64 "${@/#kvm/tcg}"
""")
    path.chmod(0o755)
    return path


def run_of(site: Wired, release: int) -> Any:
    return site.state().of('www').run(release)


@pytest.mark.parametrize(('gateway', 'whose'), [
    (wired.GATEWAY, 'br0'), (wired.CLIENT, 'eth0'), ('10.9.0.77', ''),
])
def test_on_the_stage_the_gateway_has_the_hardware_address_that_an_image_will_remember(
    site: Wired, gateway: str, whose: str
) -> None:
    side = site.outside() if whose == 'eth0' else site.inside()
    wanted = act(*side, 'cat', f'/sys/class/net/{whose}/address').strip() if whose else ''
    asked = (
        'from mirage_hooks import config; from mirage_hooks.host import staging; '
        f'print(staging.met(config.Static(bridge="br0", ipv4="{wired.ADDRESS}/24", '
        f'gateway="{gateway}"))[0].mac)'
    )
    assert act(*site.inside(), sys.executable, '-I', '-c', asked).strip() == wanted
