"""Pinned flows, as text for nft: new connections go to the live release, established ones stay
where they began. Nothing is known of what was established before the rules came, and nothing need
be: a TCP packet that is no first one and belongs to no known flow is the *base* release's, the one
that was live then. So no rule at all is needed while a single release serves.

The hooks are netdev's: ingress of the bridge's ports for clients on the wire, egress of the bridge
itself for clients on this host (Linux 5.16, nft 1.0.1). They come last (PRIORITY), so that what
the host's own rules drop there stays dropped."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator

import msgspec

from ..state import model
from . import nft

PRIORITY = 500
SIZE = 131072  # flows that one release can have while two serve
UNICAST = 'ether daddr & 01:00:00:00:00:00 == 00:00:00:00:00:00'
FIRST = 'tcp flags & (syn | ack) == syn'
LAST = 'tcp flags & (fin | rst) != 0'
ANSWER = {4: 'arp operation reply', 6: 'icmpv6 type nd-neighbor-advert'}
"""What tells a neighbour's hardware address to whoever asked for it."""
LINGER = '10s'  # a flow that was closed is forgotten after this
LIFETIME = '1d'  # an element needs some time-out to be given a shorter one later


class Steering(msgspec.Struct, frozen=True):
    """What stands in our table for one unikernel: `live` gets what is new, `others` keep their
    flows, `ports` are the bridge's other ports (where clients come from)."""

    unikernel: str
    bridge: str
    addresses: tuple[str, ...]
    base: int
    live: model.Side
    others: tuple[model.Side, ...]
    ports: tuple[str, ...]


def flows(unikernel: str, release: int, version: int) -> str:
    """The set of the flows that began at `release`."""
    return f'flows{release}_{version}_{nft.key(unikernel)}'


def sets(unikernel: str, release: int, addresses: tuple[str, ...]) -> list[str]:
    """The sets of `release` for `addresses`."""
    return [flows(unikernel, release, ipaddress.ip_address(one).version) for one in addresses]


def switched(owner: str, steering: Steering, above: bool = False) -> str:
    """The transaction that sends new connections to `steering.live`; the rest stands already. With
    `above` it goes above what stands for the same sides, none of which is reached any more: once a
    rule is deleted, nft waits 15 ms until no packet can be on its way through it (RCU)."""
    lines: list[str] = []
    for version in _versions(steering):
        lines += _sets(owner, steering, version)
        for name, rules in (
            (_pick(steering.unikernel, version), _picking(steering, version)),
            (_answers(steering.unikernel, version), _answering(steering)),
        ):
            lines += _inserted(owner, name, rules) if above else _replaced(owner, name, rules)
    return '\n'.join(lines) + '\n'


def steered(owner: str, steering: Steering, names: frozenset[str]) -> str:
    """The transaction after which our table says `steering`, where it has `names` now. Known
    flows stay known."""
    hooks = _hooks(steering)
    lines = [f'add table netdev {nft.table(owner)}', switched(owner, steering).rstrip()]
    stale = [n for n in nft.of(steering.unikernel, names) if n.startswith(('in', 'out'))]
    lines += nft.deleted(owner, [name for name in stale if name not in hooks])
    for name, hook in hooks.items():
        if name not in names:
            lines += [f'add chain netdev {nft.table(owner)} {name} {{ {hook} }}',
                      *_entrances(owner, steering, name)]
    wanted = {flows(steering.unikernel, side.release, version)
              for side in (steering.live, *steering.others) for version in _versions(steering)}
    lines += nft.deleted(owner, [n for n in nft.of(steering.unikernel, names)
                              if n.startswith('flows') and n not in wanted])
    return '\n'.join(lines) + '\n'


def removed(owner: str, unikernel: str, names: frozenset[str]) -> str:
    """The transaction that takes away all that is there for `unikernel`; '' for nothing."""
    mine = nft.of(unikernel, names)
    if not mine:
        return ''
    if len(mine) == len(names):
        return f'delete table netdev {nft.table(owner)}\n'
    # A chain goes before the chains it leads to, and these before the sets they use.
    inner = ('pick', 'answers')
    order = sorted(mine, key=lambda n: (n.startswith('flows'), n.startswith(inner)))
    return '\n'.join(nft.deleted(owner, order)) + '\n'


