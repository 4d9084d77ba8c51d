"""The host's doors where this machine can have nothing real: `xl` is a stand-in here, whose
domains are lines of a file. Real ones are in test_xen."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_hooks import errors, store
from mirage_hooks.host import network, system, xen

XL = """#!/bin/sh
cd {folder}
case $1 in
list) /bin/cat domains ;;
destroy)
    if [ -e stubborn ]; then echo 'libxl: rc -15' >&2; exit 1; fi
    /bin/sed -i "/^$2 /d" domains ;;
domid) echo 7 ;;
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
