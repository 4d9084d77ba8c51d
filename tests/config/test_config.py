"""mirage.yml: what it may say, every way to be wrong in its full text, and its documents."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from mirage_hooks import config
from mirage_hooks.config import reading, reference
from mirage_hooks.messages import errors
from tests.deployment import ROOT

GOOD = 'unikernels: {www: {image: a}}\n'
WWW = 'unikernels:\n  www: {image: a, '

TABLE = (Path(__file__).parent / 'mistakes.txt').read_text().rstrip('\n').split('\n\n')


def case(block: str) -> tuple[str, list[str]]:
    """A mirage.yml and all that is told of it, from a block of the table."""
    lines = block.split('\n')
    told = [line.removeprefix('--> ') for line in lines if line.startswith('--> ')]
    return '\n'.join(lines[:len(lines) - len(told)]), told


WRONG = [case(block) for block in TABLE]

ONLY_THE_PARSER_KNOWS = ('stands twice', 'length of its prefix', 'takes an address, such',
                         'regular', 'cannot be asked', 'has the tag', 'switch: overlap',
                         'a key is', 'a second or more', 'nothing can answer',
                         'has one file as chain and as key', 'both options by one name',
                         'twice, once by', 'one of its certificate', 'asks a name server',
                         'nobody but the canary', 'several hosts at once')
"""What a JSON schema cannot say: addresses, regular expressions, what YAML drops."""


def mistakes(text: bytes) -> list[str]:
    with pytest.raises(errors.Mistakes) as refused:
        reading.parse(text, 'mirage.yml')
    assert refused.value.reason == refused.value.lines[0]
    return list(refused.value.lines)


@pytest.mark.parametrize(('text', 'told'), WRONG, ids=range(len(WRONG)))
def test_all_that_is_wrong_is_told_in_full(text: str, told: list[str]) -> None:
    assert told
    assert mistakes(text.encode()) == told


@pytest.mark.parametrize(('text', 'told'), [
    (b'caf\xe9: 1', '1:4: the byte 0xe9 is not UTF-8: save the file as UTF-8'),
    (b'a: 1\nb: \x00', '2:4: the character U+0000 may not stand in YAML: take it out, or write it '
     'as an escape in double quotes, such as "\\x00"'),
    (b'[' * 5000, '1:21: too many levels: nothing in mirage.yml has more than six, such as '
     'unikernels: {www: {health: [{alive: 2s}]}}'),
], ids=['latin 1', 'nothing', 'levels'])
def test_what_is_no_yaml_is_refused(text: bytes, told: str) -> None:
    assert mistakes(text) == [f'mirage.yml:{told}']


def test_a_second_mistake_is_hinted_at_where_one_is_told() -> None:
    with pytest.raises(errors.Mistakes) as one:
        reading.parse(b'unikernels: 7', '/etc/a file.yml')
    assert one.value.hint == ''
    with pytest.raises(errors.Mistakes) as two:
        reading.parse(b'unikernels: 7\ngate: 7', '/etc/a file.yml')
    assert two.value.hint == "more is wrong in it: mirage-hooks check '/etc/a file.yml'"


def test_twenty_mistakes_are_told_and_the_others_counted() -> None:
    text = 'unikernels:\n' + ''.join(f'  w{n}: 7\n' for n in range(30))
    assert mistakes(text.encode()) == [
        *(f'mirage.yml:{n + 2}:{len(f"  w{n}: ") + 1}: w{n} is 7: it takes a mapping, such as '
          '{image: xen/latest}' for n in range(20)),
        'mirage.yml: and 10 more',
    ]


@pytest.mark.parametrize(('text', 'last'), [
    ('unikernels:\n' + ''.join(f'  w{n}: 7\n' for n in range(5000)), 'mirage.yml: and 981 more'),
    ('unikernels:\n  w: {image: a, arguments: &a [' + 'x, ' * 50_000 + ']}\n'
     + ''.join(f'  w{n}: {{image: a, arguments: *a}}\n' for n in range(20)),
     'mirage.yml:2:149918: aliases make more than 600000 values of this file: repeat less of it, '
     'such as one key'),
], ids=['mistakes', 'aliases'])
def test_what_would_take_long_to_read_is_not_read_to_its_end(text: str, last: str) -> None:
    assert mistakes(text.encode())[-1] == last


def test_aliases_that_multiply_are_refused_quickly() -> None:
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    lines += [f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 10)}]' for n in range(1, 12)]
    text = '\n'.join([*lines, 'unikernels: {www: {image: *a11}}'])
    assert mistakes(text.encode())[-1] == (
        'mirage.yml:12:6: www.image is a list: it takes text, such as xen/latest')


WHOLE = """
branch: live
rewound: follow
unpacked_limit: 64
unikernels:
  mort.io:
    image: xen/latest
    network: {mode: static, bridge: xenbr0, ipv4: 46.43.42.137/28, gateway: 46.43.42.129}
    memory: 256
    mirage: 4.10
    health: {http: "http://46.43.42.137/", within: 30s}
    keep: 5
  off:
    image: a
    networks: {a: {mode: direct, bridge: br0, mac: 52:54:00:12:34:56}, b: {mode: socket, port: 80}}
    arguments: [--on=yes, --time=12:30]
