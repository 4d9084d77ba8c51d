"""The host's doors where this machine can have nothing real: `xl` is a stand-in here, whose
domains are lines of a file. Real ones are in test_xen."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from mirage_hooks import errors, model, secret, store, targets
from mirage_hooks.host import network, supervisor, system, xen
from mirage_hooks.switching import crashes, launcher, switch
from mirage_hooks.switching.ended import End
from tests.deployment import PYTHON

XL = """#!/bin/sh
cd {folder}
case $1 in
list) /bin/cat domains ;;
destroy)
    if [ -e stubborn ]; then echo 'libxl: rc -15' >&2; exit 1; fi
    /bin/sed -i "/^$2 /d" domains ;;
domid) echo 7 ;;
create) echo "xc: error: can't allocate low memory for domain: Out of memory" >&2; exit 3 ;;
rename) /bin/sed -i "s/^$2 /$3 /" domains ;;
esac
"""
DOMAINS = """\
Name                                        ID   Mem VCPUs      State   Time(s)
Domain-0                                     0  1024     1     r-----      12.3
www-1                                        7    32     1     -b----       0.1
a b                                          8    32     1     ---sc-       0.1
"""


@pytest.fixture
def xl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-in."""
    program = tmp_path / 'xl'
    program.write_text(XL.format(folder=tmp_path))
    program.chmod(0o755)
    (tmp_path / 'domains').write_text(DOMAINS)
    monkeypatch.setattr(system, 'PATH', str(tmp_path))
    monkeypatch.setattr(xen, 'PATIENCE', 0.2)
    return tmp_path


def test_a_domain_that_is_shut_down_or_crashed_does_not_run(xl: Path) -> None:
    assert xen.domains() == {'Domain-0': True, 'www-1': True, 'a b': False}


def test_a_domain_is_destroyed_and_one_that_is_not_there_is_no_failure(xl: Path) -> None:
    xen.destroy('www-1')
    xen.destroy('www-1')
    assert set(xen.domains()) == {'Domain-0', 'a b'}


def test_a_dead_domain_that_cannot_be_destroyed_leaves_its_name(xl: Path) -> None:
    (xl / 'stubborn').touch()
    (xl / 'domains').write_text(DOMAINS.replace('-b----', '---sc-'))
    xen.destroy('www-1')
    assert set(xen.domains()) == {'Domain-0', 'dead-7-www-1', 'a b'}


def test_a_living_domain_that_cannot_be_destroyed_is_said(xl: Path) -> None:
    (xl / 'stubborn').touch()
    with pytest.raises(errors.Unavailable) as failure:
        xen.destroy('www-1')
    assert failure.value.reason == '`xl destroy www-1` failed with 1: libxl: rc -15'
    assert 'www-1' in xen.domains()


@pytest.mark.parametrize('unikernel', ['www', 'www-1', 'a b', 'Domain'])
def test_our_own_domain_and_one_that_ended_are_in_nobody_s_way(xl: Path, unikernel: str) -> None:
    xen.require_alone(unikernel)


def test_a_domain_of_the_unikernel_s_own_name_is_not_ours(xl: Path) -> None:
    (xl / 'domains').write_text(f'{DOMAINS}mort.io  9  256  1  -b----  0.1\n')
    with pytest.raises(errors.Unavailable) as refused:
        xen.require_alone('mort.io')
    assert (refused.value.reason, refused.value.hint) == (
        'the domain mort.io runs and is not ours: it may hold the address',
        'xl destroy mort.io, then mirage-hooks deploy',
    )


def test_a_domain_that_does_not_fit_is_refused_with_the_ways_out(xl: Path) -> None:
    with pytest.raises(errors.Unavailable) as failure:
        xen.create(model.Plan('xen', ('xl', 'create', 'xl.cfg'), 'www-2'))
    assert failure.value.reason == (
        "`xl create xl.cfg` failed with 3: xc: error: can't allocate low memory for domain: "
        'Out of memory'
    )
    assert '`switch: replace`' in failure.value.hint


def test_a_console_is_where_xenconsoled_logs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian, plain = tmp_path / 'console', tmp_path / 'xen'
    monkeypatch.setattr(xen, 'CONSOLES', (debian, plain))
    assert xen.console('www-1') == debian / 'guest-www-1.log'
    plain.mkdir()
    (plain / 'guest-www-1.log').touch()
    assert xen.console('www-1') == plain / 'guest-www-1.log'


def test_the_console_of_a_refused_domain_is_copied_for_it_is_not_ours(tmp_path: Path) -> None:
    shelf = store.Shelf(tmp_path / 'www')
    log = tmp_path / 'guest-www-1.log'
    log.write_text('Solo5: ABORT\n')
    shelf.fail(shelf.begin(), log)
    assert (shelf.failed_console.read_text(), log.exists()) == ('Solo5: ABORT\n', True)
    assert shelf.numbers() == []


