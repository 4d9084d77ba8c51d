"""The host's doors where this machine can have nothing real: `xl` is a stand-in here, whose
domains are lines of a file. Real ones are in test_xen."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import msgspec
import psutil
import pytest

from mirage_hooks import targets
from mirage_hooks.deploying import ended
from mirage_hooks.host import network, processes, programs, supervisor, xen
from mirage_hooks.messages import errors
from mirage_hooks.state import model, proc, secret, store
from mirage_hooks.state.releases import Releases
from mirage_hooks.switching import crashes, launcher, switch
from mirage_hooks.switching.ended import End
from tests.deployment import PYTHON
from tests.patience import until

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
    monkeypatch.setattr(programs, 'PATH', str(tmp_path))
    monkeypatch.setattr(xen, 'PATIENCE', 0.2)
    return tmp_path


def test_a_domain_that_is_shut_down_or_crashed_does_not_run(xl: Path) -> None:
    assert xen.domains() == {'Domain-0': True, 'www-1': True, 'a b': False}


def test_a_domain_is_destroyed_and_one_that_is_not_there_is_no_failure(xl: Path) -> None:
    xen.destroy('www-1')
    xen.destroy('www-1')
    assert set(xen.domains()) == {'Domain-0', 'a b'}


@pytest.mark.skipif(xen.BOOTED.exists(), reason='needs a machine without Xen')
def test_where_no_xen_was_booted_no_domain_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, 'PATH', str(tmp_path))
    assert xen.domains() == {}


def test_where_xen_does_not_say_whether_a_domain_runs_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, 'PATH', str(tmp_path))
    monkeypatch.setattr(xen, 'BOOTED', tmp_path)
    with pytest.raises(errors.Unavailable) as failure:
        xen.domains()
    assert failure.value.reason == 'xl is not installed'


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


XL_LOG = """\
Waiting for domain www-1 (domid 4) to die [pid 184]
Domain 4 has shut down, reason code 3 0x3
Action for shutdown reason code 3 is destroy
Domain 4 needs to be cleaned up: destroying the domain
Done. Exiting now
"""
DMESG = """\
(XEN) Dom0 has maximum 1 VCPUs
(XEN) d3v0 Unhandled page fault fault/trap [#14, ec=0002]
(d4) MM: Init
(XEN) d4v0 Unhandled page fault fault/trap [#14, ec=0000]
(XEN) domain_crash called from arch/x86/traps.c:1 of d44
"""


def test_a_domain_without_a_console_has_the_words_of_xl_and_of_xen(
    xl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (xl / 'xl').write_text(f"#!/bin/sh\n[ \"$1\" = dmesg ] && cat <<'END'\n{DMESG}END\n")
    monkeypatch.setattr(programs, 'PATH', f'{xl}:/usr/bin:/bin')
    monkeypatch.setattr(xen, 'XL_LOGS', xl)
    assert xen.last_words('www-1') == ()
    (xl / 'xl-www-1.log').write_text(XL_LOG)
    assert xen.last_words('www-1') == (
        '(d4) MM: Init', '(XEN) d4v0 Unhandled page fault fault/trap [#14, ec=0000]',
        'Domain 4 has shut down, reason code 3 0x3',
        'Domain 4 needs to be cleaned up: destroying the domain',
    )


def test_xenconsoled_is_given_a_second_for_the_console_of_a_domain_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = store.opened(tmp_path / 'state').of('www')
    release = made(releases, model.Plan(target='xen', command=('xl',), domain='www-1'))
    monkeypatch.setattr(xen, 'CONSOLES', (tmp_path,))
    late = threading.Timer(0.3, (tmp_path / 'guest-www-1.log').write_text, ('Solo5: ABORT\n',))
    late.start()
    try:
        assert ended.console(releases, release) == ('Solo5: ABORT',)
    finally:
        late.join()


@pytest.mark.parametrize(('printed', 'kept', 'hint'), [
    ('Solo5: ABORT\n', 'Solo5: ABORT\n', ''), ('', '(XEN) d4v0 fault\n', xen.SILENT),
    ('', '', xen.SILENT),
])
def test_what_is_known_of_a_domain_that_ended_is_kept_and_hinted_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, kept: str, hint: str
) -> None:
    releases = store.opened(tmp_path / 'state').of('www')
    release = made(releases, model.Plan(target='xen', command=('xl',), domain='www-1'))
    monkeypatch.setattr(xen, 'CONSOLES', (tmp_path,))
    monkeypatch.setattr(ended, 'LATE', 0.1)
    words = (kept.strip(),) if kept and not printed else ()
    monkeypatch.setattr(xen, 'last_words', lambda domain: words)
    (tmp_path / 'guest-www-1.log').write_text(printed)
    refused = errors.Refused('it ended')
    ended.explain(refused, releases, release)
    assert refused.hint == hint
    assert (releases.failed_console.read_text(), releases.numbers()) == (kept, [])


def test_the_console_of_a_refused_domain_is_copied_for_it_is_not_ours(tmp_path: Path) -> None:
    releases = Releases(tmp_path / 'www')
    log = tmp_path / 'guest-www-1.log'
    log.write_text('Solo5: ABORT\n')
    releases.fail(releases.begin(), log)
    assert (releases.failed_console.read_text(), log.exists()) == ('Solo5: ABORT\n', True)
    assert releases.numbers() == []


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
    monkeypatch.setattr(programs, 'PATH', str(tmp_path))
    (tmp_path / 'token').write_text("it's $5\n")
    (tmp_path / 'token').chmod(0o600)
    return model.Plan(
        'spt', ('systemd-run', '--quiet', '--', 'x', '$$HOME', '--token=\0token\0'),
        unit='mirage-hooks-www-1.service',
        secrets={'token': model.Secret(str(tmp_path / 'token'), 'plain')},
    )


def made(releases: Releases, plan: model.Plan) -> model.Release:
    return model.Release(
        unikernel='www', number=releases.begin(), commit='', path='', blob='', digest='', size=0,
        description='', fingerprint='', slot='blue', created=0, plan=plan, network=None,
    )


def test_a_unit_that_systemd_will_start_again_has_ended(
    systemd: model.Plan, tmp_path: Path
) -> None:
    (tmp_path / 'unit').write_text(WAITING)
    assert supervisor.state(systemd) == supervisor.State(True, 0, 2, 0.25)
    releases = Releases(tmp_path / 'www')
    release = made(releases, systemd)
    refusal = switch.dead(releases, release)()
    assert refusal and refusal.reason == 'it ended with exit code 2'
    with pytest.raises(crashes.Waiting, match=r'ended 0 s after its start, and would end .*: x'):
        crashes.count(releases, release, End(1, 'x'))


def test_a_secret_is_not_told_when_systemd_refuses_its_command(systemd: model.Plan) -> None:
    with pytest.raises(errors.Unavailable) as failure:
        supervisor.start(secret.filled(systemd, targets.write))
    assert failure.value.reason == '`systemd-run` failed with 1: Failed to connect to bus'


def test_systemd_is_not_told_a_secret_for_it_tells_everybody(
    systemd: model.Plan, tmp_path: Path
) -> None:
    (tmp_path / 'unit').write_text(WAITING)
    releases = Releases(tmp_path / 'www')
    release = made(releases, systemd)
    launcher.start(releases, release, '0' * 16)
    script = releases.folder(release.number) / 'start.sh'
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
    releases = Releases(tmp_path / 'a releases')
    release = made(releases, plan)
    launcher.start(releases, release, '0' * 16)
    script = releases.folder(release.number) / 'start.sh'
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


THREADED = """
import ctypes, os, signal, socket, sys, threading, time
held = socket.create_server(('127.0.0.1', 0))
def last():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print(held.getsockname()[1], flush=True)
    time.sleep(3600)
threading.Thread(target=last).start()
ctypes.CDLL(None).syscall(SYS_exit, 0)
"""


def test_a_process_runs_until_its_last_thread_has_ended(tmp_path: Path) -> None:
    """A kill ends the main thread first, and a port or tap is free after the last one."""
    number = {'x86_64': 60, 'aarch64': 93}[os.uname().machine]
    release = tmp_path / 'releases/1'
    child = subprocess.Popen(
        (PYTHON, '-c', THREADED.replace('SYS_exit', str(number))), stdout=subprocess.PIPE,
        text=True, env={processes.MARK: str(release)},
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
        assert proc.identity(child.pid) is not None
        [(mark, process)] = processes.marked(tmp_path)
        assert (mark, process.pid) == (release, child.pid)
        processes.end([process], grace=0.1)
        assert proc.identity(child.pid) is None
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', port))
        assert list(processes.marked(tmp_path)) == []
    finally:
        child.kill()
        child.communicate()
