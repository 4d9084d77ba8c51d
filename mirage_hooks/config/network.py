"""How a unikernel is reached, and what it sees of the host: networks and disks."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from .fields import Device, File, Interface, Mac, Mapping, Port, Wrong

EVERYWHERE = '0.0.0.0'  # noqa: S104


class Socket(Mapping, frozen=True, tag='socket', tag_field='mode'):
    """An ordinary process on the host's own sockets (unix): no root, no tap."""

    port: Annotated[
        Port | None,
        Meta(description='passed as --port; also where the unikernel is expected to answer'),
    ] = None
    ipv4: Annotated[
        str | None, Meta(description='the host address to listen on, as ADDRESS/PREFIX',
                         examples=['127.0.0.1/8'])
    ] = None

    def wrong(self) -> Iterator[Wrong]:
        yield from _cidr('ipv4', self.ipv4, 4)

    @property
    def address(self) -> str:
        """Where it listens; the loopback address when that is not said."""
        return (self.ipv4 or '127.0.0.1').partition('/')[0]

    @property
    def server(self) -> str:
        """Where a name server in it is asked, as ADDRESS:PORT; '' where only a person knows."""
        address = '127.0.0.1' if self.address == EVERYWHERE else self.address
        return f'{address}:{self.port}' if self.port else ''


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

    @property
    def server(self) -> str:
        """Where a name server in it is asked, as ADDRESS:PORT; '' where only a person knows."""
        return ''


class Static(Direct, frozen=True, tag='static', tag_field='mode'):
    """Its own network stack, its address from here."""

    ipv4: Annotated[
        str | None,
        Meta(description='its address, as ADDRESS/PREFIX', examples=['192.0.2.10/24']),
    ] = None
    gateway: Annotated[
        str | None, Meta(description='its IPv4 gateway', examples=['192.0.2.1'])
    ] = None
    ipv6: Annotated[
        str | None,
        Meta(description='its IPv6 address, as ADDRESS/PREFIX', examples=['2001:db8::10/64']),
    ] = None
    ipv6_gateway: Annotated[
        str | None, Meta(description='its IPv6 gateway', examples=['2001:db8::1'])
    ] = None
    compiled_in: Annotated[
        bool, Meta(description='the image has its addresses already: nothing of them is passed')
    ] = False
    ipv4_only: Annotated[
        bool,
        Meta(description='without `ipv6` (or without `ipv4`), MirageOS from 3.10 on: tell its dual '
             'stack so, by --ipv4-only (--ipv6-only); false for an image whose stack is for one of '
             'them alone, and does not know the flag'),
    ] = True

    @property
    def server(self) -> str:
        address = (self.ipv4 or self.ipv6 or '').partition('/')[0]
        return f'[{address}]:53' if ':' in address else f'{address}:53' if address else ''

    def wrong(self) -> Iterator[Wrong]:
        yield from _cidr('ipv4', self.ipv4, 4)
        yield from _cidr('ipv6', self.ipv6, 6)
        yield from _address('gateway', self.gateway, '192.0.2.1')
        yield from _address('ipv6_gateway', self.ipv6_gateway, '2001:db8::1')


Network = Socket | Direct | Static


class Block(Mapping, frozen=True):
    """A file on the host that the unikernel sees as a disk."""

    path: Annotated[
        File,
        Meta(description='an absolute path outside the repository; a trial gets a copy',
             examples=['/srv/www/disk.img']),
    ]
    sector: Annotated[int, Meta(ge=512, description='bytes to a sector')] = 512
    read_only: Annotated[bool, Meta(description='unix, virtio and Xen')] = False
    vdev: Annotated[
        Device, Meta(description='Xen only: the virtual device, as xvda')
    ] = ''


def _cidr(key: str, text: str | None, version: int) -> Iterator[Wrong]:
    if text is None:
        return
    try:
        found = ipaddress.ip_interface(text).version
    except ValueError:
        found = None
    example = {4: '192.0.2.10/24', 6: '2001:db8::10/64'}[version]
    if found != version:
        yield Wrong((key,), f'is {text!r}: it takes an IPv{version} address and the length of its '
                    f'prefix, such as {example}')
    elif '/' not in text:
        yield Wrong((key,), f'is {text!r}, without the length of its prefix: write '
                    f'{text}/{example.partition("/")[2]}')


def _address(key: str, text: str | None, example: str) -> Iterator[Wrong]:
    if text is None:
        return
    try:
        ipaddress.ip_address(text)
    except ValueError:
        yield Wrong((key,), f'is {text!r}: it takes an address, such as {example}')
