"""What a release sends to the gateway for a visitor, turned to that visitor: rules of nft, as
text."""

from __future__ import annotations

from . import flows, nft


def turned(
    owner: str, unikernel: str, devices: tuple[str, ...], answers: list[tuple[str, str]],
    to: tuple[str, str],
) -> str:
    """The transaction that turns what comes from `devices` for a visitor's address to the port and
    hardware address `to`: only what was sent to the gateway's own one, the second of each of
    `answers`; the rest is dropped."""
    chain = f'{nft.table(owner)} {_turning(unikernel)}'
    port, mac = to
    source = f'ingress devices = {{ {nft.quoted(devices)} }}'
    kind = f'type filter hook {source} priority {-flows.PRIORITY};'
    lines = [f'add table netdev {nft.table(owner)}', f'add chain netdev {chain} {{ {kind} }}',
             f'flush chain netdev {chain}']
    for address, gateway in answers:
        answer = f'{nft.ip(address)} daddr {address}'
        lines += [
            f'add rule netdev {chain} {answer} ether daddr {gateway} ether daddr set {mac} '
            f'fwd to "{port}"',
            f'add rule netdev {chain} {answer} drop',
        ]
    return '\n'.join(lines) + '\n'


def unturned(owner: str, unikernel: str, names: frozenset[str]) -> str:
    """The transaction that takes away what `turned` made, where our table has `names`."""
    chain = _turning(unikernel)
    if chain not in names:
        return ''
    if len(names) == 1:
        return f'delete table netdev {nft.table(owner)}\n'
    return '\n'.join(nft.deleted(owner, [chain])) + '\n'


def _turning(unikernel: str) -> str:
    return f'turn_{nft.key(unikernel)}'
