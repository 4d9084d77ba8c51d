"""The IPv4 address that an image of MirageOS 1 to 3 was configured with, read from its bytes.

OCaml keeps a constant text between the four zeros that end the word before it and at least one
zero of its own. So an address stands in the image as a text of its own, unlike those in pages."""

from __future__ import annotations

import ipaddress
import mmap
import re
from pathlib import Path

import msgspec

_BYTE = rb'(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])'
_TEXT = re.compile(rb'(?<=\0{4})%b(?:\.%b){3}(?:/[0-9]{1,2})?(?=\0)' % (_BYTE, _BYTE))
RESOLVERS = {'8.8.8.8', '8.8.4.4'}  # of MirageOS's own, in every image that looks up names


class Address(msgspec.Struct, frozen=True):
    """What a unikernel is reached at: `ipv4` as ADDRESS/PREFIX, its `gateway` ('' where it has
    none, or nobody knows)."""

    ipv4: str
    gateway: str = ''


def address(path: Path) -> Address | None:
    """What the raw image at `path` was configured with; None when it has none or several."""
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        texts = list(dict.fromkeys(found[0].decode() for found in _TEXT.finditer(raw)))
    with_prefix = [text for text in texts if '/' in text and _usable(text)]
    plain = [text for text in texts if '/' not in text and _usable(text)]
    hosts = [text for text in plain if not _mask(text)]
    if with_prefix:  # from MirageOS 3 on
        return _with_gateway(with_prefix[0], hosts) if len(with_prefix) == 1 else None
    masks = [text for text in plain if _mask(text)]
    return _masked(hosts, masks[0]) if len(masks) == 1 else None


def _with_gateway(ipv4: str, hosts: list[str]) -> Address:
    own = ipaddress.IPv4Interface(ipv4)
    found = [one for one in hosts
             if ipaddress.IPv4Address(one) in own.network and one != str(own.ip)]
    return Address(ipv4, found[0] if len(found) == 1 else '')


def _masked(hosts: list[str], mask: str) -> Address | None:
    """Of two `hosts` in one network the gateway is the one at its beginning or its end."""
    own = [ipaddress.IPv4Interface(f'{one}/{mask}') for one in hosts]
    networks = {one.network for one in own}
    if len(networks) != 1:
        return None
    ends = [one for one in own if int(one.ip) - int(one.network.network_address) == 1
            or int(one.network.broadcast_address) - int(one.ip) == 1]
    others = [one for one in own if one not in ends]
    if len(own) == 1:
        return Address(str(own[0]))
    return Address(str(others[0]), str(ends[0].ip)) if (len(others), len(ends)) == (1, 1) else None


def _mask(text: str) -> bool:
    """Whether `text` is a netmask of an ordinary network: 255 first, ones before zeros."""
    inverse = int(ipaddress.IPv4Address(text)) ^ 0xFFFFFFFF
    return text.startswith('255.') and inverse > 0 and inverse & (inverse + 1) == 0


def _usable(text: str) -> bool:
    """Whether a unikernel may have the address in `text`."""
    try:
        own = ipaddress.IPv4Interface(text)
    except ValueError:
        return False
    plain = not (own.ip.is_multicast or own.ip.is_loopback or own.ip.is_unspecified)
    return plain and str(own.ip) not in RESOLVERS