SYSTEMD = """#!/bin/sh
case $0 in
*systemd-run)
    if [ -e {folder}/unit ]; then echo "$*" >{folder}/asked; exit; fi
    echo 'Failed to connect to bus' >&2; exit 1 ;;
esac
[ "$1" = show ] && /bin/cat {folder}/unit
exit 0
"""
WAITING = """\
ActiveState=activating
MainPID=0
ExecMainCode=1
ExecMainStatus=2
NRestarts=0
ExecMainStartTimestampMonotonic=1000000
ExecMainExitTimestampMonotonic=1250000
"""


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> model.Plan:
    """A plan for the stand-ins of systemctl and systemd-run: this machine's PID 1 is no systemd."""
    for name in ('systemctl', 'systemd-run'):
        (tmp_path / name).write_text(SYSTEMD.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(system, 'PATH', str(tmp_path))
    (tmp_path / 'token').write_text("it's $5\n")
    (tmp_path / 'token').chmod(0o600)
    return model.Plan(
        'spt', ('systemd-run', '--quiet', '--', 'x', '$$HOME', '--token=\0token\0'),
        unit='mirage-hooks-www-1.service',
        secrets={'token': model.Secret(str(tmp_path / 'token'), 'plain')},
    )


def made(shelf: store.Shelf, plan: model.Plan) -> model.Release:
    return model.Release(
        unikernel='www', number=shelf.begin(), commit='', path='', blob='', digest='', size=0,
        description='', fingerprint='', slot='blue', created=0, plan=plan, network=None,
    )


def test_a_unit_that_systemd_will_start_again_has_ended(
    systemd: model.Plan, tmp_path: Path
) -> None:
    (tmp_path / 'unit').write_text(WAITING)
    assert supervisor.state(systemd) == supervisor.State(True, 0, 2, 0.25)
    shelf = store.Shelf(tmp_path / 'www')
    release = made(shelf, systemd)
    refusal = switch.dead(shelf, release)()
    assert refusal and refusal.reason == 'it ended with exit code 2: an OCaml exception'
    with pytest.raises(crashes.Waiting, match=r'ended 0 s after its start, and would end .*: x'):
        crashes.count(shelf, release, End(1, 'x'))


def test_a_secret_is_not_told_when_systemd_refuses_its_command(systemd: model.Plan) -> None:
    with pytest.raises(errors.Unavailable) as failure:
        supervisor.start(secret.filled(systemd, targets.write))
    assert failure.value.reason == '`systemd-run` failed with 1: Failed to connect to bus'


def test_systemd_is_not_told_a_secret_for_it_tells_everybody(
    systemd: model.Plan, tmp_path: Path
) -> None:
    (tmp_path / 'unit').write_text(WAITING)
    shelf = store.Shelf(tmp_path / 'www')
    release = made(shelf, systemd)
    launcher.start(shelf, release, '0' * 16)
    script = shelf.folder(release.number) / 'start.sh'
    assert (tmp_path / 'asked').read_text() == f'--quiet -- /bin/sh {script}\n'
    assert script.stat().st_mode & 0o777 == 0o600
    assert shlex.split(script.read_text()) == ['exec', 'x', '$HOME', "--token=it's $5"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which('bwrap'), reason='bwrap is missing')
def test_under_systemd_a_filter_is_passed_by_the_script_that_it_starts(
    systemd: model.Plan, tmp_path: Path
) -> None:
    (tmp_path / 'unit').write_text(WAITING)
    asks = (  # SIOCSIFFLAGS of an interface that there is not
        "import fcntl, socket; fcntl.ioctl(socket.socket(), 0x8914, b'none'.ljust(40, b'\\0'))"
    )
    plan = msgspec.structs.replace(
        systemd, filtered=True, secrets={},
        command=('systemd-run', '--quiet', '--', 'bwrap', '--ro-bind', '/', '/', '--', PYTHON, '-c',
                 asks),
    )
    shelf = store.Shelf(tmp_path / 'a shelf')
    release = made(shelf, plan)
    launcher.start(shelf, release, '0' * 16)
    script = shelf.folder(release.number) / 'start.sh'
    assert subprocess.run(('/bin/sh', str(script)), check=False).returncode == 0
    bare = subprocess.run(plan.command[3:], check=False, stderr=subprocess.DEVNULL)
    assert bare.returncode == 1


def test_interfaces_of_ours_are_told_from_a_strangers_and_from_vifs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = '0123456789abcdef'
    monkeypatch.setattr(network, 'INTERFACES', tmp_path)
    aliases = {'www7c2-0123-010': f'mirage-hooks {owner}', 'vif7.0': f'mirage-hooks {owner}',
               'eth0': '', 'other': 'mirage-hooks fedcba9876543210',
               'www7c2-0123-020': ''}  # killed before it was named
    for name, alias in aliases.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / 'ifalias').write_text(f'{alias}\n')
    (tmp_path / 'vif7.0' / 'device').touch()
    assert network.owned(owner) == ['www7c2-0123-010', 'www7c2-0123-020']
