"""A systemd timer in the place of cron's lines, as root; systemctl is a program that logs."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from mirage_hooks.installing import timer
from tests.deployment import git, run
from tests.guests.scene import needs
from tests.spool import Spool, lacking

WATCH = 'mirage-hooks-watch.service'
MIRAGE = str(Path(sys.prefix) / 'bin' / 'mirage-hooks')
needs_spool = pytest.mark.skipif(bool(lacking()), reason=lacking())

SYSTEMD = '''set -e
mount --bind "$1/units" /etc/systemd/system
mkdir -p /run/systemd/system
export PATH="$1:$PATH"; shift
exec "$@"
'''


class Host:
    """A host with systemd and cron, and an empty repository whose path has all that units quote."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.spool = folder, Spool(folder / 'spool')
        self.repository = folder / '100% $HOME "x" y\\z.git'
        self.settings, self.log, self.units = folder / 'm.yml', folder / 'log', folder / 'units'
        self.settings.write_text('unikernels: {}\n')
        self.units.mkdir()
        git(folder, 'init', '-q', '--bare', str(self.repository))
        systemctl = folder / 'systemctl'
        systemctl.write_text(f'#!/bin/sh\necho "$@" >>{self.log}\n')
        systemctl.chmod(0o755)
        (folder / 'systemd-run').symlink_to(systemctl)  # without it there is no systemd to use
        digest = hashlib.sha256(str(self.repository).encode()).hexdigest()[:16]
        self.name = f'mirage-hooks-pull-{digest}'

    def mirage(self, *arguments: str) -> list[str]:
        done = self.spool.run('sh', '-c', SYSTEMD, 'sh', str(self.folder), MIRAGE, *arguments)
        assert (done.returncode, done.stderr) == (0, '')
        return done.stdout.splitlines()

    def install(self, *arguments: str) -> list[str]:
        """What is said of cron and systemd."""
        return self.mirage('install', str(self.repository), '--config', str(self.settings),
                           *arguments)[2:]

    def asked(self) -> list[str]:
        """What systemctl was told since it was asked last."""
        said = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return said


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@needs_spool
def test_a_timer_takes_the_place_of_the_lines_and_is_kept_and_taken_out(host: Host) -> None:
    enabled = f'enable --quiet --now {host.name}.timer'
    told = ('timer: at boot and 7min after each run{}; what it said: '
            f'journalctl -u {host.name}.service')
    watch = f'enable --quiet --now {WATCH}'
    host.install()
    assert b'mirage-hooks' in (host.spool.read() or b'')
    assert host.install('--timer') == [
        told.format(''), 'cron: none', f'watcher: systemd runs {WATCH}']
    assert host.asked() == ['daemon-reload', enabled, 'daemon-reload', watch]
    assert host.spool.read() is None
    assert host.install() == [
        told.format(', unchanged'), f'watcher: systemd runs {WATCH}, unchanged']
    assert host.asked() == [enabled, watch]
    assert sorted(path.name for path in host.units.iterdir()) == [
        f'{host.name}.service', f'{host.name}.timer', WATCH]
    gone = [f'disable --quiet --now {host.name}.timer', 'daemon-reload',
            f'disable --quiet --now {WATCH}', 'daemon-reload']
    assert host.install('--no-cron') == [
        'timer: it is out', 'cron: none, unchanged', 'watcher: its unit is out']
    assert (host.asked(), list(host.units.iterdir())) == (gone, [])
    host.install('--timer')
    host.asked()
    assert host.mirage('install', '--uninstall', str(host.repository))[:2] == [
        'timer: it is out', 'watcher: its unit is out']
    assert (host.asked(), list(host.units.iterdir())) == (gone, [])


@needs_spool
@needs('systemd-analyze')
def test_systemd_understands_its_units(host: Host) -> None:
    host.install('--timer')
    mine = host.units / 'mine.timer'
    mine.write_text('# another\n')
    service = host.units / f'{host.name}.service'
    done = run('systemd-analyze', 'verify', '--man=no', str(service),
               str(service.with_suffix('.timer')), str(host.units / WATCH), cwd=host.folder)
    assert [line for line in done.stderr.splitlines() if host.name in line or WATCH in line] == []
    said = run('sh', '-c', f'. {timer_words(service, host.folder)}; '
               'printf "%s\\n" "$@"', cwd=host.folder)
    assert said.stdout.splitlines() == [MIRAGE, '-C', str(host.repository), 'pull', '--quiet']
    host.mirage('install', '--uninstall', str(host.repository))
    assert [path.name for path in host.units.iterdir()] == ['mine.timer']


def timer_words(service: Path, folder: Path) -> Path:
    """A script that takes the words of the unit's command as systemd does: % and $ are doubled."""
    line = next(one for one in service.read_text().splitlines() if one.startswith('ExecStart='))
    words = line.removeprefix('ExecStart=').replace('%%', '%').replace('$$', '\\$')
    path = folder / 'words'
    path.write_text(f'set -- {words}\n')
    return path


@needs_spool
def test_units_of_others_are_neither_replaced_nor_removed(host: Host) -> None:
    other = host.units / f'{host.name}.timer'
    other.write_text('# of others\n')
    done = host.spool.run('sh', '-c', SYSTEMD, 'sh', str(host.folder), MIRAGE, 'install',
                          str(host.repository), '--config', str(host.settings), '--timer')
    assert (done.returncode, done.stderr) == (
        1, f'mirage-hooks: /etc/systemd/system/{other.name} is there and is not ours\n'
        '  hint: move it away\n')
    host.mirage('install', '--uninstall', str(host.repository))
    assert other.read_text() == '# of others\n'
    assert host.asked() == []


@needs_spool
def test_without_a_cron_daemon_the_timer_is_named_where_there_is_systemd(host: Host) -> None:
    assert host.install()[1].partition('or service cron start), ')[2] == (
        f"or let systemd do it: {MIRAGE} install --timer '{host.repository}'")


@pytest.mark.parametrize(('running', 'reason', 'hint'), [
    (False, 'systemd does not run on this host, so there are no timers',
     'leave --timer out: cron pulls then'),
    (True, 'your systemd ends with your last session, and its timers with it',
     'loginctl enable-linger, then again; or leave --timer out: cron pulls then'),
])
def test_where_systemd_keeps_no_timer_it_is_refused(
    tmp_path: Path, running: bool, reason: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timer.facts, 'SYSTEMD', tmp_path if running else tmp_path / 'none')
    monkeypatch.setattr(timer.facts, 'systemd', lambda root: '')
    with pytest.raises(timer.errors.Refused) as refused:
        timer.require()
    assert (refused.value.reason, refused.value.hint) == (reason, hint)