def _versions(steering: Steering) -> list[int]:
    return [ipaddress.ip_address(address).version for address in steering.addresses]


def _sets(owner: str, steering: Steering, version: int) -> list[str]:
    kind = f'type ipv{version}_addr . inet_service; flags dynamic,timeout; size {SIZE};'
    return [
        f'add set netdev {nft.table(owner)} {flows(steering.unikernel, side.release, version)} '
        f'{{ {kind} }}'
        for side in _tracked(steering)
    ]


def _tracked(steering: Steering) -> list[model.Side]:
    """Whose flows are known one by one: all but the base's."""
    return [s for s in (steering.live, *steering.others) if s.release != steering.base]


def _replaced(owner: str, name: str, rules: list[str]) -> list[str]:
    chain = f'netdev {nft.table(owner)} {name}'
    return [f'add chain {chain}', f'flush chain {chain}',
            *(f'add rule {chain} {rule}' for rule in rules)]


def _inserted(owner: str, name: str, rules: list[str]) -> list[str]:
    # Each goes above the one before.
    return [f'insert rule netdev {nft.table(owner)} {name} {rule}' for rule in reversed(rules)]


def _picking(steering: Steering, version: int) -> list[str]:
    """For what is to one of its addresses; the last rule takes all that is left."""
    return [*_rules(steering, version)] if steering.others else [_to(steering.live)]


def _answering(steering: Steering) -> list[str]:
    """What neighbours answer reaches all: each asked by itself, with an address that they share."""
    macs = ', '.join(sorted({side.mac for side in (steering.live, *steering.others) if side.mac}))
    if not steering.others or not macs:
        return []
    copies = ' '.join(f'dup to "{side.device}"' for side in steering.others)
    return [f'ether daddr {{ {macs} }} {copies} fwd to "{steering.live.device}"']


def _pick(unikernel: str, version: int) -> str:
    return f'pick_{version}_{nft.key(unikernel)}'


def _answers(unikernel: str, version: int) -> str:
    return f'answers_{version}_{nft.key(unikernel)}'


def _rules(steering: Steering, version: int) -> Iterator[str]:
    flow = f'{"ip" if version == 4 else "ip6"} saddr . tcp sport'
    tracked = {side.release: flows(steering.unikernel, side.release, version)
               for side in _tracked(steering)}
    live = steering.live
    yield f'meta l4proto != tcp {_to(live)}'
    for release, name in tracked.items():
        begun = release == live.release
        act = f'update @{name} {{ {flow} timeout {LIFETIME} }}'
        yield f'{FIRST} {act if begun else f"delete @{name} {{ {flow} }}"}'
    yield f'{FIRST} {_to(live)}'
    for side in _tracked(steering):
        name = tracked[side.release]
        yield f'{LAST} {flow} @{name} update @{name} {{ {flow} timeout {LINGER} }}'
        yield f'{flow} @{name} {_to(side)}'
    older = [side for side in steering.others if side.release == steering.base]
    yield _to(older[0] if older else live)


def _to(side: model.Side) -> str:
    # unix/direct takes another hardware address at each start: neighbours may know either.
    to = f'ether daddr set {side.mac} ' if side.mac else ''
    return f'{to}fwd to "{side.device}"'


def _hooks(steering: Steering) -> dict[str, str]:
    quoted = nft.quoted(steering.ports)
    mark = hashlib.sha256(quoted.encode()).hexdigest()[:6]  # other ports, another chain
    kind = f'type filter hook {{}} priority {PRIORITY};'
    ours = nft.key(steering.unikernel)
    hooks = {f'out_{ours}': kind.format(f'egress device "{steering.bridge}"')}
    if quoted:
        hooks[f'in_{mark}_{ours}'] = kind.format(f'ingress devices = {{ {quoted} }}')
    return hooks


def _entrances(owner: str, steering: Steering, name: str) -> list[str]:
    rules = [f'{ANSWER[version]} jump {_answers(steering.unikernel, version)}'
             for version in dict.fromkeys(_versions(steering))]
    rules += [f'{nft.ip(address)} daddr {address} {UNICAST} '
              f'goto {_pick(steering.unikernel, ipaddress.ip_address(address).version)}'
              for address in steering.addresses]
    return [f'add rule netdev {nft.table(owner)} {name} {rule}' for rule in rules]
