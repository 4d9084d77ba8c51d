"""The host's mirage.yml, parsed once into typed data: the only place that knows YAML."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from .. import config
from ..messages import errors
from . import source

MERGED = 1000  # keys of one mapping


def load(path: Path) -> config.Settings:
    """The settings in `path`; raises Refused naming the file, the key and what was expected."""
    return parse(source.read(path), str(path))


def parse(text: bytes, name: str) -> config.Settings:
    """The settings in `text`, which errors call `name`."""
    document = _document(text, name)
    try:
        return _settings(document)
    except _Wrong as wrong:
        raise errors.Refused(f'{name}: {wrong}', hint=wrong.hint) from None


class _Wrong(Exception):
    def __init__(self, reason: str, hint: str = '') -> None:
        super().__init__(reason)
        self.hint = hint


class _Loader(yaml.SafeLoader):
    """Plain YAML: a key twice is an error, 4.10 stays text, and 52:54:00:12:34:56 is no number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, Any] = {}
        for key, _ in node.value:
            if key.tag == 'tag:yaml.org,2002:merge':
                continue
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str) or name in seen:
                what = 'stands twice' if isinstance(name, str) else 'is not text'
                raise yaml.MarkedYAMLError(problem=f'key {name!r} {what}',
                                           problem_mark=key.start_mark)
            seen[name] = True
        return super().construct_mapping(node, deep=deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put what `<<` names into `node`, unless merges of merges make more and more of it."""
        super().flatten_mapping(node)
        if len(node.value) > MERGED:
            raise yaml.MarkedYAMLError(
                problem=f'merge keys (<<) make more than {MERGED} keys of it',
                problem_mark=node.start_mark,
            )


# YAML 1.1 reads 4.10 as 4.1, 52:54 as 3174 and `on` as true; versions, addresses and names
# are text here, so only whole decimal numbers, true, false and null are left.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((':merge', ':null'))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:int', re.compile(r'^(0|[1-9][0-9]{0,17})$'), list('0123456789')
)
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:bool', re.compile(r'^(true|false)$'), list('tf')
)


def _document(text: bytes, name: str) -> Any:
    try:
        # A SafeLoader of ours: nothing but text, numbers, lists and mappings comes out of it.
        return yaml.load(text, _Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f' line {mark.line + 1}, column {mark.column + 1}' if mark else ''
        said = error.problem or error.context or ''
        if said.startswith('but '):
            said = f'{error.context}, {said}'
        raise errors.Refused(f'{name}:{where}: {said}') from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise errors.Refused(f'{name} is not YAML: {said}') from None


def _settings(document: Any) -> config.Settings:
    if not isinstance(document, dict):
        raise _Wrong(f'expected a mapping with `unikernels`, got {_shown(document)}')
    unikernels = document.get('unikernels')
    shallow = _converted({**document, 'unikernels': {}}, config.Settings, '')
    if 'unikernels' not in document:
        raise _Wrong('`unikernels` is missing', hint='name at least one: unikernels: {www: {…}}')
    if not isinstance(unikernels, dict):
        raise _Wrong(f'unikernels: expected a mapping of names, got {_shown(unikernels)}')
    parsed = {name: _unikernel(name, entry) for name, entry in unikernels.items()}
    settings: config.Settings = msgspec.structs.replace(shallow, unikernels=parsed)
    return settings


def _unikernel(name: str, entry: Any) -> config.Unikernel:
    _converted(name, config.Name, 'the name of a unikernel')
    if not isinstance(entry, dict):
        raise _Wrong(f'{name}: expected a mapping with `image`, got {_shown(entry)}')
    entry = dict(entry)
    for key, kind in (('networks', config.Network), ('blocks', config.Block)):
        if isinstance(entry.get(key), dict):
            entry[key] = {
                _converted(device, config.Name, f'{name}.{key}'):
                _converted(value, kind, f'{name}.{key}.{device}')
                for device, value in entry[key].items()
            }
    if isinstance(entry.get('health'), dict):
        entry['health'] = [entry['health']]
    return _converted(entry, config.Unikernel, name)  # type: ignore[no-any-return]


def _converted(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind`; msgspec's complaint becomes `www.memory: expected int, got 'lots'`."""
    try:
        return msgspec.convert(value, kind, from_attributes=True)
    except msgspec.ValidationError as error:
        said, _, path = re.sub('at `key` in ', 'at ', str(error)).partition(' - at `$')
        keys = re.findall(r'\.([^.\[\]`]+)|\[(\d+)\]', path)
        place = where + ''.join(f'.{key}' if key else f'[{index}]' for key, index in keys)
        raise _wrong(said, place.lstrip('.'), _at(value, keys), kind, keys) from None


def _wrong(said: str, place: str, got: Any, kind: Any, keys: list[tuple[str, str]]) -> _Wrong:
    prefix = f'{place}: ' if place else ''
    unknown = re.fullmatch(r'Object contains unknown field `(.*)`', said, re.S)
    if unknown:
        known = list(_known(kind, keys, got))
        close = difflib.get_close_matches(unknown[1], known, 1)
        hint = f'did you mean `{close[0]}`?' if close else ''
        return _Wrong(f'{prefix}unknown key `{unknown[1]}`; known: {", ".join(known)}', hint)
    missing = re.fullmatch(r'Object missing required field `(.*)`', said)
    if missing:
        return _Wrong(f'{prefix}`{missing[1]}` is missing')
    expected = re.fullmatch(r'Expected `(.*?)`(?:, got `.*`| (.*))', said, re.S)
    if expected:
        more = f' {expected[2]}' if expected[2] else ''
        words = {'object': 'mapping', 'array': 'list'}
        kinds = [words.get(one, one) for one in expected[1].split(' | ') if one != 'null']
        return _Wrong(f'{prefix}expected {" or ".join(kinds)}{more}, got {_shown(got)}')
    if said.startswith('Invalid '):
        choices = ', '.join(_choices(kind, keys))
        return _Wrong(f'{prefix}expected one of {choices}, got {_shown(got)}')
    return _Wrong(f'{prefix}{said}')


def _at(value: Any, keys: list[tuple[str, str]]) -> Any:
    for key, index in keys:
        try:
            value = value[key] if key else value[int(index)]
        except (KeyError, IndexError, TypeError):
            return value
    return value


def _known(kind: Any, keys: list[tuple[str, str]], got: Any) -> Iterator[str]:
    """The keys of the mapping at `keys` inside `kind`."""
    if kind is config.Network or (keys and keys[-1][0] == 'network'):
        modes = {'socket': config.Socket, 'direct': config.Direct, 'static': config.Static}
        yield 'mode'
        kind = modes[got['mode']]
    elif keys:
        kinds = {'health': config.Health, 'trust': config.Trust, 'notify': config.Notify}
        kind = kinds.get(keys[0][0], kind)
    for field in msgspec.structs.fields(kind):
        yield field.encode_name


def _choices(kind: Any, keys: list[tuple[str, str]]) -> list[str]:
    if keys and keys[-1][0] == 'mode':
        return ['socket', 'direct', 'static']
    for field in msgspec.structs.fields(kind):
        if keys and field.name == keys[-1][0]:
            return re.findall(r"'([a-z]+)'", str(field.type))
    return []


# YAML's aliases may make a value that would take more than all memory to write out.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 4, 200, 200, 200
_SHORT.maxlist = _SHORT.maxdict = 10


def _shown(value: Any) -> str:
    """A value as it may stand in a message: short, on one line."""
    text = 'nothing' if value is None else _SHORT.repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
