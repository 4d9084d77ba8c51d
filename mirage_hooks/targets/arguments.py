"""The flags that tell a MirageOS image its network, and how arguments reach each target unchanged.

From the tags of mirage/mirage, mirage-tcpip, mirage-bootvar-xen and Solo5, and from runs of real
images of each generation."""

from __future__ import annotations

import ipaddress
import re

from .. import config
from ..messages import errors
from ..state import files, model, secret

# The first MirageOS release with each way of speaking to an image.
RUN_TIME_FLAGS = (2, 7)
CIDR_FLAGS = (3, 0)
JOINED_ARGV = (3, 3)
DUAL_STACK = (3, 10)

PLACE_OF_ACCOUNT = f'\0{secret.ACCOUNT}\0'

SOLO5_LIMIT = 8192  # bytes, the tenders' and PVH's command line
MINIOS_LIMIT = 1024  # bytes, Mini-OS's command line


def version(text: str) -> tuple[int, ...]:
    """'4.11' as (4, 11)."""
    return tuple(int(part) for part in text.split('.'))


def flags(
    wanted: config.Unikernel, taps: dict[str, str], options: frozenset[str] | None = None
) -> list[str]:
    """The network's flags, then the application's own arguments; `taps` names the host's
    interface for each network of a unix image. Of the network's flags only those in `options`
    are given, when the image has told them."""
    network: list[str] = []
    if version(wanted.mirage) >= RUN_TIME_FLAGS:
        for device, one in wanted.interfaces.items():
            network += _network(one, version(wanted.mirage), taps.get(device, ''))
    own = [*map(_checked, wanted.arguments), *(f'--{k}=\0{k}\0' for k in wanted.secrets)]
    if wanted.certificate is not None:
        parts = zip(wanted.certificate.options, ('+chain', '+key'), strict=False)
        own += [f'--{option}=\0{part}\0' for option, part in parts]
    if wanted.acme is not None:
        own.append(f'--{wanted.acme.argument}={wanted.acme.thumbprint or PLACE_OF_ACCOUNT}')
    # A repeated option ends the image with 64: what a person wrote wins.
    given = {argument.partition('=')[0] for argument in own}
    names = [(flag, flag.partition('=')[0]) for flag in network]
    fitting = [flag for flag, name in names
               if name not in given and (options is None or name in options)]
    return fitting + own


def secrets(wanted: config.Unikernel, encoding: model.Encoding) -> dict[str, model.Secret]:
    """What takes the place of \\0KEY\\0 in the command, the xl file or the disk, just before the
    start."""
    found = {key: model.Secret(file, encoding) for key, file in wanted.secrets.items()}
    if wanted.acme is not None and wanted.acme.account is not None:
        found[secret.ACCOUNT] = model.Secret(wanted.acme.account, encoding)
    if (own := wanted.certificate) is None:
        return found
    if own.form == 'disk':
        return {**found, '+disk': model.Secret(own.key, 'tar')}
    return {**found, '+chain': model.Secret(own.chain, encoding),
            '+key': model.Secret(own.key, encoding)}


def joins(mirage: str) -> bool:
    """Whether a unix image joins its argv with spaces and splits it again."""
    return version(mirage) >= JOINED_ARGV


def argv(arguments: list[str], mirage: str) -> tuple[str, ...]:
    """For unix: from MirageOS 3.3 on the image joins its argv with spaces and splits it again."""
    return tuple(escaped(argument) if joins(mirage) else argument for argument in arguments)


def line(arguments: list[str], limit: int = SOLO5_LIMIT) -> str:
    """For hvt, spt, virtio and Xen PVH: one line that is split at spaces; at most `limit` bytes."""
    joined = ' '.join(escaped(argument) for argument in arguments)
    if len(joined.encode()) >= limit:
        raise errors.Refused(
            f'the arguments take {len(joined.encode())} bytes, the image reads {limit}',
            hint='shorten `arguments:` in mirage.yml',
        )
    return joined


