"""Others with the name or an address of ours: seen on a real bridge, and in what a stand-in for xl
lists. Real domains are in test_xen."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mirage_hooks import config
from mirage_hooks.host import processes, programs, xen
from mirage_hooks.messages import errors
from mirage_hooks.state import model, store
from mirage_hooks.switching import conflicts
from tests import wired
from tests.wired import ADDRESS, Wired, act

needs_wire = pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')
OURS, OTHER = '02:00:00:00:00:07', '00:16:3e:00:00:01'
XL = """#!/bin/sh
case "$*" in
list) echo 'Name ID Mem VCPUs State Time(s)'; for name in {names}; do
    echo "$name 7 32 1 r----- 0.1"; done ;;
'list -l') cat {listed} ;;
esac
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Wired]:
    made = Wired(tmp_path)
    try:
        yield made
    finally:
        made.end()


def stranger(site: Wired, *addresses: str) -> None:
    """One who has `addresses` and the hardware address OTHER, on a cable of the bridge."""
    cable = f'link add old type veth peer name eth9 netns {site.outer}'
    for line in (cable, 'link set old master br0 up'):
        act('ip', '-n', site.inner, *line.split())
    # Linux answers on each of its interfaces for all of its addresses.
    quiet = 'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore'
    act(*site.outside(), 'sh', '-c', quiet)
    given = [f'addr add {address}/24 dev eth9 noprefixroute' for address in addresses]
    for line in (f'link set eth9 address {OTHER} up', *given):
        act('ip', '-n', site.outer, *line.split())


def crash(site: Wired) -> None:
    processes.end([process for _, process in processes.marked(site.state().root)])


ANSWERS = f'{OTHER} behind old is not ours, and answers for our address {ADDRESS}'
HINT = (f'look whose it is: bridge fdb show br br0 | grep {OTHER}; end it, then mirage-hooks '
        'deploy')


@needs_wire
def test_another_one_that_answers_for_our_address_is_seen_whenever_it_came(site: Wired) -> None:
    site.start()
    assert 'ok       www: nobody else was seen with its name or address\n' in (
        site.mirage('check').stdout)
    assert 'conflicts' not in site.mirage('status', '--json').stdout
    stranger(site, ADDRESS)
    done = site.mirage('check')
    assert done.returncode == 1
    assert f'PROBLEM  www: {ANSWERS}\n         hint: {HINT}\n' in done.stdout
    assert f'  WARNING: {ANSWERS}\n' in site.mirage('status').stdout
    assert json.loads(site.mirage('status', '--json').stdout)['unikernels'][0]['conflicts'] == [
        ANSWERS]
    # A new release in the place of ours makes nothing worse: it is deployed, and said.
    site.release()
    done = site.mirage('pull', '--quiet')
    assert (done.returncode, 'www: release 2 (unix, ' in done.stdout) == (0, True)
    assert f'www: WARNING: {ANSWERS}\n  hint: {HINT}\n' in done.stdout
    assert site.mirage('pull', '--quiet').stdout == ''  # cron says it once
    assert f'www: WARNING: {ANSWERS}\n' in site.mirage('deploy').stdout


@needs_wire
def test_nothing_is_started_where_another_one_answers_and_none_of_ours_runs(site: Wired) -> None:
    stranger(site, ADDRESS)
    site.release()
    site.clone()
    done = site.mirage('deploy')
    assert done.returncode == 1
    assert f'www: REFUSED: {ANSWERS}\n  hint: {HINT}\nwww: nothing runs\n' in done.stdout
    assert (site.processes(), site.links()) == ([], ['old'])
    act('ip', '-n', site.inner, 'link', 'delete', 'old')
    assert site.mirage('deploy').returncode == 0
    # What ended comes back next to nobody, either: two with one address are worse than one.
    stranger(site, ADDRESS)
    crash(site)
    done = site.mirage('deploy')
    assert (done.returncode, f'www: REFUSED: {ANSWERS}\n' in done.stdout) == (1, True)
    assert site.processes() == []
    act('ip', '-n', site.inner, 'link', 'delete', 'old')
    assert site.mirage('deploy').returncode == 0
    assert site.processes() == [2]


@needs_wire
def test_a_gateway_that_answers_for_everybody_is_nobody_s_double(site: Wired) -> None:
    gateway = '10.9.0.77'
    stranger(site, ADDRESS, gateway)
    site.configure(network={'mode': 'static', 'bridge': 'br0', 'ipv4': f'{ADDRESS}/24',
                            'gateway': gateway})
    site.release()
    site.clone()
    assert 'nobody else was seen with its name or address' in site.mirage('check').stdout


