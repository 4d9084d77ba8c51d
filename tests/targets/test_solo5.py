"""Solo5 for real: its own test kernels under its own tenders, pushed by git into a namespace.

Run where SOLO5_TESTS names the folder of Solo5's built tests, with the tenders on PATH."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirage_hooks.host import processes, programs
from tests.deployment import Deployment, run
from tests.patience import until

TESTS = Path(os.environ.get('SOLO5_TESTS', '/nowhere'))
MISSING = [
    *([] if 'SOLO5_TESTS' in os.environ else ['SOLO5_TESTS']),
    *(name for name in ('solo5-spt', 'solo5-hvt', 'ip', 'ping', 'bwrap')
      if not programs.find(name)),
    *([] if os.geteuid() == 0 else ['root']),
    *([] if os.access('/dev/net/tun', os.R_OK) else ['/dev/net/tun']),
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f'missing: {", ".join(MISSING)}')
KVM = pytest.mark.skipif(not Path('/dev/kvm').exists(), reason='missing: /dev/kvm')
BOTH = pytest.mark.parametrize('target', ['spt', pytest.param('hvt', marks=KVM)])


class Site(Deployment):
    """A bare repository that is pushed to, on a host that is a network namespace with a bridge."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.name = f'mh{os.getpid()}'
        self.hooks(self.hub, 'post-receive')
        ip('netns', 'add', self.name)
        self.ip('link', 'set', 'lo', 'up')
        self.bridge()

    def bridge(self) -> None:
        self.ip('link', 'add', 'br0', 'type', 'bridge')
        self.ip('address', 'add', '10.0.0.1/24', 'dev', 'br0')
        self.ip('link', 'set', 'br0', 'up')

    def ip(self, *arguments: str) -> str:
        return ip('-n', self.name, *arguments)

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        return run('ip', 'netns', 'exec', self.name, *command, cwd=self.site)

    def push(self) -> list[str]:
        """Push what was committed; what the hook said."""
        done = self.inside('git', 'push', '-q', 'origin', '+HEAD:master')
        assert done.returncode == 0, done.stderr
        said = [line.removeprefix('remote: ').rstrip() for line in done.stderr.splitlines()]
        return [line for line in said if not re.match(r' *\d+\.\d\d s ', line)]

    def converge(self, *command: str) -> tuple[int, list[str]]:
        done = self.inside(*self.command(*command, repository=self.hub))
        said = done.stdout.splitlines()
        return done.returncode, [line for line in said if not re.match(r' *\d+\.\d\d s ', line)]

    def pings(self) -> bool:
        return self.inside('ping', '-n', '-c', '1', '-W', '2', '10.0.0.2').returncode == 0

    def tender(self) -> int:
        """The number of the tender's process."""
        releases = self.state(self.hub).of('www')
        release = releases.current()
        assert release is not None
        found = [process for mark, process in processes.marked(self.state(self.hub).root)
                 if mark == releases.folder(release.number) and process.name().startswith('solo5-')]
        assert len(found) == 1
        return found[0].pid

    def taps(self) -> list[str]:
        return re.findall(r'^\d+: (\S+):', self.ip('-o', 'link', 'show', 'type', 'tun'), re.M)

    def end(self) -> None:
        super().end()
        ip('netns', 'delete', self.name)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    try:
        yield made
    finally:
        made.end()


