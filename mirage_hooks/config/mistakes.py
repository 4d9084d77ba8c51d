"""The mistakes of one mirage.yml, each with its place, in words for a person."""

from __future__ import annotations

import json
import re
import types
import typing
from typing import Any, NamedTuple

import msgspec
import yaml

from ..messages.report import plain

LONGEST = 60  # characters of what the file holds, in a message
MOST = 20  # mistakes that are told


class Mistake(NamedTuple):
    """`line` and `column` count from 0."""

    line: int
    column: int
    text: str


def at(mark: yaml.Mark, text: str) -> Mistake:
    """A mistake at the place that `mark` tells."""
    return Mistake(mark.line, mark.column, text)


def told(found: list[Mistake], name: str) -> tuple[str, ...]:
    """A line for each of `found`, in the order of the file, which is called `name`."""
    lines = [f'{name}:{line + 1}:{column + 1}: {text}' for line, column, text in sorted(set(found))]
    more = [f'{name}: and {len(lines) - MOST} more'] if len(lines) > MOST else []
    return tuple(map(plain, [*lines[:MOST], *more]))


def got(node: yaml.Node) -> str:
    """What stands at `node`: short, on one line."""
    if not isinstance(node, yaml.ScalarNode):
        return 'a list' if isinstance(node, yaml.SequenceNode) else 'a mapping'
    if node.tag.endswith(':null'):
        return 'empty'
    return short(repr(node.value) if node.tag.endswith(':str') else node.value)


def short(text: str) -> str:
    """`text`, or its beginning."""
    return text if len(text) <= LONGEST else f'{text[:LONGEST - 3]}...'


def takes(kind: Any, node: yaml.Node, default: Any = None) -> str:
    """What is right where `kind` is wanted and `node` stands, with an example."""
    kinds, metas = unwrapped(kind)
    forms = [meta.description for meta in metas if meta.pattern]
    ways = [_words(one, metas) for one in kinds if one is not types.NoneType]
    words = forms[0] if forms else ' or '.join(dict.fromkeys(ways))
    good = example(kind)
    plain_text = isinstance(node, yaml.ScalarNode) and not node.tag.endswith(':null')
    if good is None and words == 'text' and plain_text:
        good = short(json.dumps(node.value, ensure_ascii=False))
    if good is None and kinds[0] is int:
        good = default
    colon = isinstance(node, yaml.ScalarNode) and re.match(r'\w+:\S', node.value)
    hint = ' (a space follows each colon)' if colon and words == 'a mapping' else ''
    return f'it takes {words}' + ('' if good is None else f', such as {flow(good)}{hint}')


def missing(key: str, kind: Any) -> str:
    """What a mapping without its `key` lacks, with an example."""
    return f'has no {key}, which it needs, such as {key}: {flow(example(kind))}'


def example(kind: Any) -> Any:
    """Something right of `kind`: what is said with the type, or what its parts make; None for
    numbers, switches, and text of any form."""
    kinds, metas = unwrapped(kind)
    if said := [meta.examples[0] for meta in metas if meta.examples]:
        return said[-1]
    of, origin = typing.get_args(kinds[0]), typing.get_origin(kinds[0])
    if origin is dict:
        return {example(of[0]): example(of[1])}
    if origin is tuple:
        return [example(of[0])]
    if isinstance(kinds[0], type) and issubclass(kinds[0], msgspec.Struct):
        every = msgspec.structs.fields(kinds[0])
        return {one.name: example(one.type) for one in every if one.required} or None
    return None


def unwrapped(kind: Any) -> tuple[list[Any], list[msgspec.Meta]]:
    """The types that `kind` is one of, and what is said of it, from the inside."""
    if typing.get_origin(kind) is typing.Annotated:
        inner, *said = typing.get_args(kind)
        kinds, metas = unwrapped(inner)
        return kinds, [*metas, *said]
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        parts = [unwrapped(one) for one in typing.get_args(kind)]
        kinds = [one for some, _ in parts for one in some]
        return kinds, [one for _, some in parts for one in some]
    return [kind], []


def flow(value: Any) -> str:
    """`value` as it may stand in mirage.yml."""
    if not isinstance(value, dict | list):
        return str(value)
    return str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)).strip()


def either(words: list[str]) -> str:
    """`words` as 'a, b or c'."""
    return ' or '.join(filter(None, (', '.join(words[:-1]), words[-1])))


def _words(kind: Any, metas: list[msgspec.Meta]) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return either(list(typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        return 'a list'
    if kind is int:
        bounds = [(meta.ge, meta.le) for meta in metas if meta.ge is not None]
        low, high = bounds[0]
        return f'a whole number from {low} on' if high is None else (
            f'a whole number from {low} to {high}')
    return {str: 'text', bool: 'true or false'}.get(kind, 'a mapping')
