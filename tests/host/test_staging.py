"""The stage on which a new release proves itself, and who may come on it."""

from __future__ import annotations

import msgspec
import pytest
from pytest_mock import MockerFixture

from mirage_hooks import config
from mirage_hooks.config import reading
from mirage_hooks.host import staging
from mirage_hooks.messages import errors
from mirage_hooks.state import model
from mirage_hooks.switching import health
from tests.guests.scene import needs

OWNER = '0123456789abcdef'



ALONE = (staging.Neighbour('10.0.0.2/24', '10.0.0.1', True, '02:00:00:00:00:aa'),)
BOTH = (*ALONE, staging.Neighbour('fd00::2/64', 'fd00::1', True, '02:00:00:00:00:bb'))


def test_the_stage_is_named_after_its_owner_and_no_part_of_this_host() -> None:
    assert staging.outside(OWNER, '/proc/1/fd/9', ALONE) == (
        'link add mh-01234567-s type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n'
        'link set dev mh-01234567-s alias "mirage-hooks 0123456789abcdef" arp off '
        'addrgenmode none up\n'
        'link add mh-01234567-v type veth peer name mh-01234567-p netns /proc/1/fd/9\n'
        'link set dev mh-01234567-v alias "mirage-hooks 0123456789abcdef" addrgenmode none '
        'master mh-01234567-s up\n'
    )


def test_two_gateways_have_a_wire_each_unless_they_are_one_machine() -> None:
    assert staging.inside(OWNER, BOTH).splitlines() == [
        'link set dev lo up',
        'link set dev mh-01234567-p address 02:00:00:00:00:aa',
        'addr add 10.0.0.1/24 dev mh-01234567-p nodad',
        'ntable change name arp_cache dev mh-01234567-p retrans 20',
        'link set dev mh-01234567-q address 02:00:00:00:00:bb',
        'addr add fd00::1/64 dev mh-01234567-q nodad',
        'ntable change name ndisc_cache dev mh-01234567-q retrans 20',
        'link set dev mh-01234567-p up',
        'link set dev mh-01234567-q up',
    ]
    same = tuple(msgspec.structs.replace(one, mac='') for one in BOTH)
    assert staging.inside(OWNER, same).splitlines()[-1] == 'link set dev mh-01234567-p up'
    assert 'mh-01234567-w' not in staging.outside(OWNER, '/proc/1/fd/9', same)
    assert 'mh-01234567-w' in staging.outside(OWNER, '/proc/1/fd/9', BOTH)


@pytest.mark.parametrize(('given', 'neighbours'), [
    ({'ipv4': '10.0.0.2/24', 'gateway': '10.0.0.254'}, ['10.0.0.254/24']),
    ({'ipv4': '10.0.0.2/24'}, ['10.0.0.1/24']),
    ({'ipv4': '10.0.0.1/24'}, ['10.0.0.2/24']),
    ({'ipv4': '10.0.0.2/32', 'gateway': '10.1.0.1'}, ['10.1.0.1 peer 10.0.0.2']),
    ({'ipv4': '10.0.0.2/32'}, ['169.254.1.1 peer 10.0.0.2']),
    ({'ipv6': 'fd00::2/64', 'ipv6_gateway': 'fe80::1'}, ['fe80::1 peer fd00::2']),
    ({'ipv4': '10.0.0.2/24', 'ipv6': 'fd00::2/64', 'ipv6_gateway': 'fd00::1'},
     ['10.0.0.1/24', 'fd00::1/64']),
])
def test_on_it_is_the_gateway_or_some_neighbour(
    given: dict[str, str], neighbours: list[str], mocker: MockerFixture
) -> None:
    mocker.patch.object(staging.neighbours, 'ask', return_value='')
    text = staging.inside(OWNER, staging.met(config.Static(bridge='br0', **given)))
    assert [line for line in text.splitlines() if line.startswith('addr')] == [
        f'addr add {one} dev mh-01234567-p nodad' for one in neighbours
    ]


