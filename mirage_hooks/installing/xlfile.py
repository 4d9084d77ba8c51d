"""An `xl` configuration that somebody else wrote, read as data: see xl.cfg(5). Nothing in it is
believed or run."""

from __future__ import annotations

import re

import msgspec

LIMIT = 8192  # bytes; the original's has about 100

_STRING = r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\""""
_ASSIGNED = re.compile(
    rf'(?:^|(?<=;))[ \t]*(?P<key>[A-Za-z_]\w*)[ \t]*=[ \t]*'
    rf'(?P<value>{_STRING}|\w+|\[(?:[^\]\'"]|{_STRING})*\])[ \t]*(?:;|$|#.*$)',
    re.MULTILINE | re.ASCII,
)


class Xl(msgspec.Struct, frozen=True):
    """`values` by key, each a list of texts (one for what is no list); `odd` are the lines that are
    no assignment, such as the original's `@DISK@`."""

    values: dict[str, tuple[str, ...]]
    odd: tuple[str, ...]


class Disk(msgspec.Struct, frozen=True):
    """One entry of `disk`; `path` is '' when it is not understood."""

    path: str
    vdev: str
    read_only: bool


def parse(text: str) -> Xl:
    """What `text` assigns, the last of a key winning as in xl."""
    values = {found['key']: _texts(found['value']) for found in _ASSIGNED.finditer(text)}
    rest = (line.strip() for line in _ASSIGNED.sub('', text).split('\n'))
    return Xl(values, tuple(line for line in rest if line and not line.startswith('#')))


def options(entry: str) -> dict[str, str]:
    """`bridge=xenbr0,mac=…` of a vif."""
    pairs = (part.partition('=') for part in entry.split(','))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def disk(entry: str) -> Disk:
    """xl-disk-configuration(5): `TARGET,FORMAT,VDEV,ACCESS`, some of it named, or the older
    `phy:TARGET,VDEV,ACCESS`."""
    # What follows target= is the path, but for one comma at its end.
    head, named, target = entry.partition('target=')
    parts = [part.strip() for part in head.split(',')]
    given = options(head)
    plain = [part for part in parts if '=' not in part]
    while plain and plain[-1] == '':
        plain.pop()
    path = target.strip().removesuffix(',') if named else plain.pop(0) if plain else ''
    old = re.fullmatch(r'(?:phy|file|tap:aio|tap2?:tapdisk:aio|raw):(.*)', path)
    if not old and not named and 'format' not in given and plain:
        given['format'] = plain.pop(0)
    for key in ('vdev', 'access'):
        if key not in given and plain:
            given[key] = plain.pop(0)
    known = old or given.get('format', 'raw') in ('', 'raw')
    return Disk(
        path=(old[1] if old else path) if known else '',
        vdev=given.get('vdev', '').partition(':')[0],
        read_only=given.get('access', 'rw') in ('r', 'ro'),
    )


def _texts(value: str) -> tuple[str, ...]:
    if value.startswith('['):
        return tuple(_unquoted(one) for one in re.findall(_STRING, value))
    return (_unquoted(value),)


def _unquoted(text: str) -> str:
    return re.sub(r'\\(.)', r'\1', text[1:-1]) if text[:1] in ('"', "'") else text
