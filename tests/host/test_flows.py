"""The text that steers flows, and that nft takes it."""

from __future__ import annotations

import os

import pytest

from mirage_hooks.host import flows, nft, turning
from mirage_hooks.state import model
from tests import wired
from tests.deployment import run

OWNER = '0123456789abcdef'
BLUE = model.Side(release=3, device='blue', mac='02:00:00:00:00:03')
GREEN = model.Side(release=4, device='green', mac='02:00:00:00:00:04')
OLDER = model.Side(release=2, device='older', mac='')


def steering(
    live: model.Side, *others: model.Side, base: int = 3, addresses: tuple[str, ...] = ('10.0.0.2',)
) -> flows.Steering:
    return flows.Steering('www', 'br0', addresses, base, live, others, ('eth0', 'wire'))


def test_a_release_that_is_alone_gets_everything() -> None:
    assert flows.switched(OWNER, steering(BLUE)) == (
        'add chain netdev mirage_hooks_01234567 pick_4_7c2ecd07\n'
        'flush chain netdev mirage_hooks_01234567 pick_4_7c2ecd07\n'
        'add rule netdev mirage_hooks_01234567 pick_4_7c2ecd07 '
        'ether daddr set 02:00:00:00:00:03 fwd to "blue"\n'
        'add chain netdev mirage_hooks_01234567 answers_4_7c2ecd07\n'
        'flush chain netdev mirage_hooks_01234567 answers_4_7c2ecd07\n'
    )


def test_new_connections_go_to_the_live_release_and_unknown_ones_to_the_base() -> None:
    rule = 'add rule netdev mirage_hooks_01234567 pick_4_7c2ecd07 '
    flow, first = 'ip saddr . tcp sport', 'tcp flags & (syn | ack) == syn'
    green = 'ether daddr set 02:00:00:00:00:04 fwd to "green"'
    assert flows.switched(OWNER, steering(GREEN, BLUE, OLDER)).splitlines() == [
        'add set netdev mirage_hooks_01234567 flows4_4_7c2ecd07 { type ipv4_addr . inet_service; '
        'flags dynamic,timeout; size 131072; }',
        'add set netdev mirage_hooks_01234567 flows2_4_7c2ecd07 { type ipv4_addr . inet_service; '
        'flags dynamic,timeout; size 131072; }',
        'add chain netdev mirage_hooks_01234567 pick_4_7c2ecd07',
        'flush chain netdev mirage_hooks_01234567 pick_4_7c2ecd07',
        f'{rule}meta l4proto != tcp {green}',
        f'{rule}{first} update @flows4_4_7c2ecd07 {{ {flow} timeout 1d }}',
        f'{rule}{first} delete @flows2_4_7c2ecd07 {{ {flow} }}',
        f'{rule}{first} {green}',
        f'{rule}tcp flags & (fin | rst) != 0 {flow} @flows4_4_7c2ecd07 '
        f'update @flows4_4_7c2ecd07 {{ {flow} timeout 10s }}',
        f'{rule}{flow} @flows4_4_7c2ecd07 {green}',
        f'{rule}tcp flags & (fin | rst) != 0 {flow} @flows2_4_7c2ecd07 '
        f'update @flows2_4_7c2ecd07 {{ {flow} timeout 10s }}',
        f'{rule}{flow} @flows2_4_7c2ecd07 fwd to "older"',
        f'{rule}ether daddr set 02:00:00:00:00:03 fwd to "blue"',
        'add chain netdev mirage_hooks_01234567 answers_4_7c2ecd07',
        'flush chain netdev mirage_hooks_01234567 answers_4_7c2ecd07',
        'add rule netdev mirage_hooks_01234567 answers_4_7c2ecd07 '
        'ether daddr { 02:00:00:00:00:03, 02:00:00:00:00:04 } '
        'dup to "blue" dup to "older" fwd to "green"',
    ]


def test_a_switch_above_what_stands_deletes_nothing_and_keeps_the_order_of_its_rules() -> None:
    def rules(kind: str, text: str) -> list[str]:
        return [one.removeprefix(kind) for one in text.splitlines() if one.startswith(kind)]

    new = steering(GREEN, BLUE, OLDER)
    text = flows.switched(OWNER, new, above=True)
    inserted = rules('insert rule ', text)
    assert len(rules('add set ', text)) + len(inserted) == len(text.splitlines())
    # Each is inserted above the one before.
    inserted.reverse()
    assert sorted(inserted, key=lambda one: 'answers_' in one) == rules(
        'add rule ', flows.switched(OWNER, new))


def test_the_hooks_are_the_ports_and_the_bridge_itself() -> None:
    added = flows.steered(OWNER, steering(BLUE), frozenset()).splitlines()
    table = 'netdev mirage_hooks_01234567'
    unicast = 'ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00'
    assert added[0] == f'add table {table}'
    answers = 'arp operation reply jump answers_4_7c2ecd07'
    assert added[-6:] == [
        f'add chain {table} out_7c2ecd07 {{ type filter hook egress device "br0" priority 500; }}',
        f'add rule {table} out_7c2ecd07 {answers}',
        f'add rule {table} out_7c2ecd07 ip daddr 10.0.0.2 {unicast} goto pick_4_7c2ecd07',
        f'add chain {table} in_78768c_7c2ecd07 {{ type filter hook ingress '
        'devices = { "eth0", "wire" } priority 500; }',
        f'add rule {table} in_78768c_7c2ecd07 {answers}',
        f'add rule {table} in_78768c_7c2ecd07 ip daddr 10.0.0.2 {unicast} goto pick_4_7c2ecd07',
    ]


