"""The documentation of mirage.yml, made from the types that read it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from . import (
    Acme,
    Block,
    Certificate,
    Direct,
    Dns,
    Health,
    Notify,
    Options,
    Placement,
    Rollout,
    Settings,
    Socket,
    Static,
    Trust,
    Unikernel,
    Watch,
)
from .health import KINDS


def schema() -> dict[str, Any]:
    """The JSON schema of mirage.yml, for editors."""
    found = msgspec.json.schema(Settings)
    found |= {'$schema': 'https://json-schema.org/draft/2020-12/schema', 'title': 'mirage.yml'}
    kinds = found['$defs']
    health = kinds['Unikernel']['properties']['health']
    health['anyOf'] = [health['items'], {'type': health.pop('type'), 'items': health.pop('items')}]
    # An editor reads 4.10 as a number, we as text.
    kinds['Unikernel']['properties']['mirage']['type'] = ['string', 'number']
    # What the types' __post_init__ says in Python.
    kinds['Unikernel']['not'] = {'required': ['network', 'networks']}
    kinds['Health']['oneOf'] = _required(*KINDS)
    kinds['Acme']['oneOf'] = _required('thumbprint', 'account')
    kinds['Trust']['anyOf'] = _required('signers', 'keyring')
    kinds['Notify']['anyOf'] = _required('command', 'webhook')
    return found


def _required(*keys: str) -> list[dict[str, Any]]:
    return [{'required': [key]} for key in keys]


def reference() -> str:
    """Every key of mirage.yml as Markdown, from the same source as the parser."""
    parts = ['# mirage.yml', 'Made by `mirage-hooks schema --markdown`; for editors there is '
             '[mirage.schema.json](mirage.schema.json).', '']
    for title, where, kind in (
        ('The file', '', Settings),
        ('A unikernel', 'unikernels.NAME', Unikernel),
        ('Network `mode: socket`', 'unikernels.NAME.network', Socket),
        ('Network `mode: direct`', 'unikernels.NAME.network', Direct),
        ('Network `mode: static`', 'unikernels.NAME.network', Static),
        ('A disk', 'unikernels.NAME.blocks.DEVICE', Block),
        ('A certificate', 'unikernels.NAME.certificate', Certificate),
        ('The options that take it', 'unikernels.NAME.certificate.arguments', Options),
        ('ACME', 'unikernels.NAME.acme', Acme),
        ('Health', 'unikernels.NAME.health', Health),
        ('A question to a name server', 'unikernels.NAME.health.dns', Dns),
        ('Watch', 'unikernels.NAME.watch', Watch),
        ('Placement', 'unikernels.NAME.placement', Placement),
        ('Rollout', 'unikernels.NAME.rollout', Rollout),
        ('Trust', 'trust', Trust),
        ('Notify', 'notify', Notify),
    ):
        about = ' '.join((kind.__doc__ or '').split())
        parts += [f'## {title}', f'{f"`{where}`. " if where else ""}{about}', '']
        parts += ['| key | type | default | meaning |', '|---|---|---|---|']
        parts += [_row(kind, field) for field in msgspec.structs.fields(kind)] + ['']
    return '\n'.join(parts).rstrip()


def _row(kind: Any, field: msgspec.structs.FieldInfo) -> str:
    entry = msgspec.json.schema(kind)['$defs'][kind.__name__]['properties'][field.name]
    default = 'required' if field.required else f'`{json.dumps(entry.get("default"))}`'
    text = entry.get('description', '')
    return f'| `{field.encode_name}` | {_kind(entry)} | {default} | {text} |'


def _kind(entry: dict[str, Any]) -> str:
    if 'enum' in entry:
        return ' or '.join(f'`{value}`' for value in entry['enum'] if value is not None)
    if 'anyOf' in entry:
        return ' or '.join(_kind(one) for one in entry['anyOf'] if one != {'type': 'null'})
    if '$ref' in entry:
        return str(entry['$ref'].rpartition('/')[2])
    return {'string': 'text', 'integer': 'number', 'boolean': 'true or false', 'object': 'mapping',
            'array': 'list'}.get(entry.get('type', ''), 'mapping')
