"""The lines of mirage.yml for one unikernel of the old scripts. What is not clear is a comment."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

import msgspec

from .. import config
from . import published, xlfile
from .compiled import Address

# Keys that say what we do anyway, or that stand elsewhere in mirage.yml.
KNOWN = {'name', 'memory', 'kernel', 'vif', 'disk', 'extra', 'builder', 'type', 'vcpus', 'on_crash',
         'on_reboot', 'on_poweroff', 'autoballoon'}


class Old(msgspec.Struct, frozen=True):
    """One unikernel of the old scripts: its domain's name, its xl configuration, its pointer."""

    name: str
    xl: xlfile.Xl
    image: str


class Seen(msgspec.Struct, frozen=True):
    """What was found out of it: the MirageOS version to speak to and `why`, its `address` and
    `where` that was found, and how to give it the disks that lie next to its image."""

    version: str
    why: str
    address: Address | None = None
    where: str = ''
    disks: tuple[str, ...] = ()


def lines(old: Old, seen: Seen) -> Iterator[str]:
    values = old.xl.values
    yield f'  {published.quoted(old.name)}:'
    yield f'    image: {published.quoted(old.image)}'
    yield '    target: xen'
    yield from _memory(values.get('memory', ()))
    yield f'    mirage: "{seen.version}"  # guessed: {seen.why}'
    yield from _networks(values.get('vif', ()), seen)
    yield from _blocks(values.get('disk', ()))
    yield from (f'    # {text}' for text in seen.disks)
    yield from _arguments(values.get('extra', ()))
    yield from _health(seen.address)
    for key in sorted(values.keys() - KNOWN):
        yield f'    # not taken over: {key} = {shown(", ".join(values[key]))}'
    for line in old.xl.odd:
        what = 'a disk, if one was given' if line == '@DISK@' else 'not understood'
        yield f'    # {what}: {shown(line)}'


def told(old: Old, seen: Seen) -> Iterator[str]:
    """What a person should know of it."""
    name = old.name
    yield f'{name}: guessed MirageOS {seen.version}, because {seen.why}; `mirage:` says it'
    if seen.address is None or len(old.xl.values.get('vif', ())) > 1:
        yield (f'{name}: its address is compiled in, and was not found: fill it in, and no switch '
               'loses a request')
    else:
        yield (f'{name}: its address {_spoken(seen.address)} was found {seen.where}: check it')
    if old.xl.values.get('disk'):
        yield (f'{name}: its disks are files of this host, which only you can grant: take the # '
               'away from `blocks:` and what belongs to it')
    yield from (f'{name}: {text}' for text in seen.disks)
    yield (f'{name}: if the domain that the old scripts made still runs, it holds the address: '
           f'`xl destroy {shlex.quote(name)}`, then `mirage-hooks deploy`')


def shown(text: str) -> str:
    """`text` for a comment: on one line whatever is in it."""
    return json.dumps(text[:120])


def fits(text: str, kind: object) -> bool:
    try:
        msgspec.convert(text, kind)
    except msgspec.ValidationError:
        return False
    return True


def _spoken(address: Address) -> str:
    return f'{address.ipv4}, gateway {address.gateway or "unknown"},'


def _health(address: Address | None) -> Iterator[str]:
    where = address.ipv4.partition('/')[0] if address else 'ADDRESS'
    yield '    # How to tell that it serves; without it, to answer ping or to stay up is enough:'
    yield f'    # health: {{http: "http://{where}/", within: 30s}}'


def _memory(given: tuple[str, ...]) -> Iterator[str]:
    if given and re.fullmatch(r'[1-9][0-9]{0,5}', given[0]):
        yield f'    memory: {given[0]}'
    elif given:
        yield f'    # memory: {shown(given[0])} is no number of MB'


def _networks(vifs: tuple[str, ...], seen: Seen) -> Iterator[str]:
    if not vifs:
        yield '    # network: {mode: static, bridge: xenbr0}  # the old configuration has no vif'
    elif len(vifs) == 1:
        yield '    network:'
        yield from _network(vifs[0], ' ' * 6)
        yield from _address(seen)
    else:
        yield '    networks:'
        for index, vif in enumerate(vifs):
            yield f'      "{index}":'
            yield from _network(vif, ' ' * 8)
        yield '    # Their addresses are compiled into the image. With two networks the old release'
        yield '    # is stopped before the new one starts.'


def _network(vif: str, indent: str) -> Iterator[str]:
    given = xlfile.options(vif)
    yield f'{indent}mode: static'
    for key, kind in (('bridge', config.Interface), ('mac', config.Mac)):
        value = given.pop(key, '')
        if fits(value, kind):
            yield f'{indent}{key}: {json.dumps(value) if key == "mac" else published.quoted(value)}'
        elif value or key == 'bridge':
            yield f'{indent}# {key}: {shown(value)}'
    yield f'{indent}compiled_in: true  # the image has its address already'
    for key, value in given.items():
        yield f'{indent}# not taken over: {shown(f"{key}={value}")}'


def _address(seen: Seen) -> Iterator[str]:
    """The address, and what it is good for."""
    address = seen.address
    if address is None:
        yield '      # Not found, neither in the image nor on this host. Fill it in:'
        yield '      # ipv4: ADDRESS/PREFIX'
        yield '      # gateway: ADDRESS'
    else:
        yield f'      ipv4: {address.ipv4}  # found {seen.where}: check it'
        yield (f'      gateway: {address.gateway}' if address.gateway else
               '      # gateway: ADDRESS  # not found: fill it in, if it has one')
    yield '    # With `ipv4:` a new image is proved next to the old one, and a switch loses no'
    yield '    # request; without it the old one is stopped first, as the old scripts did (139 of'
    yield '    # 847 requests failed, 6.9 s without an answer). To have it so with `ipv4:` too:'
    yield '    # switch: replace'


def _blocks(entries: tuple[str, ...]) -> Iterator[str]:
    clear: dict[str, xlfile.Disk] = {}
    odd = []
    for entry in entries:
        disk = xlfile.disk(entry)
        if (disk.vdev not in clear and re.fullmatch(r'[a-z][a-z0-9]{0,15}', disk.vdev)
                and re.fullmatch(r'/[ -?A-~]*', disk.path)):  # printable, no @DISK@
            clear[disk.vdev] = disk
        else:
            odd.append(entry)
    # Comments all of them: no file of the host goes to an image because a repository says so.
    if clear:
        yield '    # blocks:'
    for disk in clear.values():
        yield f'    #   {disk.vdev}:'
        yield f'    #     path: {json.dumps(disk.path)}'
        yield f'    #     vdev: {disk.vdev}'
        yield from ['    #     read_only: true'] if disk.read_only else []
    for entry in odd:
        yield f'    # a disk that is not clear: {shown(entry)}'


def _arguments(extra: tuple[str, ...]) -> Iterator[str]:
    words = extra[0].split() if extra else []
    clear = [f'--{word.removeprefix("--")}' for word in words
             if re.fullmatch(r'(--)?[A-Za-z][A-Za-z0-9_-]*=[!#-\[\]-~]*', word)]
    if words and len(clear) == len(words):
        yield f'    arguments: {json.dumps(clear)}'
    elif words:
        yield f'    # arguments: {shown(extra[0])}'
