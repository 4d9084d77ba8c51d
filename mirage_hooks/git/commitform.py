"""The form in which git itself writes a commit. git reads others too, and not always as they were
signed: it takes the signature out wherever it stands, and stops looking for parents at the first
line that names none. So only this form is believed, in the order of git's commit.c."""

from __future__ import annotations

import re

_OID = rb'[0-9a-f]{40}'
_WHO = rb'[^\n<>]* ?<[^\n<>]*> \d+ [+-]\d{4}'
_REST = rb'[^\n]*(?:\n [^\n]*)*'  # of a header that goes on over lines that begin with a blank

_HEADERS = tuple((name, re.compile(name.encode() + b' (?:' + value + rb')\n')) for name, value in (
    ('tree', _OID),
    ('parent', _OID),
    ('author', _WHO),
    ('committer', _WHO),
    ('encoding', rb'[!-~]+'),
    ('mergetag', rb'object ' + _OID + rb'\n type ' + _REST),
    ('gpgsig', rb'-----BEGIN ' + _REST),
))
_NEEDED = {'tree', 'author', 'committer'}
_SEVERAL = {'parent', 'mergetag'}


class Strange(ValueError):
    """What git would not have written."""


def links(raw: bytes) -> tuple[str, ...]:
    """The tree and the parents of the commit `raw`, as they stand in it; raises Strange."""
    head, blank, _ = raw.partition(b'\n\n')
    if not blank:
        raise Strange('no empty line ends its headers')
    if b'\0' in raw:
        raise Strange('it holds a NUL byte')
    if b'\r' in head:
        raise Strange('its headers hold a carriage return')
    return _links(head + b'\n')


def _links(head: bytes) -> tuple[str, ...]:
    at, found = 0, dict[str, list[str]]()
    for name, form in _HEADERS:
        found[name] = []
        while (header := form.match(head, at)) and (name in _SEVERAL or not found[name]):
            found[name].append(header[0].split()[1].decode('ascii', 'replace'))
            at = header.end()
        if name in _NEEDED and not found[name]:
            raise Strange(f'{_line(head, at)} stands where its {name} should')
    if at != len(head):
        raise Strange(f'{_line(head, at)} stands where git writes no such header')
    if len(found['mergetag']) > len(found['parent']):
        raise Strange('it has more mergetag headers than parents')
    return (*found['tree'], *found['parent'])


def _line(head: bytes, at: int) -> str:
    """The beginning of the line at `at`, for a person."""
    line = head[at:].partition(b'\n')[0][:40]
    return repr(line.decode('ascii', 'backslashreplace')) if line else 'nothing'