"""


def test_a_whole_file_means_what_it_says() -> None:
    """YAML 1.1 would read 4.10 as 4.1, off as false, and 12:30 as 750."""
    assert reading.parse(WHOLE.encode(), 'mirage.yml') == config.Settings(
        branch='live', rewound='follow', unpacked_limit=64, unikernels={
            'mort.io': config.Unikernel(
                image='xen/latest', memory=256, mirage='4.10', keep=5,
                network=config.Static(
                    bridge='xenbr0', ipv4='46.43.42.137/28', gateway='46.43.42.129'
                ),
                health=(config.Health(http='http://46.43.42.137/', within='30s'),),
            ),
            'off': config.Unikernel(
                image='a', arguments=('--on=yes', '--time=12:30'),
                networks={'a': config.Direct(bridge='br0', mac='52:54:00:12:34:56'),
                          'b': config.Socket(port=80)},
            ),
        },
    )


def test_merge_keys_share_settings() -> None:
    text = b'unikernels: {a: &a {image: x, memory: 7}, b: {<<: *a, image: y}}'
    assert reading.parse(text, 'mirage.yml').unikernels == {
        'a': config.Unikernel(image='x', memory=7), 'b': config.Unikernel(image='y', memory=7)
    }


def schema() -> jsonschema.protocols.Validator:
    shipped = json.loads((ROOT / 'docs' / 'mirage.schema.json').read_text())
    return jsonschema.Draft202012Validator(shipped)


def document(text: str) -> object:
    """`text` as an editor's YAML reads it where the two agree; None where it is no YAML."""
    try:
        return yaml.load(text, yaml.BaseLoader if 'mirage: 4' in text else yaml.SafeLoader)
    except (yaml.YAMLError, ValueError):
        return None


@pytest.mark.parametrize('text', [
    GOOD, WWW + 'health: {tcp: "a:1"}}', WWW + 'health: [{tcp: "a:1"}, {alive: 1s}]}',
    WWW + 'network: {mode: socket, port: 80}, keep: 1}', WHOLE.replace('4.10', '"4.10"')
    .replace('off:', '"off":').replace('52:54:00:12:34:56', '"52:54:00:12:34:56"'),
], ids=range(5))
def test_the_schema_takes_what_the_parser_takes(text: str) -> None:
    reading.parse(text.encode(), 'mirage.yml')
    assert [error.message for error in schema().iter_errors(document(text))] == []


@pytest.mark.parametrize(('text', 'told'), [
    (text, told) for text, told in WRONG
    if document(text) is not None
    and not any(known in line for known in ONLY_THE_PARSER_KNOWS for line in told)
])
def test_the_schema_refuses_what_the_parser_refuses(text: str, told: list[str]) -> None:
    assert not schema().is_valid(document(text)), told


def test_the_shipped_documents_are_what_the_command_prints() -> None:
    """Write them: mirage-hooks schema >docs/mirage.schema.json, and --markdown for the other."""
    docs = ROOT / 'docs'
    schema = json.dumps(reference.schema(), indent=2) + '\n'
    assert (docs / 'mirage.schema.json').read_text() == schema
    assert (docs / 'mirage.yml.md').read_text() == reference.reference() + '\n'


def test_every_key_is_explained() -> None:
    kinds = reference.schema()['$defs'].items()
    bare = [f'{kind}.{key}' for kind, one in kinds for key, entry in one['properties'].items()
            if 'description' not in entry and key != 'mode']
    assert bare == []


def test_the_readmes_mirage_yml_is_accepted() -> None:
    text = (ROOT / 'README.md').read_text().partition('```yaml\n')[2].partition('```')[0]
    found = reading.parse(text.encode(), 'README.md')
    assert set(found.unikernels) == {'www', 'blog', 'staging'}


def test_a_larger_default_for_memory_restarts_nothing() -> None:
    """The fingerprint of version 0.1.0's first days, when the default was 32 MB."""
    network = config.Static(bridge='br0', ipv4='10.0.0.2/24', gateway='10.0.0.1')
    wanted = config.Unikernel(image='unix/latest', network=network)
    assert wanted.memory == 128
    assert wanted.fingerprint == '88b907f0b0379776'
    assert config.Unikernel(
        image='unix/latest', network=network, memory=32
    ).fingerprint != wanted.fingerprint


@pytest.mark.parametrize(('network', 'server'), [
    (config.Socket(port=5353), '127.0.0.1:5353'),
    (config.Socket(port=53, ipv4='192.0.2.53/24'), '192.0.2.53:53'),
    (config.Socket(port=53, ipv4='0.0.0.0/0'), '127.0.0.1:53'),
    (config.Socket(), ''),
    (config.Static(bridge='br0', ipv4='192.0.2.53/24', ipv6='2001:db8::53/64'), '192.0.2.53:53'),
    (config.Static(bridge='br0', ipv6='2001:db8::53/64'), '[2001:db8::53]:53'),
    (config.Static(bridge='br0', compiled_in=True), ''),
    (config.Direct(bridge='br0'), ''),
])
def test_a_name_server_is_asked_where_the_unikernel_is(
    network: config.Network, server: str
) -> None:
    assert network.server == server


@pytest.mark.parametrize(('server', 'place'), [
    ('192.0.2.53', ('192.0.2.53', 53)), ('[2001:db8::53]', ('2001:db8::53', 53)),
    ('[2001:db8::53]:5353', ('2001:db8::53', 5353)), ('ns.example.org:54', ('ns.example.org', 54)),
])
def test_its_port_is_53_unless_another_is_said(server: str, place: tuple[str, int]) -> None:
    assert config.Dns(name='example.org', server=server).place == place
