"""YAML as mirage.yml has it: text becomes nodes that know their place. The only place that knows
YAML's syntax, and what to say of its mistakes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from . import mistakes
from .mistakes import Mistake

DEEPEST = 20  # levels; more than any mirage.yml has
MERGED = 1000  # keys of one mapping
START = yaml.Mark('', 0, 0, 0, '', 0)


class Document(NamedTuple):
    """Without a `loader` it is not YAML, and `wrong` says why; with one `wrong` may go on growing
    as it is read."""

    loader: Loader | None
    root: yaml.Node
    wrong: list[Mistake]


def parse(text: bytes) -> Document:
    """The nodes of `text`, and the keys that are wrong wherever they stand. A mistake in the syntax
    hides all that follows it."""
    wrong: list[Mistake] = []
    nothing = yaml.ScalarNode('tag:yaml.org,2002:null', '', START, START)
    try:
        loader = Loader(text, wrong)
        return Document(loader, loader.get_single_node() or nothing, wrong)
    except yaml.MarkedYAMLError as error:
        wrong.append(_glued(error, text) or _syntax(error))
    except yaml.reader.ReaderError as error:
        wrong.append(_character(error, text))
    return Document(None, nothing, wrong)


class Bound(yaml.MarkedYAMLError):
    """Its `problem` is for a person."""

    def __init__(self, problem: str, mark: yaml.Mark) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class Loader(yaml.SafeLoader):
    """Plain YAML: a key twice is an error, 4.10 stays text, and 52:54:00:12:34:56 is no number."""

    def __init__(self, text: bytes, wrong: list[Mistake]) -> None:
        super().__init__(text)
        self.wrong = wrong
        self.level = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.level += 1
        if self.level > DEEPEST:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise Bound('too many levels: nothing in mirage.yml has more than six, such as '
                         'unikernels: {www: {health: [{alive: 2s}]}}', event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.level -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        self._require_keys(node)
        self.flatten_mapping(node)
        return node

    def _require_keys(self, node: yaml.MappingNode) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag.endswith(':merge'):
                continue
            if not key.tag.endswith(':str'):
                example = f'"{key.value}"' if isinstance(key, yaml.ScalarNode) else 'image'
                text = f'a key is {mistakes.got(key)}: it takes text, such as {example}'
                self.wrong.append(mistakes.at(key.start_mark, text))
                continue
            name = mistakes.short(key.value)
            if key.value in seen:
                text = f'{name} stands twice, first in line {seen[key.value]}: keep one of them'
                self.wrong.append(mistakes.at(key.start_mark, text))
            seen.setdefault(key.value, key.start_mark.line + 1)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put what `<<` names into `node`, unless merges of merges make more and more of it."""
        merging = any(key.tag.endswith(':merge') for key, _ in node.value)
        super().flatten_mapping(node)
        if merging and len(node.value) > MERGED:
            raise Bound(f'<< makes more than {MERGED} keys of this mapping: merge fewer, such as '
                         '<<: *common', node.start_mark)


# YAML 1.1 reads 4.10 as 4.1, 52:54 as 3174 and `on` as true; versions, addresses and names
# are text here, so only whole decimal numbers, true, false and null are left.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((':merge', ':null'))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    'tag:yaml.org,2002:int', re.compile(r'^(0|[1-9][0-9]{0,17})$'), list('0123456789')
)
Loader.add_implicit_resolver(
    'tag:yaml.org,2002:bool', re.compile(r'^(true|false)$'), list('tf')
)

