"""How a unikernel is reached, and what it sees of the host: networks and disks."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from msgspec import Meta

from .fields import Interface, Mac, Mapping, Port


class Socket(Mapping, frozen=True, tag='socket', tag_field='mode'):
    """An ordinary process on the host's own sockets (unix): no root, no tap."""

    port: Annotated[
        Port | None,
        Meta(description='passed as --port; also where the unikernel is expected to answer'),
    ] = None
    ipv4: Annotated[
        str | None, Meta(description='the host address to listen on, as ADDRESS/PREFIX')
    ] = None

    def __post_init__(self) -> None:
        _require_cidr(self.ipv4, 4)

    @property
    def address(self) -> str:
        """Where it listens; the loopback address when that is not said."""
        return (self.ipv4 or '127.0.0.1').partition('/')[0]


class Direct(Mapping, frozen=True, tag='direct', tag_field='mode'):
    """Its own network stack, its address by DHCP (unix: from another MAC at each start)."""

    bridge: Annotated[
        Interface | None, Meta(description='the bridge that its tap or vif joins')
    ] = None
    interface: Annotated[
        Interface | None,
        Meta(description='a tap that is ready and up; without it one is made for each release'),
    ] = None
    mac: Annotated[
        Mac | None, Meta(description='its hardware address; without it a stable one is derived')
    ] = None
    group: Annotated[
        str, Meta(description='the prefix of its flags, for an image with several stacks')
    ] = ''


class Static(Direct, frozen=True, tag='static', tag_field='mode'):
    """Its own network stack, its address from here."""

    ipv4: Annotated[
        str | None, Meta(description='its address, as ADDRESS/PREFIX')
    ] = None
    gateway: Annotated[str | None, Meta(description='its IPv4 gateway')] = None
    ipv6: Annotated[str | None, Meta(description='its IPv6 address, as ADDRESS/PREFIX')] = None
    ipv6_gateway: Annotated[str | None, Meta(description='its IPv6 gateway')] = None
    compiled_in: Annotated[
        bool, Meta(description='the image has its addresses already: nothing of them is passed')
    ] = False
    ipv4_only: Annotated[
        bool,
        Meta(description='without `ipv6` (or without `ipv4`), MirageOS from 3.10 on: tell its dual '
             'stack so, by --ipv4-only (--ipv6-only); false for an image whose stack is for one of '
             'them alone, and does not know the flag'),
    ] = True

    def __post_init__(self) -> None:
        _require_cidr(self.ipv4, 4)
        _require_cidr(self.ipv6, 6)
        for gateway in (self.gateway, self.ipv6_gateway):
            if gateway is not None:
                ipaddress.ip_address(gateway)


Network = Socket | Direct | Static


class Block(Mapping, frozen=True):
    """A file on the host that the unikernel sees as a disk."""

    path: Annotated[
        str,
        Meta(pattern='^/',
             description='an absolute path outside the repository; a trial gets a copy'),
    ]
    sector: Annotated[int, Meta(ge=512, description='bytes to a sector')] = 512
    read_only: Annotated[bool, Meta(description='unix, virtio and Xen')] = False
    vdev: Annotated[
        str, Meta(pattern=r'^[a-z0-9]*$', description='Xen only: the virtual device, as xvda')
    ] = ''


def _require_cidr(text: str | None, version: int) -> None:
    if text is None:
        return
    if '/' not in text:
        raise ValueError(f'{text!r} wants a prefix length, as {text}/24')
    if ipaddress.ip_interface(text).version != version:
        raise ValueError(f'{text!r} is not an IPv{version} address')