def disk(wanted: config.Unikernel) -> dict[str, str]:
    """The file that is its certificate's disk, where it takes it from one."""
    own = wanted.certificate
    return {files.DISK: '\0+disk\0'} if own is not None and own.form == 'disk' else {}


def room(wanted: config.Unikernel, line: str, limit: int = SOLO5_LIMIT) -> int | None:
    """The bytes that secrets and certificate may take in the command line `line`; None without any.
    virtio and Xen cut off what is beyond, with a warning that nobody sees."""
    certificate = wanted.certificate is not None and wanted.certificate.options
    if not (wanted.secrets or certificate or (wanted.acme and wanted.acme.account)):
        return None
    return limit - 1 - len(secret.PLACE.sub('', line).encode())


def keys(arguments: list[str]) -> str:
    """For Xen up to MirageOS 3.8: `key=value` without dashes; anything else is dropped there in
    silence, so it is refused here."""
    for argument in arguments:
        if not re.fullmatch(r'(--)?[A-Za-z][A-Za-z0-9_-]*=.*', argument, re.S):
            raise errors.Refused(
                f'argument {argument!r} cannot reach an image of MirageOS 3.8 or older on Xen',
                hint='write it as --key=value in mirage.yml',
            )
    return line([argument.removeprefix('--') for argument in arguments], MINIOS_LIMIT)


def escaped(argument: str) -> str:
    """`argument` so that the image's splitter gives it back: only a space separates, a backslash
    takes the next character literally, a double quote toggles quoting."""
    return re.sub(r'([\\" ])', r'\\\1', argument)


def _checked(argument: str) -> str:
    if not argument or '\0' in argument:
        raise errors.Refused(
            f'argument {argument!r} cannot reach an image: it is empty or holds a NUL',
            hint='fix `arguments:` in mirage.yml',
        )
    return argument


def _network(network: config.Network, mirage: tuple[int, ...], tap: str) -> list[str]:
    if isinstance(network, config.Socket):
        found = _socket(network, mirage)
        return [*found, f'--port={network.port}'] if network.port else found
    prefix = f'--{network.group}-' if network.group else '--'
    interface = 'interface' if mirage >= CIDR_FLAGS else 'network'
    found = [f'{prefix}{interface}={tap}'] if tap else []
    if isinstance(network, config.Static) and not network.compiled_in:
        modern = _cidr if mirage >= CIDR_FLAGS else _netmask
        found += [f'{prefix}{key}={value}' for key, value in modern(network, mirage)]
    return found


def _socket(network: config.Socket, mirage: tuple[int, ...]) -> list[str]:
    if network.ipv4 is None:
        return []
    if mirage >= DUAL_STACK:
        return [f'--ipv4={network.ipv4}']
    return [f'--interfaces={ipaddress.ip_interface(network.ipv4).ip}']


def _cidr(network: config.Static, mirage: tuple[int, ...]) -> list[tuple[str, str]]:
    found = [('ipv4', network.ipv4), ('ipv4-gateway', network.gateway)]
    if mirage >= DUAL_STACK:
        found += [('ipv6', network.ipv6), ('ipv6-gateway', network.ipv6_gateway)]
        if network.ipv4 and not network.ipv6 and network.ipv4_only:
            # Else the stack waits a second for IPv6's duplicate address detection.
            found.append(('ipv4-only', 'true'))
        if network.ipv6 and not network.ipv4 and network.ipv4_only:
            # Else it takes an IPv4 address of its own choice, or waits for one by DHCP.
            found.append(('ipv6-only', 'true'))
    return [(key, value) for key, value in found if value]


def _netmask(network: config.Static, mirage: tuple[int, ...]) -> list[tuple[str, str]]:
    if network.ipv4 is None:
        return []
    address = ipaddress.ip_interface(network.ipv4)
    found = [('ip', str(address.ip)), ('netmask', str(address.netmask))]
    return [*found, ('gateways', network.gateway)] if network.gateway else found