def test_what_is_there_is_kept_and_what_is_stale_goes() -> None:
    names = frozenset({'out_7c2ecd07', 'in_000000_7c2ecd07', 'flows4_4_7c2ecd07',
                       'flows1_4_7c2ecd07', 'flows1_4_ffffffff'})
    text = flows.steered(OWNER, steering(GREEN, BLUE), names)
    assert [line for line in text.splitlines() if line.startswith('delete')] == [
        'delete chain netdev mirage_hooks_01234567 in_000000_7c2ecd07',
        'delete set netdev mirage_hooks_01234567 flows1_4_7c2ecd07',
    ]
    assert 'add chain netdev mirage_hooks_01234567 out_7c2ecd07 {' not in text


def test_taking_away_leaves_other_unikernels_alone() -> None:
    mine = {'answers_4_7c2ecd07', 'flows4_4_7c2ecd07', 'in_000000_7c2ecd07', 'out_7c2ecd07',
            'pick_4_7c2ecd07'}
    assert flows.removed(OWNER, 'www', frozenset({*mine, 'pick_4_ffffffff'})) == (
        'delete chain netdev mirage_hooks_01234567 in_000000_7c2ecd07\n'
        'delete chain netdev mirage_hooks_01234567 out_7c2ecd07\n'
        'delete chain netdev mirage_hooks_01234567 answers_4_7c2ecd07\n'
        'delete chain netdev mirage_hooks_01234567 pick_4_7c2ecd07\n'
        'delete set netdev mirage_hooks_01234567 flows4_4_7c2ecd07\n'
    )
    assert flows.removed(OWNER, 'www', frozenset(mine)) == (
        'delete table netdev mirage_hooks_01234567\n'
    )
    assert flows.removed(OWNER, 'www', frozenset({'pick_4_ffffffff'})) == ''


@pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')
def test_nft_takes_every_transaction_and_its_own_listing_is_read() -> None:
    name = f'mhf{os.getpid()}'
    addresses = ('10.0.0.2', 'fd00::2')

    def act(*command: str, text: str = '') -> str:
        done = run('ip', 'netns', 'exec', name, 'sh', '-c', 'printf %s "$0" | "$@"', text, *command,
                   cwd=wired.ROOT)
        assert done.returncode == 0, (text, done.stderr)
        return str(done.stdout)

    def known() -> frozenset[str]:
        return nft.known(act('nft', '-j', '-t', 'list', 'table', 'netdev', nft.table(OWNER)))

    wired.act('ip', 'netns', 'add', name)
    try:
        act('ip', 'link', 'add', 'br0', 'type', 'bridge')
        for port in ('eth0', 'wire', 'blue', 'green', 'older'):
            act('ip', 'tuntap', 'add', 'dev', port, 'mode', 'tap')
        names: frozenset[str] = frozenset()
        for one in (steering(BLUE, addresses=addresses),
                    steering(GREEN, BLUE, addresses=addresses),
                    steering(BLUE, GREEN, OLDER, addresses=addresses),
                    steering(BLUE, OLDER, addresses=addresses)):
            act('nft', '-f', '-', text=flows.steered(OWNER, one, names))
            act('nft', '-f', '-', text=flows.switched(OWNER, one, above=True))
            names = known()
        assert names == {
            'in_78768c_7c2ecd07', 'out_7c2ecd07', 'pick_4_7c2ecd07', 'pick_6_7c2ecd07',
            'flows2_4_7c2ecd07', 'flows2_6_7c2ecd07', 'answers_4_7c2ecd07', 'answers_6_7c2ecd07',
        }
        one = 'flows2_4_7c2ecd07'
        act('nft', 'add', 'element', 'netdev', nft.table(OWNER), one,
            '{ 10.0.0.9 . 5, 10.0.0.9 . 6 }')
        said = act('nft', '-j', 'list', 'set', 'netdev', nft.table(OWNER), one)
        assert nft.count(said) == 2
        turned = turning.turned(
            OWNER, 'www', ('blue', 'green'), [('192.0.2.1', '02:00:00:00:00:aa')],
            ('wire', '02:00:00:00:00:bb'),
        )
        for _ in range(2):  # again, after a kill
            act('nft', '-f', '-', text=turned)
        act('nft', '-f', '-', text=turning.unturned(OWNER, 'www', known()))
        assert known() == names
        act('nft', '-f', '-', text=turned)
        act('nft', '-f', '-', text=flows.removed(OWNER, 'www', known()))
        assert act('nft', 'list', 'tables') == ''
    finally:
        wired.act('ip', 'netns', 'delete', name)