def test_a_domain_is_created_on_the_stage() -> None:
    tap = model.Tap('www-x', 'xenbr0', '02:00:00:00:00:01')
    text = "vif = ['mac=02:00:00:00:00:01,bridge={},vifname=www-x']\n"
    plan = model.Plan('xen', ('xl', 'create', 'f'), 'www-1', (tap,), {'f': text.format('xenbr0')})
    assert staging.moved(plan, 'stage') == model.Plan(
        'xen', ('xl', 'create', 'f'), 'www-1',
        (model.Tap('www-x', 'stage', '02:00:00:00:00:01'),), {'f': text.format('stage')},
    )


def unikernel(text: str) -> config.Unikernel:
    return reading.parse(f'unikernels: {{www: {{image: a, {text}}}}}'.encode(), 'f').unikernels[
        'www'
    ]


STATIC = 'network: {mode: static, bridge: br0, ipv4: 10.0.0.2/24}'


@pytest.mark.parametrize(('text', 'next_to'), [
    (STATIC, True),
    (f'{STATIC}, switch: overlap', True),
    (f'{STATIC}, switch: replace', False),
    (f'{STATIC}, blocks: {{d: {{path: /d}}}}', False),
    (f'{STATIC}, blocks: {{d: {{path: /d, read_only: true}}}}', True),
    ('network: {mode: static, bridge: br0}', False),
    ('network: {mode: static, interface: tap0, ipv4: 10.0.0.2/24}', False),
    ('network: {mode: static, bridge: br0, ipv6: "fd00::2/64"}', True),
    ('network: {mode: direct, bridge: br0}', False),
    ('network: {mode: socket, port: 80}', False),
    ('memory: 8', False),
    ('networks: {a: {mode: static, bridge: br0, ipv4: 10.0.0.2/24}, b: {mode: direct, '
     'bridge: br1}}', False),
])
def test_releases_run_next_to_each_other_where_the_network_allows(text: str, next_to: bool) -> None:
    assert (unikernel(text).overlapped is not None) == next_to


DIRECT = 'network: {mode: direct, bridge: br0}'


@pytest.mark.parametrize(('text', 'next_to'), [
    (DIRECT, True),
    (f'{DIRECT}, switch: overlap', True),
    (f'{DIRECT}, switch: replace', False),
    (f'{DIRECT}, blocks: {{d: {{path: /d}}}}', False),
    ('network: {mode: direct, interface: tap0}', False),
    (STATIC, False),
    ('networks: {a: {mode: direct, bridge: br0}, b: {mode: direct, bridge: br1}}', False),
])
def test_releases_share_an_address_by_dhcp_where_it_is_their_only_network(
    text: str, next_to: bool
) -> None:
    assert unikernel(text).leased == next_to


def test_overlap_where_it_cannot_be_is_refused() -> None:
    with pytest.raises(errors.Refused) as refused:
        unikernel('network: {mode: direct, interface: tap0}, switch: overlap')
    assert refused.value.reason == (
        'f:1:72: www has switch: overlap, which wants one network with bridge and no interface, by '
        'DHCP or static with ipv4 or ipv6, such as network: {mode: static, bridge: br0, ipv4: '
        '192.0.2.10/24}; or mode: socket with a port'
    )


def test_how_it_switches_is_no_reason_to_start_it_anew() -> None:
    assert unikernel(STATIC).fingerprint == unikernel(
        f'{STATIC}, switch: replace, drain: 5m'
    ).fingerprint


@needs('ping')
def test_without_questions_the_address_must_answer() -> None:
    assert health.questions(unikernel(STATIC), '10.0.0.2') == (config.Health(ping='10.0.0.2'),)
    assert health.questions(unikernel(f'{STATIC}, arguments: [--port=80]'), '10.0.0.2') == (
        config.Health(tcp='10.0.0.2:80'),
    )
    assert health.questions(unikernel(STATIC)) == (config.Health(alive='1s'),)
