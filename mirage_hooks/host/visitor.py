"""A visitor from beyond the gateway: a namespace whose questions go to a release over its real
bridge, and which hears only what the release sends back to the gateway's own hardware address.

Its address is one that no host has (RFC 5737, RFC 3849 and 9637), so the answers would be the
gateway's to route; on the release's own interface they are turned to the visitor, or dropped."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator

from ..messages import errors
from . import link, namespace, network, programs, staging, turning

FROM = {4: ('192.0.2.1', '198.51.100.1'), 6: ('2001:db8::1', '3fff::1')}


@contextlib.contextmanager
def beyond(
    owner: str, unikernel: str, bridge: str, devices: tuple[str, ...],
    gateways: dict[staging.Neighbour, str],
) -> Iterator[namespace.Namespace]:
    """A namespace beyond `gateways`, from which a release at one of `devices` on `bridge` can be
    asked: each gateway is given with the release's hardware address. Nothing of it is left
    afterwards. Raises Unavailable where nft or the bridge does not let it be."""
    port, _, own = names(owner)
    with namespace.made() as made:
        try:
            network.remove(port)
            programs.run('ip', '-batch', '-', feed=outside(owner, made.path))
            with made.entered():
                programs.run('ip', '-batch', '-', feed=inside(owner, gateways))
            network.join(port, bridge)
            answers = [(address(one), one.mac) for one in gateways]
            link.transact(turning.turned(owner, unikernel, devices, answers, (port, own)))
            yield made
        finally:
            with contextlib.suppress(errors.Unavailable):  # the next converge takes it away
                link.transact(turning.unturned(owner, unikernel, link.rules(owner)))
                network.remove(port)


def names(owner: str) -> tuple[str, str, str]:
    """The port on the bridge, the visitor's own interface, and its hardware address."""
    mac = ':'.join(['02', *(owner[i : i + 2] for i in range(0, 10, 2))])
    return f'mh-{owner[:8]}-a', f'mh-{owner[:8]}-b', mac


def address(gateway: staging.Neighbour) -> str:
    """The visitor's address beyond `gateway`: outside the release's network."""
    network = ipaddress.ip_interface(gateway.own).network
    return next(one for one in FROM[network.version] if ipaddress.ip_address(one) not in network)


def outside(owner: str, namespace: str) -> str:
    """For `ip -batch`: the wire between the bridge and `namespace`. As a tap of ours its port never
    changes the address of the bridge."""
    port, inner, mac = names(owner)
    return (
        f'link add {port} type veth peer name {inner} address {mac} netns {namespace}\n'
        f'link set dev {port} alias "{network.OWNER} {owner}" address {network.HIGHEST} '
        'addrgenmode none up\n'
    )


def inside(owner: str, gateways: dict[staging.Neighbour, str]) -> str:
    """For `ip -batch` in the namespace: the visitor's addresses, and where the release is."""
    inner = names(owner)[1]
    lines = [f'link set dev {inner} addrgenmode none up', 'link set dev lo up']
    for gateway, mac in gateways.items():
        release = ipaddress.ip_interface(gateway.own)
        lines += [
            f'addr add {address(gateway)}/{release.max_prefixlen} dev {inner} nodad',
            f'route add {release.ip}/{release.max_prefixlen} dev {inner}',
            f'neigh replace {release.ip} lladdr {mac} dev {inner} nud permanent',
        ]
    return ''.join(f'{line}\n' for line in lines)
