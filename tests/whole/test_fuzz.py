"""Configuration, pointers, trees and texts under hypothesis: an answer or Refused, quickly.

MIRAGE_HOOKS_FUZZ=50000 sets the number of examples of each property. Images are fuzzed in
test_image_fuzz; tests/fuzz.py is the long run, guided by coverage."""

from __future__ import annotations

import os
import tempfile
import time
import unicodedata
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mirage_hooks import config
from mirage_hooks.config import reading
from mirage_hooks.messages import report
from mirage_hooks.messages.errors import Refused
from mirage_hooks.state import journal
from mirage_hooks.targets import xen
from tests import fuzz, xl

hostile = settings(
    max_examples=int(os.environ.get('MIRAGE_HOOKS_FUZZ', '150')),
    suppress_health_check=[HealthCheck.too_slow],
)

# The configuration.

GOOD = b"""branch: master
rewound: follow
unpacked_limit: 64
unikernels:
  www:
    image: xen/latest
    memory: 256
    network: {mode: static, bridge: xenbr0, ipv4: 46.43.42.137/28, gateway: 46.43.42.129}
    health: [{http: "http://46.43.42.137/", within: 30s}, {tcp: "127.0.0.1:80"}, {alive: 1s}]
    arguments: [--message=a b]
  dns: {image: dns, memory: &m 64, network: {mode: socket, port: 53}, confirm: 100ms, keep: 2}
  two:
    image: two
    memory: *m
    networks: {a: {mode: direct, bridge: br0}, b: {mode: direct, interface: tap0}}
    blocks: {disk: {path: /disk, read_only: true}}
"""
WORDS = (
    b'&a ', b'*a', b'<<: ', b'!!', b'!!python/name:os.system ', b'? ', b': ', b'- ', b'{', b'}',
    b'[', b']', b'"', b"'", b'|\n', b'>\n', b'\t', b'\0', b'\xff', b'---\n', b'...\n',
    b'%YAML 9.9\n', b'~', b'null', b'1e999', b'.inf', b'0x1', b'-1', b'9' * 400, b'image',
    b'unikernels', b'\xe2\x80\xae', b'\n', b' ' * 9, b'#', b'@', b'`', b',', b'\r',
    b'\xef\xbb\xbf', b'\xff\xfe', b'1:2:3', b'on',
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good mirage.yml with pieces put in, taken out or doubled."""
    text = GOOD
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.just(start) | st.integers(start, min(len(text), start + 30)))
        piece = draw(st.sampled_from(WORDS) | st.just(text[start:end] * 2) | st.binary(max_size=6))
        text = text[:start] + piece + text[end:]
    return text


KEYS = st.sampled_from([
    'unikernels', 'branch', 'www', *config.Unikernel.__struct_fields__, 'mode', 'ipv4', 'gateway',
    *config.Health.__struct_fields__, *config.Block.__struct_fields__, 'bridge', 'mac',
]) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | KEYS
    | st.sampled_from(['socket', 'static', '1.2.3.4/8', '::1/64', '1s', 'http://[', 'br0', 'xen']),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)


def parsed(text: bytes) -> config.Settings | Refused:
    try:
        return reading.parse(text, 'mirage.yml')
    except Refused as refused:
        assert refused.reason.startswith('mirage.yml')
        assert len(refused.reason) < 3000 + len(text)
        return refused


def test_the_good_one_is_good() -> None:
    assert isinstance(parsed(GOOD), config.Settings)


@hostile
@given(mutated())
@example(b'&a [*a]')
@example(b'unikernels: &a {www: *a}')
@example(b'unikernels: {www: &a {image: x, arguments: [*a], <<: *a}}')
def test_a_mutated_configuration_is_parsed_or_refused(text: bytes) -> None:
    parsed(text)


@hostile
@given(VALUES)
def test_any_structure_is_parsed_or_refused(value: Any) -> None:
    for document in (value, {'unikernels': value}, {'unikernels': {'www': value}}):
        try:
            text = yaml.safe_dump(document, allow_unicode=True).encode(errors='surrogatepass')
        except (yaml.YAMLError, UnicodeError):
            continue
        parsed(text)


LAUGHS = b'[&l0 ha, ' + b', '.join(
    b'&l%d [%s]' % (n, b', '.join([b'*l%d' % (n - 1)] * 9)) for n in range(1, 12)) + b']'
MERGES = b'{a: &m0 {x: y}, ' + b', '.join(
    b'b%d: &m%d {<<: [%s]}' % (n, n, b', '.join([b'*m%d' % (n - 1)] * 9))
    for n in range(1, 12)) + b'}'


@pytest.mark.parametrize('text', [
    b'branch: ' + LAUGHS, b'unikernels: ' + LAUGHS, b'unikernels: {www: ' + LAUGHS + b'}',
    b'unikernels: {www: {image: ' + LAUGHS + b'}}', b'branch: ' + MERGES, b'unikernels: ' + MERGES,
    b'[' * 200_000, b'{a: ' * 100_000, b'- ' * 100_000, b'unikernels: ' + b'9' * 900_000,
    b'unikernels: {www: {image: ' + b'x' * 900_000 + b'}, www: 1}', b'? ' * 50_000,
], ids=['laughs for a text', 'laughs for a mapping', 'laughs for a unikernel', 'laughs for image',
        'merges for a text', 'merges', 'lists', 'mappings', 'dashes', 'a number', 'a text', 'keys'])
def test_a_configuration_made_to_explode_is_refused_in_time(text: bytes) -> None:
    began = time.process_time()
    assert isinstance(parsed(text), Refused)
    assert time.process_time() - began < 10


# The repository.


@hostile
@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda t: t.encode(errors='replace')))
def test_a_pointer_of_any_bytes_finds_an_image_or_is_refused(content: bytes) -> None:
    fuzz.pointer(content)


NAMES = st.one_of(
    st.sampled_from([b'www.xen', b'mir-www.xen.bz2', b'www', b'w.w.w.gz', b'.', b'..', b'.xen',
                     b'.gz', b'latest', b'config.ml', b'-', b'\xff.xen', b'a.b.c.d.zst']),
    st.binary(min_size=1, max_size=12).map(lambda b: b.replace(b'/', b'_').replace(b'\0', b'_')),
)
MODES = st.sampled_from(['100644', '100755', '120000', '160000', '040000'])


@hostile
@given(st.dictionaries(NAMES, st.tuples(MODES, st.binary(max_size=8)), max_size=8),
       st.sampled_from([None, 'xen', 'hvt', 'unix']), st.text(max_size=8))
def test_a_folder_of_anything_has_one_image_or_is_refused(
    files: dict[bytes, tuple[str, bytes]], target: Any, name: str
) -> None:
    tree = {b'x/' + path: file for path, file in files.items()}
    try:
        found = fuzz.Tree({b'p': ('100644', b'x'), **tree}).find(
            'c' * 40, name, config.Unikernel(image='p', target=target))
    except Refused as refused:
        assert refused.reason
    else:
        mode, content = {fuzz.shown(path): file for path, file in tree.items()}[found.path]
        assert mode in ('100644', '100755') and content


# Texts.


@hostile
@given(st.text())
def test_whatever_is_printed_is_one_printable_line(text: str) -> None:
    shown = report.plain(text)
    assert all(unicodedata.category(one)[0] not in 'CZ' or one == ' ' for one in shown)
    assert shown.splitlines() in ([], [shown])


@pytest.fixture(scope='module')
def parser() -> xl.Parser:
    return xl.Parser()


@hostile
@given(st.text(st.characters(blacklist_categories=['Cs'], blacklist_characters='\0')))
def test_whatever_is_quoted_for_xl_is_read_back_by_its_own_parser(
    parser: xl.Parser, text: str
) -> None:
    assert parser.string(f"extra = {xen.quoted(text)}\nname = 'www'\n", 'extra') == text
    assert parser.string(f"extra = {xen.quoted(text)}\nname = 'www'\n", 'name') == 'www'


@hostile
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_a_history_of_any_bytes_is_read_and_goes_on(lines: list[bytes]) -> None:
    entry = journal.Entry(1.5, 'www', 'deployed', 'a\n"b"\u202e')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'history.jsonl')
        path.write_bytes(b'\n'.join(lines))
        journal.append(path, entry)
        found = list(journal.entries(path))
        assert found[-1] == entry
        assert all(isinstance(one, journal.Entry) for one in found)
        assert msgspec.json.decode(path.read_bytes().splitlines()[-1], type=journal.Entry) == entry
