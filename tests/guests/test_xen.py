"""Xen, PVH and PV: what the images say they are, and a real Xen that boots them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_hooks import image
from tests import guests, rig
from tests.guests.scene import CACHE, needs

pytestmark = needs('gcc')

# Creates each domain, waits for those with a network to serve, prints what a person would ask.
BOOT = r"""
exec 2>&1
ip link add xenbr0 type bridge
ip link set xenbr0 address 02:00:00:00:00:01 up
ip address add 10.99.0.1/24 dev xenbr0
ip address add fd77::1/64 dev xenbr0 nodad
for domain in pvh pv crashed-pvh crashed-pv full-pvh full-pv lonely; do
    xl create $domain.cfg >create.log 2>&1 || { cat create.log; exit 1; }
done
for address in 10.99.0.2 10.99.0.3; do
    curl -s --retry 30 --retry-connrefused --retry-delay 1 http://$address/
    curl -s http://$address/args
    curl -s "http://$address/slow?ms=300"
done
curl -sg 'http://[fd77::2]/' 'http://[fd77::3]/'
for i in $(seq 50); do curl -sf http://10.99.0.2/ http://10.99.0.3/; done | sort | uniq -c
xl list | awk 'NR > 2 { print $1, $5 ~ /c/ ? "crashed" : "alive" }'
"""
SHOWN = """\
1 hello "pvh"
--ipv4=10.99.0.2/24
--ipv6=fd77::2/64
--message=hello "pvh"
--port=80
1 hello "pvh"
1 hello pv
ipv4=10.99.0.3/24
ipv6=fd77::3/64
--port=81
message=hello pv
port=80
1 hello pv
1 hello "pvh"
1 hello pv
     50 1 hello "pvh"
     50 1 hello pv
pvh alive
pv alive
crashed-pvh crashed
crashed-pv crashed
full-pvh crashed
full-pv crashed
lonely alive
"""
CONSOLES = {
    'pvh': 'Dual TCP/IP stack assembled: mac=00:16:3e:00:00:0a,ip=10.99.0.2/24, '
    'fd77::2/64, fe80::216:3eff:fe00:a/64\n'
    'listening on 80/TCP\n',
    'pv': 'command line: ipv4=10.99.0.3/24 ipv6=fd77::3/64 --port=81 message=hello\\ pv port=80\n'
    'Dual TCP/IP stack assembled: mac=00:16:3e:00:00:0b,ip=10.99.0.3/24, '
    'fd77::3/64, fe80::216:3eff:fe00:b/64\n'
    'listening on 80/TCP\n',
    'crashed-pvh': 'Solo5: ABORT\n',
    'crashed-pv': 'command line: fail=crash\nSolo5: ABORT\n',
    'full-pvh': 'Fatal error: exception Out of memory\nSolo5: ABORT\n',
    'full-pv': 'command line: fail=memory\nFatal error: exception Out of memory\nSolo5: ABORT\n',
    'lonely': 'no Xen network: alive without\n',
}


def domain(folder: Path, name: str, kind: str, extra: str, *vif: str) -> None:
    (folder / kind).write_bytes(guests.build(kind, CACHE).read_bytes())
    lines = (
        f"name='{name}'", f"kernel='{kind}'", f"type='{kind}'", 'memory=32',
        "on_crash='preserve'", f"extra='{extra}'", f'vif={list(vif)}',
    )  # fmt: skip
    (folder / f'{name}.cfg').write_text('\n'.join(lines) + '\n')


@pytest.mark.proves('xen PVH', 'static', 'Xen in QEMU, the guest by `xl create`; page fetched')
@pytest.mark.proves('xen PV', 'static', 'Xen in QEMU, the guest by `xl create`; page fetched')
def test_serve_crash_and_live_on_under_xen(xen: rig.Rig, tmp_path: Path) -> None:
    # xl undoes one level of backslashes itself
    domain(tmp_path, 'pvh', 'pvh', r'--ipv4=10.99.0.2/24 --ipv6=fd77::2/64 '
           r'"--message=hello \\"pvh\\"" --port=80',
           'mac=00:16:3e:00:00:0a,bridge=xenbr0')  # fmt: skip
    # a PV image knows no dashes, and passes over what it does not know
    domain(tmp_path, 'pv', 'pv', r'ipv4=10.99.0.3/24 ipv6=fd77::3/64 --port=81 '
           r'message=hello\\ pv port=80',
           'mac=00:16:3e:00:00:0b,bridge=xenbr0')  # fmt: skip
    domain(tmp_path, 'crashed-pvh', 'pvh', '--fail=crash')
    domain(tmp_path, 'crashed-pv', 'pv', 'fail=crash')
    domain(tmp_path, 'full-pvh', 'pvh', '--fail=memory')
    domain(tmp_path, 'full-pv', 'pv', 'fail=memory')
    domain(tmp_path, 'lonely', 'pvh', '--ipv4=10.99.0.4/24')
    result = xen.run(tmp_path, BOOT)
    assert result == rig.Result(0, SHOWN)
    logs = tmp_path / rig.LOGS / 'guests'
    assert {
        name: (logs / f'guest-{name}.log').read_bytes().decode().replace('\r', '')
        for name in CONSOLES
    } == CONSOLES


@pytest.mark.parametrize(
    ('kind', 'identity'),
    [
        ('socket', image.Identity('unix')),
        ('direct', image.Identity('unix')),
        ('virtio', image.Identity('virtio', 1, devices=(image.Device('service', 'net'),))),
        ('pvh', image.Identity('xen', 1, 'pvh')),
        ('pv', image.Identity('xen', style='pv')),
    ],
)
def test_each_shape_is_told_by_its_bytes(kind: str, identity: image.Identity) -> None:
    assert image.identify(guests.build(kind, CACHE), name=kind) == identity