_SYNTAX = (
    # What PyYAML says, the mark that tells where, and what a person is told.
    (r"found character '\\t' that cannot start", 'problem',
     'a tab: mirage.yml is indented by spaces, such as two for each level'),
    (r"found character '(?P<it>.)' that cannot start", 'problem',
     'a value cannot begin with {it}: put it in quotes, such as "{it}x"'),
    (r'mapping values are not allowed', 'problem',
     'a colon too many: the line before it lacks its own, this line is indented too far, or its '
     'text wants quotes, such as contains: "one: two"'),
    (r"could not find expected ':'", 'context',
     'no colon follows this: a line is a key, a colon and a space, and a value, such as '
     'memory: 128'),
    (r'while scanning a (double-)?quoted scalar found (unexpected end|unexpected document)',
     'context', 'the quote that opens here is never closed: close it, such as "text"'),
    (r"found unknown escape character '(?P<it>.)'", 'problem',
     "\\{it} means nothing in double quotes: put the text in single ones, such as '\\{it}'"),
    (r'while parsing a flow (mapping|sequence) .*stream end', 'context',
     'the bracket that opens here is never closed: close it, such as {{image: xen/latest}} or '
     '[--message=hello]'),
    (r"while parsing a flow mapping .*expected ',' or '\}'", 'problem',
     'a comma or the closing }} is missing before this, such as {{mode: socket, port: 8080}}'),
    (r"while parsing a flow sequence .*expected ',' or '\]'", 'problem',
     'a comma or the closing ] is missing before this, such as [--one, --two]'),
    (r"(block (mapping|collection) .*|<document start>'?, but) found '(<block .*>|[-?])'",
     'problem',
     'a wrong indent: what belongs together begins in the same column, and what belongs to a key '
     'two spaces further, such as the four spaces before image: xen/latest'),
    (r'while parsing a block|<document start>', 'problem',
     'nothing may follow here, for the value before it has ended: put the whole of a text in '
     'quotes, such as "it\'s {{here}}"'),
    (r'sequence entries are not allowed', 'problem',
     'a list cannot begin here: begin it in the next line, or write [one, two]'),
    (r"found undefined alias '(?P<it>.*)'", 'problem',
     '*{it} names no anchor: put text in quotes, such as "*{it}", or write &{it} before the value '
     'that is meant'),
    (r'while scanning an (alias|anchor)', 'context',
     'a value that begins with * or & wants quotes, such as "*x"'),
    (r"found duplicate anchor '(?P<it>.*?)'", 'problem',
     'the anchor &{it} stands twice: give the second one another name, such as &{it}2'),
    (r'another document', 'problem',
     'a second document begins here: mirage.yml is one, without --- between its lines'),
    (r'for merging', 'problem', '<< takes a mapping that has an anchor, such as <<: *common'),
)


_GLUED = re.compile('mapping values are not allowed|could not find expected|expected <block end>')


def _glued(error: yaml.MarkedYAMLError, text: bytes) -> Mistake | None:
    """A key whose colon has no space behind it, which YAML finds only in the next line that is not
    empty."""
    mark = error.problem_mark
    if mark is None or not _GLUED.search(f'{error.context} {error.problem}'):
        return None
    lines = text.decode(errors='replace').split('\n')[:mark.line + 1]
    told = error.context_mark.line if str(error.problem).startswith('could not') and (
        error.context_mark) else _before(lines, mark.line)
    found = re.fullmatch(r'( *)([a-z_]+):([^\s:#/].*?)\s*', lines[told]) if told >= 0 else None
    if found is None or ': ' in found[3]:
        return None
    words = (f'no space follows the colon: a line is a key, a colon and a space, and a value, such '
             f'as {mistakes.short(found[2])}: {mistakes.short(found[3])}')
    return Mistake(told, len(found[1]), words)


def _before(lines: list[str], line: int) -> int:
    """The last of `lines` before `line` that says something; -1 for none."""
    return next((one for one in range(line - 1, -1, -1)
                 if lines[one].strip() and not lines[one].lstrip().startswith('#')), -1)


def _syntax(error: yaml.MarkedYAMLError) -> Mistake:
    problem = error.problem_mark or error.context_mark or START
    if isinstance(error, Bound):
        return mistakes.at(problem, str(error.problem))
    said = ' '.join(str(one) for one in (error.context, error.problem) if one)
    for pattern, where, words in _SYNTAX:
        if found := re.search(pattern, said, re.S):
            it = mistakes.short(found.groupdict().get('it') or '')
            mark = error.context_mark or problem if where == 'context' else problem
            return mistakes.at(mark, words.format(it=it))
    return mistakes.at(problem, f'this is not YAML: {said}')


def _character(error: yaml.reader.ReaderError, text: bytes) -> Mistake:
    if error.encoding == 'unicode':
        before = text.decode(errors='replace')[:error.position]
        words = (f'the character U+{error.character:04X} may not stand in YAML: take it out, or '
                 f'write it as an escape in double quotes, such as "\\x{error.character:02x}"')
    else:
        before = text[:error.position].decode(errors='replace')
        words = f'the byte {error.character:#04x} is not UTF-8: save the file as UTF-8'
    return Mistake(before.count('\n'), len(before.rpartition('\n')[2]), words)
