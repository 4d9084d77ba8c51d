"""Whatever a person writes as an argument arrives unchanged, on every target."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirage_hooks import config, targets
from mirage_hooks.state import model
from mirage_hooks.targets import arguments, xen
from tests import xl

TEXT = st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), min_size=1)
ARGUMENTS = st.lists(TEXT, max_size=6)
VALUES = st.lists(st.tuples(st.from_regex('[a-z][a-z0-9-]{0,5}', fullmatch=True), TEXT),
                  max_size=6)


def split(line: str) -> list[str]:
    """A MirageOS image's splitter, from its rules: only a space separates; a backslash takes the
    next character, inside quotes too; a double quote toggles quoting; empty words vanish."""
    words, word, quoted, rest = [], '', False, iter(line)
    for character in rest:
        if character == '\\':
            word += next(rest, '\\')
        elif character == '"':
            quoted = not quoted
        elif character == ' ' and not quoted:
            words, word = [*words, word], ''
        else:
            word += character
    assert not quoted
    return [found for found in [*words, word] if found]


def plan(target: str, given: list[str], style: str = '', mirage: str = '4.11') -> model.Plan:
    wanted = config.Unikernel(image='x', arguments=tuple(given), mirage=mirage, memory=32)
    return targets.plan(targets.Request(
        'www', 1, 'blue', '/state/1', wanted, target, '0123456789abcdef', style, ()
    ))


@given(ARGUMENTS)
def test_a_unix_image_that_joins_and_splits_its_argv_gets_them_back(given: list[str]) -> None:
    command = plan('unix', given).command
    assert split(' '.join(command[command.index('/state/1/image') + 1:])) == given


@given(ARGUMENTS)
def test_a_unix_image_before_3_3_gets_them_as_they_are(given: list[str]) -> None:
    command = plan('unix', given, mirage='3.2').command
    assert list(command[command.index('/state/1/image') + 1:]) == given


@given(ARGUMENTS)
def test_a_tender_joins_them_and_the_image_splits_them(given: list[str]) -> None:
    command = plan('spt', given).command
    assert split(' '.join(command[command.index('/state/1/image') + 1:])) == given


@given(ARGUMENTS)
def test_qemu_passes_them_on_as_one_line(given: list[str]) -> None:
    assert split(plan('virtio', given).command[-1]) == given


@pytest.fixture(scope='module')
def parser() -> xl.Parser:
    return xl.Parser()


@given(given=ARGUMENTS)
def test_xls_own_parser_gives_a_pvh_image_its_line(parser: xl.Parser, given: list[str]) -> None:
    text = plan('xen', given, 'pvh').files['xl.cfg']
    assert split(parser.string(text, 'extra') if given else '') == given


@given(values=VALUES)
def test_xls_own_parser_gives_a_pv_image_its_keys(
    parser: xl.Parser, values: list[tuple[str, str]]
) -> None:
    pairs = dict(values)
    given = [f'--{key}={value}' for key, value in pairs.items()]
    text = plan('xen', given, 'pv', mirage='3.8').files['xl.cfg']
    expected = [f'{key}={value}' for key, value in pairs.items()]
    assert split(parser.string(text, 'extra') if given else '') == expected


@given(text=TEXT)
def test_xls_own_parser_gives_back_every_quoted_text(parser: xl.Parser, text: str) -> None:
    assert parser.strings(f'disk = [{xen.quoted(text)}, {xen.quoted("x")}]\n', 'disk') == [
        text, 'x'
    ]


PATHS = st.text(
    st.characters(exclude_characters='\0/', exclude_categories=['Cs', 'Cc', 'Zs', 'Zl', 'Zp']),
    min_size=1, max_size=30,
)


@given(name=PATHS, inner=st.sampled_from(['', ' ', ',', ', ', "'", '\\']))
@example(name=',', inner='')
def test_xls_own_parser_finds_a_disk_at_any_path(
    parser: xl.Parser, name: str, inner: str
) -> None:
    path = f'/srv/{name}{inner}{name}'
    wanted = config.Unikernel(image='x', blocks={'storage': config.Block(path)})
    asked = targets.Request('www', 1, 'blue', '/s', wanted, 'xen', '0' * 16, 'pvh')
    text = targets.plan(asked).files['xl.cfg']
    (line,) = parser.strings(text, 'disk')
    assert parser.disk(line) == (path, 'xvda')


@given(secret=TEXT, encoding=st.sampled_from(['plain', 'line', 'xl']))
def test_a_secret_arrives_as_an_argument_would(
    parser: xl.Parser, secret: str, encoding: model.Encoding
) -> None:
    written = targets.write(encoding, secret)
    arrives: dict[str, Callable[[], str]] = {
        'plain': lambda: written,
        'line': lambda: ' '.join(split(f'--k={written}'))[4:],
        'xl': lambda: ' '.join(split(parser.string(f"extra = '--k={written}'\n", 'extra')))[4:],
    }
    assert arrives[encoding]() == secret


def test_an_escape_is_a_backslash_before_what_the_splitter_obeys() -> None:
    assert arguments.escaped('a b"c\\d\'e') == 'a\\ b\\"c\\\\d\'e'
