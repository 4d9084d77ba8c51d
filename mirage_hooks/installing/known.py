"""What this host knows of the address of a domain that runs: an old image may not show it."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import TypeVar

import msgspec

from ..git import tree
from ..host import programs, xen
from ..messages import errors
from .compiled import Address

T = TypeVar('T')


class _Neighbour(msgspec.Struct):
    dst: str
    lladdr: str = ''


class _Local(msgspec.Struct):
    local: str
    prefixlen: int


class _Interface(msgspec.Struct):
    addr_info: list[_Local] = []


class _Route(msgspec.Struct):
    gateway: str = ''


def address(unikernel: str, bridge: str) -> Address | None:
    """The address on `bridge` of the domain that is called like `unikernel`: who has spoken to it
    knows. None when it does not run, or this host has neither spoken to it nor an address there."""
    with contextlib.suppress(errors.Refused):
        macs = [mac for one in xen.described() for mac in one.macs
                if tree.spelled(one.name) == tree.spelled(unikernel)]
        for one in _ip('neigh', bridge, list[_Neighbour]):
            if one.lladdr in macs:
                return _placed(one.dst, bridge)
    return None


def _placed(text: str, bridge: str) -> Address | None:
    """`text` with the prefix and the gateway that this host has on `bridge`."""
    for interface in _ip('address', bridge, list[_Interface]):
        for own in interface.addr_info:
            network = ipaddress.ip_interface(f'{own.local}/{own.prefixlen}').network
            if ipaddress.ip_address(text) in network:
                gateways = [one.gateway for one in _ip('route', bridge, list[_Route])
                            if one.gateway]
                return Address(f'{text}/{own.prefixlen}', gateways[0] if gateways else own.local)
    return None


def _ip(what: str, bridge: str, kind: type[list[T]]) -> list[T]:
    """What `ip` shows of IPv4 on `bridge`; anybody may ask."""
    program = programs.find('ip')
    if program is None:
        return []
    default = ('default',) if what == 'route' else ()
    code, printed, _ = programs.exchange(program, '-j', '-4', what, 'show', *default, 'dev', bridge)
    return msgspec.json.decode(printed or b'[]', type=kind) if code == 0 else []