def ip(*arguments: str) -> str:
    done = subprocess.run(('ip', *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kernel(name: str, target: str) -> bytes:
    return (TESTS / name / f'{name}.{target}').read_bytes()


def size(image: bytes) -> str:
    return f'{len(image) / 1000:.1f} kB' if len(image) < 10**6 else f'{len(image) / 10**6:.1f} MB'


NETWORK: dict[str, Any] = {
    'network': {'mode': 'direct', 'bridge': 'br0'}, 'health': {'ping': '10.0.0.2'}}


def publish(site: Site, target: str, name: str = 'test_net', release: str = 'a' * 40) -> bytes:
    image = kernel(name, target)
    site.publish(image, release, push=False)
    return image


@pytest.fixture
def serving(site: Site) -> Site:
    """A site whose test_net.spt answers pings."""
    site.configure(**NETWORK)
    publish(site, 'spt')
    site.push()
    assert site.pings()
    return site


@pytest.mark.proves('{target}', 'compiled in', "Solo5's tender and test_net; answers ping")
@BOTH
def test_a_push_boots_a_kernel_that_answers_pings(site: Site, target: str) -> None:
    site.configure(**NETWORK)
    image = publish(site, target)
    said = site.push()
    commit = run('git', 'rev-parse', '--short=12', 'HEAD', cwd=site.site).stdout.strip()
    assert said == [
        f'www: release 1 ({target} (Solo5 ABI 2), {size(image)}, network service0, commit {commit})'
        ' now runs'
    ]
    assert site.pings()
    assert len(site.taps()) == 1
    status = Path(f'/proc/{site.tender()}/status').read_text()
    user = int(re.findall(r'^Uid:\t(\d+)', status, re.M)[0])
    assert user >= 1879048192
    assert re.findall(r'^CapEff:\t(.*)', status, re.M) == ['0000000000000000']
    assert Path(f'/proc/{site.tender()}/root').stat().st_dev != Path('/').stat().st_dev


@BOTH
def test_a_newer_kernel_takes_the_place_of_the_older_one(site: Site, target: str) -> None:
    site.configure(**NETWORK)
    publish(site, target)
    site.push()
    site.configure(**NETWORK, arguments=['verbose'])
    publish(site, target, release='b' * 40)
    assert site.push()[-1].endswith('now runs')
    assert site.pings()
    release = site.state(site.hub).of('www').current()
    assert release is not None and release.plan.command[-1] == 'verbose'
    assert len(site.taps()) == 1


@pytest.mark.proves('{target}', 'compiled in', "Solo5's tender killed, test_net comes back")
@BOTH
def test_a_killed_tender_comes_back(site: Site, target: str) -> None:
    site.configure(**NETWORK)
    publish(site, target)
    site.push()
    site.dismiss()
    os.kill(site.tender(), 9)
    until(lambda: not site.pings())
    code, said = site.converge('pull', '--quiet')
    assert (code, said[-1][-10:]) == (0, 'runs again')
    assert site.pings()


def test_a_vanished_tap_is_made_anew(serving: Site) -> None:
    (tap,) = serving.taps()
    serving.dismiss()
    serving.ip('link', 'delete', tap)
    code, said = serving.converge('pull', '--quiet')
    assert (code, said[-1][-10:]) == (0, 'runs again')
    assert serving.pings()
    assert serving.taps() == [tap]


def test_a_bridge_that_was_removed_and_put_back_gets_its_tap_back(serving: Site) -> None:
    serving.ip('link', 'delete', 'br0')
    assert not serving.pings()
    code, said = serving.converge('pull', '--quiet')
    assert (code, said[0]) == (1, 'www: REFUSED: the bridge br0 does not exist')
    serving.bridge()
    code, said = serving.converge('deploy')
    assert (code, serving.pings()) == (0, True), said


def test_a_missing_device_is_refused_by_name_and_the_old_kernel_goes_on(serving: Site) -> None:
    publish(serving, 'spt', 'test_net_2if', 'b' * 40)
    assert serving.push()[:2] == [
        'www: REFUSED: the image wants a net device service0, which www does not have',
        '  hint: in mirage.yml, in place of `network:`: networks: {service0: {mode: direct, '
        'bridge: br0}, service1: {mode: direct, bridge: br0}}',
    ]
    assert serving.pings()


@pytest.mark.proves('spt', 'two, compiled in', "Solo5's tender and test_net_2if; both answer ping")
def test_two_interfaces_are_two_taps(site: Site) -> None:
    site.ip('address', 'add', '10.1.0.1/24', 'dev', 'br0')
    network = {'mode': 'direct', 'bridge': 'br0'}
    site.configure(network=None, networks={'service0': network, 'service1': network},
                   health=[{'ping': '10.0.0.2'}, {'ping': '10.1.0.2'}])
    publish(site, 'spt', 'test_net_2if')
    assert site.push()[-1].endswith('now runs')
    assert len(site.taps()) == 2


def test_a_kernel_out_of_memory_costs_nothing(serving: Site) -> None:
    serving.configure(**NETWORK, memory=1)
    code, said = serving.converge('deploy')
    assert code == 1
    assert said[0].startswith('www: REFUSED: it ended with exit code 1: the tender refused it')
    assert serving.pings()


@pytest.mark.proves('{target}', 'none, a disk', "Solo5's tender and test_blk; sectors compared")
@BOTH
def test_a_disk_is_read_and_written(site: Site, target: str, tmp_path: Path) -> None:
    disk = tmp_path / 'disk.img'
    disk.write_bytes(b'\0' * 1024 * 1024)
    site.configure(network=None, blocks={'storage': {'path': str(disk)}},
                   health={'console': '^SUCCESS'}, confirm='0s')
    publish(site, target, 'test_blk')
    said = site.push()
    user = re.findall(r'to the user (\d+)', said[0])[0]
    assert said[:2] == [
        f'www: REFUSED: disk storage of www does not belong to the user {user}, as which it runs: '
        f'{disk}',
        f'  hint: chown {user} {disk} && chmod u+rw {disk}',
    ]
    os.chown(disk, int(user), -1)
    site.converge('deploy')
    assert disk.read_bytes()[:20] == b'01234567890123456789'


@BOTH
def test_a_tender_of_another_abi_is_refused_before_anything_is_touched(
    serving: Site, target: str, tmp_path: Path
) -> None:
    tender = tmp_path / 'old-tender'
    tender.write_text('#!/bin/sh\necho "solo5-spt tender, version v0.7.5"\necho "ABI version 1"\n')
    tender.chmod(0o755)
    serving.configure(**NETWORK, tender=str(tender))
    publish(serving, target, release='b' * 40)
    assert serving.push()[:2] == [
        f'www: REFUSED: {tender} speaks Solo5 ABI 1, the image speaks 2',
        '  hint: install the tender of Solo5 0.8 or later and name it with `tender:`, or build the '
        'image anew',
    ]
    assert serving.pings()


def test_nothing_is_left_when_mirage_yml_no_longer_names_it(serving: Site) -> None:
    serving.configure('unikernels: {}\n')
    assert serving.converge('deploy') == (0, ['www: stopped: it is no longer in mirage.yml'])
    assert serving.taps() == []
    assert list(processes.marked(serving.state(serving.hub).root)) == []


def test_the_plan_is_what_runs(serving: Site) -> None:
    release = serving.state(serving.hub).of('www').current()
    assert release is not None
    command = Path(f'/proc/{serving.tender()}/cmdline').read_bytes().decode().split('\0')[:-1]
    assert tuple(command) == release.plan.command[release.plan.command.index('--mem=128') - 1:]
