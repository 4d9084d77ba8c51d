"""Nodes of YAML become typed data: msgspec says what is wrong, here every mistake is told where it
stands."""

from __future__ import annotations

import contextlib
import difflib
import typing
from typing import Any

import msgspec
import yaml

from . import fields, mistakes
from .mistakes import short
from .nodes import Bound, Loader

WRONG = msgspec.UNSET
"""In place of a value whose mistakes are noted."""

VALUES = 600_000  # more than a file without aliases can hold
MISTAKES = 1000  # that are looked for; telling them takes time

THE_FILE = 'the file'  # the place that is not inside another

Pairs = dict[str, tuple[yaml.Node, yaml.Node]]
KINDS = {f'tag:yaml.org,2002:{kind}' for kind in ('str', 'int', 'bool', 'null', 'map', 'seq')}


class Reader:
    """Makes values of the nodes that `loader` has composed, and notes all that is wrong."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.values = 0

    def settings(self, root: yaml.Node, kind: Any) -> Any:
        """The whole file as `kind`."""
        try:
            return self.value(root, kind, THE_FILE)
        except Bound as bound:
            mark = bound.problem_mark or root.start_mark
            self.loader.wrong.append(mistakes.at(mark, str(bound.problem)))
            return WRONG

    def value(self, node: yaml.Node, kind: Any, place: str, default: Any = None) -> Any:
        """What stands at `node`, in `place` (as www.health), as `kind`; WRONG when it is none."""
        kinds, _ = mistakes.unwrapped(kind)
        structs, of = _structs(kind), typing.get_args(kinds[0])
        self.values += 1
        if self.values > VALUES:
            raise Bound(f'aliases make more than {VALUES} values of this file: repeat less of it, '
                        'such as one key', node.start_mark)
        if node.tag not in KINDS:
            return self._wrong(node, f'{place} has the tag {_tag(node)}, which means nothing here: '
                               'leave it out, and put text in quotes, such as "text"')
        if isinstance(node, yaml.MappingNode) and structs:
            return self._struct(node, structs, place)
        if isinstance(node, yaml.MappingNode) and typing.get_origin(kinds[0]) is dict:
            return self._named(node, of[0], of[1], place)
        if typing.get_origin(kinds[0]) is tuple:
            # One question may stand without the list.
            if isinstance(node, yaml.MappingNode) and _structs(of[0]):
                return self._all([self.value(node, of[0], place)])
            if isinstance(node, yaml.SequenceNode):
                return self._all([self.value(one, of[0], f'{place}[{index}]')
                                  for index, one in enumerate(node.value)])
        return self._plain(node, kind, f'{place} is {mistakes.got(node)}', default)

    def _plain(self, node: yaml.Node, kind: Any, said: str, default: Any = None) -> Any:
        if isinstance(node, yaml.ScalarNode):
            # An explicit tag, as !!int or !!bool, may stand before anything.
            with contextlib.suppress(msgspec.ValidationError, ValueError, KeyError):
                return msgspec.convert(self.loader.construct_object(node), kind)
        return self._wrong(node, f'{said}: {mistakes.takes(kind, node, default)}')

    def _all(self, found: list[Any]) -> Any:
        return WRONG if WRONG in found else tuple(found)

    def _named(self, node: yaml.MappingNode, key: Any, kind: Any, place: str) -> Any:
        found = {}
        for name, (at, value) in _pairs(node).items():
            inner = short(name) if place == 'unikernels' else f'{place}.{short(name)}'
            if self._plain(at, key, f'the name {short(name)!r} in {place}') is not WRONG:
                found[name] = self.value(value, kind, inner)
        return WRONG if WRONG in found.values() or len(found) < len(_pairs(node)) else found

    def _struct(self, node: yaml.MappingNode, kinds: list[Any], place: str) -> Any:
        """One of `kinds`, which one is said by its tag."""
        pairs = _pairs(node)
        kind, tag = kinds[0], kinds[0].__struct_config__.tag_field
        if tag is not None:
            tags = {one.__struct_config__.tag: one for one in kinds}
            choice = typing.Literal[tuple(tags)]  # type: ignore[valid-type]
            if tag not in pairs:
                first, either = next(iter(tags)), mistakes.either(list(tags))
                return self._wrong(node, f'{place} has no {tag}, which it needs: {either}, such as '
                                   f'{tag}: {first}')
            _, chosen = pairs.pop(tag)
            named = self._plain(chosen, choice, f'{place}.{tag} is {mistakes.got(chosen)}')
            if named is WRONG:
                return WRONG
            kind = tags[named]
        return self._filled(node, pairs, kind, [one for one in kinds if one is not kind], place)

    def _filled(
        self, node: yaml.MappingNode, pairs: Pairs, kind: Any, others: list[Any], place: str
    ) -> Any:
        known = {field.name: field for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {}
        meant = set()
        for name, (key, value) in pairs.items():
            inner = short(name) if place == THE_FILE else f'{place}.{short(name)}'
            if name not in known:
                glued = name.partition(':')[0]  # in {within:9s} that is all one key
                few = len(self.loader.wrong) < mistakes.MOST  # for comparing takes its time
                close = [glued] if glued in known else (
                    difflib.get_close_matches(short(name), known, 1) if few else [])
                meant.update(close)
                self._wrong(key, f'{inner} {_unknown(name, list(known), close, kind, others)}')
                continue
            found = self.value(value, known[name].type, inner, known[name].default)
            if found is not WRONG:
                values[name] = found
        for name, field in known.items():
            if field.required and name not in pairs and name not in meant:
                self._wrong(node, f'{place} {mistakes.missing(name, field.type)}')
        if not all(name in values for name, field in known.items() if field.required):
            return WRONG
        return self._made(node, pairs, kind, values, place)

    def _made(
        self, node: yaml.MappingNode, pairs: Pairs, kind: Any, values: dict[str, Any], place: str
    ) -> Any:
        """A `kind` of `values`, unless they contradict each other; WRONG, too, when not all `pairs`
        are among them."""
        try:
            made = kind(**values)
        except fields.Contradiction as contradiction:
            for keys, text in contradiction.wrong:
                given = [key for key in keys if key in pairs]
                if len(keys) == 1:
                    self._wrong(pairs[keys[0]][1], f'{place}.{keys[0]} {text}')
                elif given and all(key in values for key in given):
                    self._wrong(pairs[given[0]][0], f'{place} {text}')
                elif len(values) == len(pairs):
                    self._wrong(node, f'{place} {text}')
            return WRONG
        return made if len(values) == len(pairs) else WRONG

    def _wrong(self, node: yaml.Node, text: str) -> Any:
        self.loader.wrong.append(mistakes.at(node.start_mark, text))
        if len(self.loader.wrong) >= MISTAKES:
            raise Bound('so much is wrong that nothing is read from here on; begin with the first '
                        'line', node.start_mark)
        return WRONG


def _pairs(node: yaml.MappingNode) -> Pairs:
    """Key and value by the key's text; other keys are noted by the loader."""
    return {key.value: (key, value) for key, value in node.value if key.tag.endswith(':str')}


def _unknown(
    name: str, known: list[str], close: list[str], kind: Any, others: list[Any]
) -> str:
    tags = [one.__struct_config__.tag for one in others if name in one.__struct_fields__]
    if tags:
        return (f'is for mode: {mistakes.either(tags)}, and this is mode: '
                f'{kind.__struct_config__.tag}: leave it out, or change the mode')
    if close and name.startswith(f'{close[0]}:'):
        value = name.removeprefix(f'{close[0]}:')
        return f'lacks a space after the colon, such as {close[0]}: {short(value)}'
    if close:
        return f'is unknown: did you mean {close[0]}?'
    return f'is unknown: here may stand {", ".join(known)}'


def _structs(kind: Any) -> list[Any]:
    return [one for one in mistakes.unwrapped(kind)[0]
            if isinstance(one, type) and issubclass(one, msgspec.Struct)]


def _tag(node: yaml.Node) -> str:
    return short(node.tag.replace('tag:yaml.org,2002:', '!!'))
