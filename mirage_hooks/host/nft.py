"""Our table of nft's netdev family, as text: its name, the names in it, what nft lists of it."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re


def table(owner: str) -> str:
    """The table of the repository `owner`: ours alone."""
    return f'mirage_hooks_{owner[:8]}'


def key(unikernel: str) -> str:
    """What the names of its chains and sets end in; a unikernel's own name may be too free."""
    return hashlib.sha256(unikernel.encode()).hexdigest()[:8]


def known(listing: str) -> frozenset[str]:
    """The names of the chains and sets in `listing`, what `nft -j -t list table` says."""
    entries = json.loads(listing)['nftables']
    return frozenset(
        entry[kind]['name'] for entry in entries for kind in ('chain', 'set') if kind in entry
    )


def count(listing: str) -> int:
    """How many flows are in a set, from what `nft -j list set` says."""
    sets = [entry['set'] for entry in json.loads(listing)['nftables'] if 'set' in entry]
    return sum(len(one.get('elem', ())) for one in sets)


def of(unikernel: str, names: frozenset[str]) -> list[str]:
    """Those of `names` that belong to `unikernel`."""
    return sorted(name for name in names if name.endswith(f'_{key(unikernel)}'))


def deleted(owner: str, names: list[str]) -> list[str]:
    """The commands that take the chains and sets `names` away."""
    return [
        f'delete {"set" if name.startswith("flows") else "chain"} netdev {table(owner)} {name}'
        for name in names
    ]


def quoted(devices: tuple[str, ...]) -> str:
    """`devices` as the elements of a set; what no device of nft's can be called is left out."""
    known = sorted(one for one in devices if re.fullmatch(r'[A-Za-z0-9._@-]+', one))
    return ', '.join(f'"{one}"' for one in known)


def ip(address: str) -> str:
    """The family that a rule about `address` names."""
    return {4: 'ip', 6: 'ip6'}[ipaddress.ip_address(address).version]
