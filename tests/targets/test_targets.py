"""Every target turns unikernel, image and slot into a plan: the same ones always, as data."""

from __future__ import annotations

from typing import Any

import pytest

from mirage_hooks import config, targets
from mirage_hooks.image.device import Device
from mirage_hooks.messages import errors
from mirage_hooks.state import model
from mirage_hooks.state.model import Plan, Secret, Tap
from mirage_hooks.targets import unix

LIMITS = ('prlimit', '--core=0', '--fsize=67108864', '--data=268435456', '--')
# A unix image runs threads of its own, and their stacks count.
THREADS = ('prlimit', '--core=0', '--fsize=67108864', '--data=805306368', '--stack=2097152:', '--')
COUNTED = ('prlimit', '--core=0', '--fsize=67108864', '--')
AGAIN = ('/bin/sh', '-c', unix.AGAIN, 'sh')
THUMBPRINT = 'LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ'
MAC = '02:63:b2:78:f3:3d'
OTHER_MAC = '02:f4:39:2e:e6:e9'
USR = tuple(
    word
    for path in ('/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/nix/store')
    for word in ('--ro-bind-try', path, path)
)
ETC = tuple(
    word
    for name in ('ld.so.cache', 'resolv.conf', 'hosts', 'nsswitch.conf', 'ssl', 'localtime',
                 'alternatives')
    for word in ('--ro-bind-try', f'/etc/{name}', f'/etc/{name}')
)
SYSTEM = (*USR, '--dir', '/etc', *ETC)
SPACES = ('bwrap', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try')


def request(target: str, more: dict[str, Any] | None = None, **wanted: Any) -> targets.Request:
    """A request for release 3 of www in the blue slot, with `more` of its own fields."""
    return targets.Request(
        'www', 3, 'blue', '/state/3', config.Unikernel(image='www/latest', **wanted), target,
        '0123456789abcdef', **(more or {}),
    )


def static(**more: Any) -> config.Static:
    return config.Static(bridge='br0', ipv4='10.0.0.2/24', gateway='10.0.0.1', **more)


def net(*names: str) -> tuple[Device, ...]:
    return tuple(Device(name, 'net') for name in names)


def refused(asked: targets.Request) -> tuple[str, str]:
    with pytest.raises(errors.Refused) as caught:
        targets.plan(asked)
    return caught.value.reason, caught.value.hint


def test_a_unix_socket_image_is_run_with_its_port() -> None:
    assert targets.plan(request('unix', network=config.Socket(port=8080))) == Plan(
        target='unix', command=(*THREADS, '/state/3/image', '--port=8080'),
    )


@pytest.mark.parametrize(('mirage', 'flags'), [
    ('2.6', ('--port=80',)),
    ('2.9', ('--interfaces=127.0.0.1', '--port=80')),
    ('3.9', ('--interfaces=127.0.0.1', '--port=80')),
    ('3.10', ('--ipv4=127.0.0.1/8', '--port=80')),
    ('4.11', ('--ipv4=127.0.0.1/8', '--port=80')),
])
def test_a_socket_image_hears_its_address_as_its_generation_wants(
    mirage: str, flags: tuple[str, ...]
) -> None:
    network = config.Socket(port=80, ipv4='127.0.0.1/8')
    expected = flags if mirage != '2.6' else ()  # everything is compiled in
    assert targets.plan(request('unix', mirage=mirage, network=network)) == Plan(
        target='unix', command=(*THREADS, '/state/3/image', *expected),
    )


@pytest.mark.parametrize(('mirage', 'flags'), [
    ('2.6', ()),
    ('2.7', ('--network=www7c2-0123-030', '--ip=10.0.0.2', '--netmask=255.255.255.0',
             '--gateways=10.0.0.1')),
    ('3.0', ('--interface=www7c2-0123-030', '--ipv4=10.0.0.2/24', '--ipv4-gateway=10.0.0.1')),
    ('4.11', ('--interface=www7c2-0123-030', '--ipv4=10.0.0.2/24', '--ipv4-gateway=10.0.0.1',
              '--ipv4-only=true')),
])
def test_a_unix_direct_image_opens_its_tap_by_name(mirage: str, flags: tuple[str, ...]) -> None:
    assert targets.plan(request('unix', mirage=mirage, network=static())) == Plan(
        target='unix', command=(*THREADS, *AGAIN, '/state/3/image', *flags),
        taps=(Tap('www7c2-0123-030', 'br0', MAC),),
    )


def test_an_image_that_was_asked_gets_only_the_network_flags_that_it_has() -> None:
    more = {'options': frozenset({'--ipv4', '--port'})}
    plan = targets.plan(request('unix', more, network=static(), arguments=('--colour=red',)))
    assert plan.command == (
        *THREADS, *AGAIN, '/state/3/image', '--ipv4=10.0.0.2/24', '--colour=red'
    )


def test_what_a_person_wrote_takes_the_place_of_a_derived_flag() -> None:
    wanted = {'network': config.Socket(port=80), 'arguments': ('--port=81',)}
    assert targets.plan(request('unix', **wanted)).command == (
        *THREADS, '/state/3/image', '--port=81'
    )


@pytest.mark.parametrize('target', ['spt', 'hvt'])
def test_a_tender_gets_every_device_of_the_manifest_by_its_name(target: str) -> None:
    devices = (*net('service', 'admin'), Device('storage', 'block'))
    networks = {'service': static(), 'admin': config.Direct(interface='tap7', mac=OTHER_MAC)}
    blocks = {'storage': config.Block('/srv/disk.img', sector=4096)}
    asked = request(target, {'devices': devices}, networks=networks, blocks=blocks)
    assert targets.plan(asked) == Plan(
        target=target,
        command=(
            *LIMITS, f'solo5-{target}', '--mem=128', '--net:service=www7c2-0123-030',
            '--net-mac:service=02:a7:ae:d8:be:22', '--net:admin=tap7',
            f'--net-mac:admin={OTHER_MAC}', '--block:storage=/srv/disk.img',
            '--block-sector-size:storage=4096', '--', '/state/3/image', '--ipv4=10.0.0.2/24',
            '--ipv4-gateway=10.0.0.1', '--ipv4-only=true',
        ),
        taps=(Tap('www7c2-0123-030', 'br0', '02:a7:ae:d8:be:22'),
              Tap('tap7', '', OTHER_MAC, False)),
    )


def test_an_image_with_an_ipv4_stack_alone_is_not_told_so() -> None:
    plan = targets.plan(request('spt', {'devices': net('service')}, network=static(
        ipv4_only=False)))
    assert plan.command[-2:] == ('--ipv4=10.0.0.2/24', '--ipv4-gateway=10.0.0.1')


def test_a_sector_of_512_bytes_is_what_a_tender_takes_unasked() -> None:
    blocks = {'storage': config.Block('/srv/disk.img')}
    plan = targets.plan(request('spt', {'devices': (Device('storage', 'block'),)}, blocks=blocks))
    assert [word for word in plan.command if 'block' in word] == ['--block:storage=/srv/disk.img']


def test_a_stack_of_a_group_has_its_flags_with_the_groups_name() -> None:
    asked = request('spt', {'devices': net('service')}, network=static(group='admin'))
    assert targets.plan(asked).command[-3:] == (
        '--admin-ipv4=10.0.0.2/24', '--admin-ipv4-gateway=10.0.0.1', '--admin-ipv4-only=true'
    )


def test_a_virtio_image_is_booted_by_qemu() -> None:
    blocks = {'a': config.Block('/srv/a,b.img'), 'c': config.Block('/srv/c.img', read_only=True)}
    asked = request('virtio', network=static(), blocks=blocks, memory=64)
    assert targets.plan(asked) == Plan(
        target='virtio',
        command=(
            'prlimit', '--core=0', '--fsize=67108864', '--', 'qemu-system-x86_64', '-m', '64',
            '-nodefaults', '-no-user-config', '-machine', 'acpi=off', '-accel', 'kvm', '-accel',
            'tcg', '-cpu', 'Westmere', '-display', 'none', '-serial', 'stdio', '-monitor', 'none',
            '-device', f'virtio-net,netdev=n0,mac={MAC}', '-netdev',
            'tap,id=n0,ifname=www7c2-0123-030,script=no,downscript=no', '-drive',
            'if=none,id=d0,format=raw,file=/srv/a,,b.img', '-device', 'virtio-blk,drive=d0',
            '-drive', 'if=none,id=d1,format=raw,file=/srv/c.img,readonly=on', '-device',
            'virtio-blk,drive=d1', '-device', 'isa-debug-exit', '-kernel', '/state/3/image',
            '-append', '--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1 --ipv4-only=true',
        ),
        taps=(Tap('www7c2-0123-030', 'br0', MAC),),
    )


XL = """\
name = 'www-3'
kernel = '/state/3/image'
type = '{type}'
memory = 128
vcpus = 1
on_crash = 'destroy'
on_reboot = 'destroy'
vif = ['mac={mac},bridge=br0,vifname=www7c2-0123-030']
{extra}"""


@pytest.mark.parametrize(('mirage', 'extra'), [
    ('2.6', ''),
    ('2.9', "extra = 'ip=10.0.0.2 netmask=255.255.255.0 gateways=10.0.0.1'\n"),
    ('3.8', "extra = 'ipv4=10.0.0.2/24 ipv4-gateway=10.0.0.1'\n"),
])
def test_a_paravirtual_xen_image_is_told_its_network_without_dashes(
    mirage: str, extra: str
) -> None:
    asked = request('xen', {'style': 'pv'}, mirage=mirage, network=static())
    assert targets.plan(asked) == Plan(
        target='xen', command=('xl', 'create', '/state/3/xl.cfg'), domain='www-3',
        taps=(Tap('www7c2-0123-030', 'br0', MAC),),
        files={'xl.cfg': XL.format(type='pv', mac=MAC, extra=extra)},
    )


def test_a_pvh_xen_image_gets_flags_disks_and_a_cap() -> None:
    blocks = {'a': config.Block('/srv/a, b.img'),
              'c': config.Block('/dev/vg/c', vdev='xvdz', read_only=True)}
    asked = request('xen', {'style': 'pvh'}, network=static(), blocks=blocks, cpu=50)
    written = XL.format(type='pvh', mac=MAC, extra=(
        "disk = ['format=raw, vdev=xvda, access=rw, target=/srv/a, b.img,', "
        "'format=raw, vdev=xvdz, access=r, target=/dev/vg/c,']\n"
        "extra = '--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1 --ipv4-only=true'\n"
    )).replace('vcpus = 1\n', 'vcpus = 1\ncap = 50\n')
    assert targets.plan(asked) == Plan(
        target='xen', command=('xl', 'create', '/state/3/xl.cfg'), domain='www-3',
        taps=(Tap('www7c2-0123-030', 'br0', MAC),), files={'xl.cfg': written},
    )


def test_root_runs_an_image_walled_in_as_a_user_of_its_own() -> None:
    host = model.Host(root=True, sandbox=True)
    asked = request('unix', {'host': host}, network=config.Socket(port=8080))
    assert targets.user(asked) == 2019986317
    assert targets.plan(asked) == Plan(target='unix', command=(
        *SPACES, *SYSTEM, '--proc', '/proc', '--dev', '/dev', '--ro-bind', '/state/3/image',
        '/image', '--remount-ro', '/dev', '--remount-ro', '/', '--chdir', '/', '--', 'setpriv',
        '--reuid=2019986317', '--regid=2019986317', '--clear-groups', '--no-new-privs',
        '--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--', *THREADS, '/image',
        '--port=8080',
    ))


def test_only_a_low_port_keeps_one_capability() -> None:
    host = model.Host(root=True, sandbox=True)
    asked = request('unix', {'host': host}, network=config.Socket(port=80))
    kept = [word for word in targets.plan(asked).command if 'net_bind_service' in word]
    assert kept == [
        '--bounding-set=-all,+net_bind_service', '--inh-caps=-all,+net_bind_service',
        '--ambient-caps=-all,+net_bind_service',
    ]


def test_an_ordinary_user_walls_an_image_in_with_a_user_namespace() -> None:
    asked = request('unix', {'host': model.Host(sandbox=True)}, network=config.Socket(port=8080))
    assert targets.plan(asked) == Plan(target='unix', command=(
        *SPACES, '--unshare-user', *SYSTEM, '--proc', '/proc', '--dev', '/dev', '--ro-bind',
        '/state/3/image', '/image', '--remount-ro', '/dev', '--remount-ro', '/', '--chdir', '/',
        '--', *THREADS, '/image', '--port=8080',
    ))


def test_a_tender_from_elsewhere_its_disk_and_its_devices_are_all_that_it_sees() -> None:
    host = model.Host(root=True, sandbox=True, nodes={
        '/dev/kvm': '/dev/mirage-hooks/kvm', '/dev/net/tun': '/dev/mirage-hooks/tun'})
    more = {'host': host, 'program': '/opt/solo5/solo5-hvt', 'largest': 1 << 30,
            'devices': (*net('service'), Device('storage', 'block'))}
    blocks = {'storage': config.Block('/srv/disk.img')}
    plan = targets.plan(request('hvt', more, network=static(), blocks=blocks))
    walls = plan.command[len(SPACES) + len(USR):plan.command.index('--mem=128')]
    assert walls == (
        '--dir', '/etc', '--dir', '/opt', '--dir', '/opt/solo5', '--dir', '/srv', *ETC,
        '--proc', '/proc', '--dev', '/dev', '--dir', '/dev/net',
        '--dev-bind-try', '/dev/mirage-hooks/kvm', '/dev/kvm',
        '--dev-bind-try', '/dev/mirage-hooks/tun', '/dev/net/tun', '--ro-bind',
        '/opt/solo5/solo5-hvt', '/opt/solo5/solo5-hvt', '--bind', '/srv/disk.img',
        '/srv/disk.img', '--ro-bind', '/state/3/image', '/image', '--remount-ro', '/dev',
        '--remount-ro', '/', '--chdir', '/', '--', 'setpriv', '--reuid=2019986317',
        '--regid=2019986317', '--clear-groups', '--no-new-privs', '--bounding-set=-all',
        '--inh-caps=-all', '--ambient-caps=-all', '--', 'prlimit', '--core=0',
        '--fsize=1073741824', '--data=268435456', '--', '/opt/solo5/solo5-hvt',
    )
    assert plan.taps == (Tap('www7c2-0123-030', 'br0', '02:a7:ae:d8:be:22', True, 2019986317),)


def test_processes_are_limited_where_the_kernel_counts_them_for_each_release() -> None:
    counted = targets.plan(request('unix', {'host': model.Host(counted=True)}))
    assert counted.command[:7] == (*THREADS[:-1], '--nproc=1100', '--')


def test_further_user_namespaces_are_forbidden_where_bubblewrap_can() -> None:
    sealed = targets.plan(request('unix', {'host': model.Host(sandbox=True, sealed=True)}))
    assert sealed.command[:7] == (*SPACES, '--unshare-user', '--disable-userns')


def test_without_systemd_a_control_group_limits_all_that_a_release_takes() -> None:
    host = model.Host(cgroups=True)
    group = 'mirage-hooks-0123456789abcdef-www-3'
    plan = targets.plan(request('unix', {'host': host}))
    assert plan.group == model.Group(group, 256, 1100)
    assert plan.command == (*COUNTED, '/state/3/image')  # no bound on what it only maps
    virtio = targets.plan(request('virtio', {'host': host}, memory=64))
    assert virtio.group == model.Group(group, 576, 1100)
    assert targets.plan(request('xen', {'host': host})).group is None
    unit = model.Host(cgroups=True, systemd='system')
    assert targets.plan(request('unix', {'host': unit})).group is None


def test_a_disk_that_a_unix_image_only_reads_cannot_be_written() -> None:
    blocks = {'a': config.Block('/srv/a', read_only=True), 'b': config.Block('/srv/b')}
    plan = targets.plan(request('unix', {'host': model.Host(sandbox=True)}, blocks=blocks))
    where = plan.command.index('/srv/a')
    assert plan.command[where - 1:where + 5] == (
        '--ro-bind', '/srv/a', '/a', '--bind', '/srv/b', '/b'
    )


def test_systemd_keeps_a_release_as_a_transient_unit() -> None:
    asked = request('unix', {'host': model.Host(systemd='user')}, cpu=50,
                    arguments=('--price=$5',))
    unit = 'mirage-hooks-0123456789abcdef-www-3.service'
    assert targets.plan(asked) == Plan(target='unix', unit=unit, command=(
        'systemd-run', '--user', '--quiet', f'--unit={unit}', '--description=unikernel www',
        '--setenv=MIRAGE_HOOKS_RELEASE=/state/3', '--property=Type=exec',
        '--property=Restart=on-failure', '--property=RestartSec=2',
        '--property=StartLimitIntervalSec=600', '--property=StartLimitBurst=10',
        '--property=RestartPreventExitStatus=1 60 61 62 63 64 78', '--property=TimeoutStopSec=5',
        '--property=TasksMax=1100', '--property=MemoryMax=256M', '--property=MemorySwapMax=0',
        '--property=CPUQuota=50%', '--property=StandardOutput=append:/state/3/console.log',
        '--property=StandardError=append:/state/3/console.log', '--', *THREADS, '/state/3/image',
        '--price=$$5',
    ))


def test_xen_keeps_its_domains_itself() -> None:
    asked = request('xen', {'style': 'pvh', 'host': model.Host(root=True, systemd='system')})
    assert targets.plan(asked).command == ('xl', 'create', '/state/3/xl.cfg')


@pytest.mark.parametrize('target', ['unix', 'spt', 'hvt', 'virtio', 'xen'])
def test_every_target_is_told_the_thumbprint_or_where_to_take_it_from(target: str) -> None:
    words = THUMBPRINT, '\0+account\0'
    for acme, word in zip(
        ({'thumbprint': THUMBPRINT}, {'account': '/etc/key'}), words, strict=True
    ):
        plan = targets.plan(request(target, {'style': 'pvh'} if target == 'xen' else {},
                                    acme=config.Acme(**acme, argument='who')))
        told = ' '.join((*plan.command, *plan.files.values()))
        assert [f'--who={one}' in told for one in words] == [one == word for one in words]
        assert {key: one.file for key, one in plan.secrets.items()} == (
            {'+account': '/etc/key'} if 'account' in acme else {})



def test_a_secret_has_a_place_in_the_plan_and_its_file_next_to_it() -> None:
    plan = targets.plan(request('spt', {'devices': ()}, secrets={'token': '/etc/token'}))
    assert plan.command[-1] == '--token=\0token\0'
    assert plan.secrets == {'token': Secret('/etc/token', 'line')}


@pytest.mark.parametrize(('asked', 'reason', 'hint'), [
    (request('unix', {'host': model.Host(root=True)}),
     'www would run as root: bubblewrap is missing, which keeps an image away from the rest of '
     'this host', 'apt install bubblewrap'),
    (request('spt', {'devices': net('service')}),
     'the image wants a net device service, which www does not have',
     'in mirage.yml: network: {mode: direct, bridge: br0}'),
    (request('spt', {'devices': net('service', 'b')}, network=static()),
     'the image wants a net device service, which www does not have',
     'in mirage.yml, in place of `network:`: networks: {service: {mode: direct, bridge: br0}, '
     'b: {mode: direct, bridge: br0}}'),
    (request('spt', {'devices': net('service')}, networks={'b': static()}),
     'the image wants a net device service, which www does not have',
     'in mirage.yml, in place of `networks:`: networks: {service: {mode: direct, bridge: br0}}'),
    (request('spt', {'devices': (Device('storage', 'block'),)}),
     'the image wants a block device storage, which www does not have',
     'in mirage.yml: blocks: {storage: {path: /FILE}}'),
    (request('spt', {'devices': ()}, network=static()),
     'www has a net device network, which the image does not have (it has none)',
     'take it out of www in mirage.yml, or publish the image with it'),
    (request('spt', {'devices': net('service')}, networks={'service': static(), 'b': static()}),
     'www has a net device b, which the image does not have (it has service)',
     'take it out of www in mirage.yml, or publish the image with it'),
    (request('spt', network=config.Direct()),
     'www has neither a bridge nor an interface for its network',
     'add one in mirage.yml, as `bridge: br0`'),
    (request('spt', blocks={'disk': config.Block('/srv/a b')}),
     'disk disk of www has a space in its path, which Solo5 tenders do not know',
     'fix www.blocks.disk in mirage.yml'),
    (request('hvt', blocks={'disk': config.Block('/srv/a', read_only=True)}),
     'disk disk of www is read-only, which Solo5 tenders do not know',
     'fix www.blocks.disk in mirage.yml'),
    (request('unix', blocks={'disk': config.Block('/srv/a')}),
     'www has a disk, which a unix image finds in its sandbox only', 'apt install bubblewrap'),
    (request('xen', {'style': 'pvh'}, blocks={
        'a': config.Block('/srv/a'), 'b': config.Block('/srv/b', vdev='xvda')}),
     'two disks of www are xvda', 'give each a `vdev:` of its own in mirage.yml'),
    (request('xen', {'style': 'pv'}, mirage='3.8', arguments=('--verbose',)),
     "argument '--verbose' cannot reach an image of MirageOS 3.8 or older on Xen",
     'write it as --key=value in mirage.yml'),
    (request('xen', {'style': 'pv'}, mirage='3.8', arguments=('--a=' + 'x' * 1022,)),
     'the arguments take 1024 bytes, the image reads 1024',
     'shorten `arguments:` in mirage.yml'),
    (request('spt', arguments=('--a=' + 'x' * 8188,)),
     'the arguments take 8192 bytes, the image reads 8192',
     'shorten `arguments:` in mirage.yml'),
    (request('unix', arguments=('--a=\0',)),
     "argument '--a=\\x00' cannot reach an image: it is empty or holds a NUL",
     'fix `arguments:` in mirage.yml'),
    (request('unix', arguments=('',)),
     "argument '' cannot reach an image: it is empty or holds a NUL",
     'fix `arguments:` in mirage.yml'),
])
def test_what_does_not_fit_is_refused(asked: targets.Request, reason: str, hint: str) -> None:
    assert refused(asked) == (reason, hint)


def test_qemu_is_not_given_a_path_that_it_would_cut() -> None:
    asked = targets.Request('www', 3, 'blue', '/my state/3', config.Unikernel(image='x'), 'virtio',
                            '0123456789abcdef')
    assert refused(asked) == (
        '/my state/3 has a space in its path: QEMU would cut the arguments there',
        'move the repository to a path without spaces',
    )
