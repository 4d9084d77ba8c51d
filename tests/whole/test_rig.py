from __future__ import annotations

import lzma
import struct
from pathlib import Path

import psutil
import pytest

from tests import rig
from tests.rig import build, steps, wheels


def test_a_script_runs_as_root_in_dom0_and_its_code_and_output_come_back(
    xen: rig.Rig, tmp_path: Path
) -> None:
    (tmp_path / 'in').write_text('carried in')
    result = xen.run(
        tmp_path,
        """
        echo "$(id -un) in $PWD: $(cat in), $#: $2"
        echo carried out > out
        echo to standard error >&2
        xl list | awk '{ print $1, $2, $3 }'
        exit 7
        """,
        'one',
        "two 'quoted' words",
    )
    assert result == rig.Result(
        7,
        "root in /share: carried in, 2: two 'quoted' words\n"
        'to standard error\n'
        'Name ID Mem\n'
        'Domain-0 0 512\n',
    )
    assert (tmp_path / 'out').read_text() == 'carried out\n'
    assert 'Xen version 4.17' in (tmp_path / rig.LOGS / 'xl-dmesg').read_text()


@pytest.mark.long
def test_a_kept_disk_outlives_a_power_cut_and_cron_starts_again_under_the_other_init(
    xen: rig.Rig, tmp_path: Path
) -> None:
    share = tmp_path / 'share, with a comma'
    share.mkdir()
    disk = tmp_path / 'disk, too'
    cut = xen.run(
        share,
        """
        cat /proc/1/comm
        echo '@reboot echo from cron >/root/reboot' | crontab -
        xenstore-write /mark here
        echo safe >/root/safe
        sync
        echo lost >/root/lost
        cut-power 9
        echo not reached
        """,
        disk=disk,
    )
    after = xen.run(
        share,
        """
        cat /proc/1/comm
        for _ in $(seq 1000); do [ -s /root/reboot ] && break; sleep 0.2; done
        cd /root; head -v reboot safe lost 2>&1
        xenstore-exists /mark && echo the store is old
        systemctl is-active xen cron
        """,
        disk=disk,
        systemd=True,
    )
    assert cut == rig.Result(9, 'init\n')
    assert after == rig.Result(
        0,
        'systemd\n'
        '==> reboot <==\nfrom cron\n\n'
        '==> safe <==\nsafe\n'
        "head: cannot open 'lost' for reading: No such file or directory\n"
        'active\nactive\n',
    )


@pytest.mark.long
def test_a_run_that_takes_too_long_is_stopped_and_the_failure_shows_where_it_stood(
    xen: rig.Rig, tmp_path: Path
) -> None:
    before = psutil.Process().children()
    said = r'^the rig was stopped after 20 s; output:\n  \nconsole:\n  (.*\n)+.*\(XEN\) '
    with pytest.raises(rig.RigError, match=said):
        xen.run(tmp_path, 'sleep 1000', timeout=20)
    assert psutil.Process().children() == before


def test_a_machine_that_does_not_start_is_a_failure_of_the_rig(
    xen: rig.Rig, tmp_path: Path
) -> None:
    broken = rig.Rig(tmp_path)
    (tmp_path / 'root.ext4').write_bytes(bytes(512))
    with pytest.raises(rig.RigError) as failure:
        broken.run(tmp_path, 'true')
    assert str(failure.value) == (
        'no exit code came back; QEMU: '
        "qemu: could not open kernel file 'xen': No such file or directory; "
        'output:\n  \nconsole:\n  '
    )


@pytest.mark.long
def test_dom0_has_the_modules_that_switching_needs(xen: rig.Rig, tmp_path: Path) -> None:
    result = xen.run(
        tmp_path,
        """
        set -e
        ip link add xenbr0 type bridge
        ip tuntap add dev tap0 mode tap
        ip link add left type veth peer name right
        ip link set left master xenbr0
        nft -f - <<'END'
        table netdev switch {
            chain out { type filter hook egress device "right" priority 0; }
            chain in {
                type filter hook ingress device "left" priority 0;
                ip daddr 192.0.2.1 fwd to "tap0"
            }
        }
        table ip translated {
            chain before {
                type nat hook prerouting priority -100;
                tcp dport 80 dnat to 192.0.2.2:8080
            }
        }
END
        nft list ruleset | grep -cE 'fwd to|dnat to'
        """,
    )
    assert result == rig.Result(0, '2\n')


@pytest.mark.long
def test_the_wheels_carried_in_are_for_the_python_of_dom0(xen: rig.Rig, tmp_path: Path) -> None:
    wheels.carry(tmp_path)
    result = xen.run(
        tmp_path,
        """
        set -e
        # Unpacked, not installed: pip itself would take minutes here.
        for wheel in wheels/*.whl; do python3 -m zipfile -e "$wheel" /tmp/site; done
        export PYTHONPATH=/tmp/site
        python3 -c 'import elftools, git, msgspec, psutil, setuptools, sh, yaml'
        python3 -m mirage_hooks --help >/dev/null
        ls mirage-hooks/setup.cfg
        find mirage-hooks -path '*/templates/*' -prune -o \
            '(' -name build -o -name '*.egg-info' ')' -print
        """,
    )
    assert result == rig.Result(0, 'mirage-hooks/setup.cfg\n')


def test_an_interrupted_build_is_no_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RIG_CACHE', str(tmp_path))
    monkeypatch.setattr(build, 'lacking', lambda: '')

    def interrupted(tree: Path, variant: str, packages: tuple[str, ...]) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, 'debian', interrupted)
    with pytest.raises(KeyboardInterrupt):
        build.ready()
    assert [path.name for path in tmp_path.iterdir()] == ['lock']


def test_another_recipe_is_another_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.folder()
    (tmp_path / 'init').write_text('#!/bin/sh\n')
    monkeypatch.setattr(steps, 'DOM0', tmp_path)
    assert build.folder().parent == before.parent
    assert build.folder().name != before.name


def test_the_kernel_is_found_in_its_bz_image_by_the_header() -> None:
    payload = lzma.compress(b'\x7fELF kernel')
    header = bytearray(3 * 512)
    header[0x1F1] = 2
    struct.pack_into('<II', header, 0x248, 16, len(payload) + 4)
    image = bytes(header) + bytes(16) + payload + struct.pack('<I', 11) + b'signature'
    assert steps.vmlinux(image) == b'\x7fELF kernel'
