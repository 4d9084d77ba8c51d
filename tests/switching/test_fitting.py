"""What an image will look for and mirage.yml does not give is said before it boots."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mirage_hooks import config
from mirage_hooks.git.repository import Repository
from mirage_hooks.host import programs
from mirage_hooks.image import device
from mirage_hooks.installing import starter
from mirage_hooks.messages import errors
from mirage_hooks.switching import fitting
from tests import elf, guests
from tests.deployment import Deployment, git, web
from tests.guests.scene import CACHE, needs

SOCKET, DIRECT = config.Socket(port=8080), config.Direct(bridge='br0')
STATIC = config.Static(bridge='br0', ipv4='192.0.2.2/24')
OWN = ('the image of www has a network stack of its own (it has --interface), and mirage.yml gives '
       'it ')
XEN = 'mirage.yml gives www no network, and a {0} image does not say whether it wants one'
walled = pytest.mark.skipif(not programs.find('bwrap'), reason='bwrap is missing')
PV = elf.write(elf.CODE, sections={'__xen_guest': b'GUEST_OS=Mini-OS,XEN_VER=xen-3.0\0'}, entry=0)


def unikernel(network: config.Network | None) -> config.Unikernel:
    return config.Unikernel(image='xen/latest', network=network)


@pytest.mark.parametrize(('network', 'target', 'devices', 'options', 'reason', 'hint'), [
    (None, 'xen', None, None, XEN.format('xen'), 'in mirage.yml: network: {mode: static, bridge: '
     'xenbr0, ipv4: ADDRESS/PREFIX, gateway: ADDRESS}'),
    (None, 'virtio', None, None, XEN.format('virtio'),
     'in mirage.yml: network: {mode: direct, bridge: br0}'),
    (SOCKET, 'unix', None, {'--interface', '--ipv4'}, f'{OWN}mode: socket',
     'in mirage.yml: network: {mode: direct, bridge: br0}'),
    (None, 'unix', None, {'--service-interface'}, f'{OWN}no network',
     'in mirage.yml: network: {mode: direct, bridge: br0}'),
    (SOCKET, 'unix', None, {'--network', '--ip'}, f'{OWN}mode: socket',  # MirageOS 2
     'in mirage.yml: network: {mode: direct, bridge: br0}'),
    (DIRECT, 'xen', None, None, '', ''),
    (None, 'virtio', (), None, '', ''),  # its manifest says that it wants none
    (None, 'spt', (), None, '', ''),
    (SOCKET, 'unix', None, {'--interfaces', '--socket', '--ipv4'}, '', ''),
    (SOCKET, 'unix', None, None, '', ''),
    (DIRECT, 'unix', None, {'--interface'}, '', ''),
])
def test_a_network_that_the_image_may_miss_is_named(
    network: config.Network | None, target: str, devices: tuple[device.Device, ...] | None,
    options: set[str] | None, reason: str, hint: str,
) -> None:
    asked = None if options is None else frozenset(options)
    found = fitting.missing('www', unikernel(network), target, devices, asked)
    assert (found and (found.reason, found.hint)) == ((reason, hint) if reason else None)


@pytest.mark.parametrize('network', [DIRECT, STATIC])
def test_an_interface_for_an_image_on_sockets_is_refused(network: config.Network) -> None:
    wanted = unikernel(network)
    with pytest.raises(errors.Refused) as refused:
        fitting.require_stack('www', wanted, 'unix', frozenset({'--ipv4', '--socket'}))
    assert (refused.value.reason, refused.value.hint) == (
        'the image of www uses the sockets of this host (it has no --interface), and mirage.yml '
        'gives it an interface of its own',
        'in mirage.yml: network: {mode: socket, port: 8080}; or publish an image configured with '
        '`--net direct`',
    )
    fitting.require_stack('www', wanted, 'unix', frozenset({'--interface'}))
    fitting.require_stack('www', wanted, 'unix', None)
    fitting.require_stack('www', wanted, 'spt', frozenset())
    fitting.require_stack('www', unikernel(SOCKET), 'unix', frozenset())


@walled
@needs('gcc')
def test_a_direct_image_in_place_of_one_on_sockets_is_told_and_its_end_explained(
    serving: Deployment
) -> None:
    serving.publish(guests.build('direct', CACHE).read_bytes(), 'b' * 40)
    said = serving.pull().stderr
    assert f'www: {OWN}mode: socket: in mirage.yml: network: {{mode: direct, bridge: br0}}' in said
    assert 'www: REFUSED: it ended with exit code ' in said
    assert serving.page() == 'one'
    done = serving.mirage('check')
    assert done.returncode == 1
    assert (f'PROBLEM  www: {OWN}mode: socket\n'
            '         hint: in mirage.yml: network: {mode: direct, bridge: br0}\n') in done.stdout


@pytest.mark.parametrize(('line', 'hint'), [
    ('Netif.connect tap0: could not find device', f'the image found no network: in mirage.yml: '
     f'{fitting.STATIC}'),  # of 2014
    ('Block.connect fat5.img: could not find device', 'the image found no disk: in mirage.yml: '
     'blocks: {NAME: {path: /FILE}}'),
    ('main returned 0', ''),
])
def test_what_an_old_xen_image_says_of_a_missing_device_gets_a_hint(line: str, hint: str) -> None:
    refused = errors.Refused('it ended')
    fitting.explain(refused, ('Initialising timer interface', line, 'main returned 0'))
    assert refused.hint == hint
    given = errors.Refused('it ended', 'a hint')
    fitting.explain(given, (line,))
    assert given.hint == 'a hint'


def test_the_trace_of_an_image_without_its_tap_gets_a_hint(serving: Deployment) -> None:
    trace = 'Fatal error: exception Failure("tun[open]: No such file or directory")'
    serving.publish(b"#!/bin/sh\necho '%s'\nexit 2\n" % trace.encode(), 'b' * 40)
    said = serving.pull().stderr
    assert (
        'www: REFUSED: it ended with exit code 2: an OCaml exception\n'
        f'    | {trace}\n'
        '  its console: mirage-hooks logs www --failed\n'
        '  hint: the image has a network stack of its own and found no tap: in mirage.yml: '
        'network: {mode: direct, bridge: br0}\n'
    ) in said


@walled
@needs('gcc')
@pytest.mark.skipif(os.geteuid() != 0, reason='an interface of its own needs root')
def test_an_image_on_sockets_is_not_given_a_tap(serving: Deployment) -> None:
    before = serving.processes()
    serving.configure(network={'mode': 'direct', 'interface': 'mh-nowhere'})
    serving.publish(guests.build('socket', CACHE).read_bytes(), 'b' * 40)
    said = serving.pull().stderr
    assert ('www: REFUSED: the image of www uses the sockets of this host (it has no --interface), '
            'and mirage.yml gives it an interface of its own\n') in said
    assert (serving.processes(), serving.page()) == (before, 'one')
    assert 'PROBLEM  www: the image of www uses the sockets of this host' in (
        serving.mirage('check').stdout)


@walled
@needs('gcc')
def test_the_starter_gives_an_image_with_a_stack_of_its_own_a_bridge(
    deployment: Deployment
) -> None:
    for name, image in (('api', guests.build('direct', CACHE).read_bytes()), ('www', web('one'))):
        folder = deployment.site / name / '1'
        folder.mkdir(parents=True)
        (folder / name).write_bytes(image)
        (folder / name).chmod(0o755)
        (deployment.site / name / 'latest').write_text('1\n')
    deployment.commit('two')
    git(deployment.folder, 'clone', '-q', str(deployment.hub), str(deployment.host))
    lines = starter.text(Repository(deployment.host)).splitlines()
    api = lines[lines.index('  api:') + 2]
    assert api.startswith('    network: {mode: direct, bridge: ')
    assert api.endswith('}  # it has --interface: its own stack')
    assert lines[lines.index('  www:') + 2].startswith('    network: {mode: socket, port: 8')


DISK = ('xen/{0}/fat1.img.bz2 lies next to the image, which may want it as a disk; it is not taken '
        'from there by itself. To give it: git -C {1} show {2}:xen/{0}/fat1.img.bz2 | bunzip2 '
        '>/srv/fat1.img; in mirage.yml: blocks: {{fat1: {{path: /srv/fat1.img, read_only: true}}}}')


def test_a_disk_next_to_the_image_is_mentioned_until_it_is_given(serving: Deployment) -> None:
    release = 'b' * 40
    folder = serving.site / 'xen' / release
    folder.mkdir()
    for name in ('fat1.img.bz2', 'evil\n.img', 'notes.txt'):
        (folder / name).write_bytes(b'x')
    serving.publish(web('two'), release)
    said = serving.pull().stderr
    commit = git(serving.host, 'rev-parse', 'HEAD')[:12]
    told = DISK.format(release, serving.host, commit)
    assert [line.partition('s  www: ')[2] for line in said.splitlines() if '.img' in line] == [told]
    assert serving.page() == 'two'
    done = serving.mirage('check', '--json')
    assert [one['text'] for one in json.loads(done.stdout) if '.img' in one['text']] == [told]
    text = starter.text(Repository(serving.host))
    assert f'    # {told}\n' in text
    assert 'evil' not in text
    disk = serving.folder / 'disk'
    disk.write_bytes(bytes(512))
    serving.configure(blocks={'fat1': {'path': str(disk)}})
    assert '.img' not in serving.mirage('check').stdout


@pytest.mark.parametrize(('name', 'target', 'way'), [
    ('fat1.img', 'xen', '>/srv/fat1.img; in mirage.yml: blocks: {fat1: {path: /srv/fat1.img, '
     'read_only: true}}'),
    ('fat1.img.gz', 'spt', ' | gunzip >/srv/fat1.img; in mirage.yml: blocks: {fat1: {path: '
     '/srv/fat1.img}}'),
    ('_.img.xz', 'unix', ' | unxz >/srv/_.img; in mirage.yml: blocks: {disk: {path: /srv/_.img, '
     'read_only: true}}'),
])
def test_how_to_give_a_disk_fits_its_packing_and_the_target(
    deployment: Deployment, name: str, target: str, way: str
) -> None:
    folder = deployment.site / 'xen' / ('1' * 40)
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b'x')
    deployment.publish(web('one'))
    deployment.clone()
    where = Repository(deployment.host)
    found = where.find(where.commit('master'), 'www', config.Unikernel(image='xen/latest'))
    (text,) = fitting.disks(where, found, target)
    assert text.endswith(way)


def test_a_xen_image_without_a_network_is_no_good_for_check(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.publish(PV)
    deployment.configure(network=None)
    deployment.clone()
    done = deployment.mirage('check')
    assert done.returncode == 1
    assert f'PROBLEM  www: {XEN.format("xen")}\n' in done.stdout