@needs_wire
def test_two_of_ours_that_serve_side_by_side_are_no_conflict(site: Wired) -> None:
    site.configure(drain='60s')
    site.start()
    held = site.asking(site.outside(), held=1)
    try:
        site.release()
        done = site.mirage('pull', '--quiet')
        assert (done.returncode, site.processes()) == (0, [1, 2])
        assert 'WARNING' not in done.stdout
        assert 'conflicts' not in site.mirage('status', '--json').stdout
        assert 'nobody else was seen with its name or address' in site.mirage('check').stdout
    finally:
        held.end()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Store:
    """One whose unikernel www runs as the domain www-3, with the hardware address OURS."""
    made = store.opened(tmp_path / 'state')
    releases = made.of('www')
    for _ in range(3):
        number = releases.begin()
    plan = model.Plan(target='xen', command=('xl',), domain='www-3',
                      taps=(model.Tap('vif-www', 'nobr0', OURS),))
    releases.save(model.Release(
        unikernel='www', number=number, commit='', path='', blob='', digest='', size=0,
        description='', fingerprint='', slot='blue', created=0, plan=plan,
    ))
    releases.point(number)
    monkeypatch.setattr(programs, 'PATH', f'{tmp_path}:{os.environ["PATH"]}')
    return made


def domains(state: store.Store, listed: str = '', **macs: str) -> None:
    """Let xl list domains by name (`_` for `-`), each with its hardware address."""
    named = {name.replace('_', '-'): mac for name, mac in macs.items()}
    whole = [{'domid': 7, 'config': {'c_info': {'type': 'pv', 'name': name}, 'b_info': {},
                                     'nics': [{'devid': 0, 'mac': mac, 'bridge': 'nobr0'}]}}
             for name, mac in named.items()]
    folder = state.root.parent
    (folder / 'listed').write_text(listed or json.dumps(whole))
    (folder / 'xl').write_text(XL.format(names=' '.join(named), listed=folder / 'listed'))
    (folder / 'xl').chmod(0o755)


def said(state: store.Store, name: str = 'www') -> list[tuple[str, str, bool]]:
    wanted = config.Unikernel(image='xen/latest', target='xen')
    return [msgspec.structs.astuple(one) for one in conflicts.of(state, name, wanted)]


RUNS = 'the domain {} runs and is not ours'


@pytest.mark.parametrize(('macs', 'told'), [
    ({}, []),
    ({'blog': OTHER, 'wwww': OTHER, 'www_blog': OTHER, 'blog_3': OTHER}, []),
    ({'www': OTHER}, [(f'{RUNS.format("www")}: it may hold the address',
                       'xl destroy www, then mirage-hooks deploy', True)]),
    ({'w.ww': OTHER}, [(f'{RUNS.format("w.ww")}: it may hold the address',
                        'xl destroy w.ww, then mirage-hooks deploy', True)]),
    ({'www_2': OTHER}, []),  # a release of ours that is to go
    ({'www_4': OTHER}, [(f'{RUNS.format("www-4")}, but is called as our releases are',
                         'look whose it is: xl list -l www-4', False)]),
    ({'blog': OURS.upper()}, [
        (f'{RUNS.format("blog")}, and has our hardware address {OURS}',
         'xl destroy blog, then mirage-hooks deploy', True)]),
    ({'www': OURS}, [(f'{RUNS.format("www")}, and has our hardware address {OURS}',
                      'xl destroy www, then mirage-hooks deploy', True)]),
])
def test_a_domain_of_others_is_told_by_its_name_and_its_hardware_address(
    state: store.Store, macs: dict[str, str], told: list[tuple[str, str, bool]]
) -> None:
    releases = state.of('www')
    release = releases.current()
    assert release is not None
    releases.save(msgspec.structs.replace(
        release, number=2, plan=msgspec.structs.replace(release.plan, domain='www-2')
    ))
    domains(state, www_3=OURS, **macs)
    assert said(state) == told


def test_a_domain_that_is_called_as_a_release_is_nobody_s_double(state: store.Store) -> None:
    domains(state, www_3=OURS)
    assert said(state, 'www-3') == []


def test_only_what_is_sure_keeps_a_release_from_being_started(state: store.Store) -> None:
    release = state.of('www').current()
    assert release is not None
    domains(state, www_4=OTHER)
    conflicts.require_none(state, 'www', None, release)
    domains(state, www_4=OTHER, www=OTHER)
    with pytest.raises(errors.Unavailable) as refused:
        conflicts.require_none(state, 'www', None, release)
    assert (refused.value.reason, refused.value.hint) == (
        'the domain www runs and is not ours: it may hold the address',
        'xl destroy www, then mirage-hooks deploy',
    )


@pytest.mark.parametrize('listed', ['(domain\n    (domid 7)', '[]', '[{"config": {}}]', '{}'])
def test_names_are_told_where_xl_describes_nothing(state: store.Store, listed: str) -> None:
    domains(state, listed, www=OTHER)
    assert xen.described() == [xen.Domain('www')]
    assert [text for text, _, _ in said(state)] == [
        'the domain www runs and is not ours: it may hold the address'
    ]


def test_without_xl_there_is_nothing_to_see(state: store.Store) -> None:
    assert said(state) == []
