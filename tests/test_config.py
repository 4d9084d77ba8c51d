"""mirage.yml is parsed once, and every mistake in it is said with its place and what is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mirage_hooks import config, errors, model
from tests.deployment import ROOT

WWW: dict[str, Any] = {'image': 'xen/latest'}
KNOWN = 'image, branch, network, networks, blocks, target, tender, memory'


def parsed(text: str) -> model.Settings:
    return config.parse(text.encode(), 'mirage.yml')


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(errors.Refused) as raised:
        parsed(text)
    return raised.value.reason, raised.value.hint


def www(**keys: Any) -> str:
    return yaml.safe_dump({'unikernels': {'www': {**WWW, **keys}}})


def test_a_unikernel_has_sensible_defaults() -> None:
    assert parsed(www()) == model.Settings(unikernels={'www': model.Unikernel(image='xen/latest')})


def test_versions_and_hardware_addresses_stay_text() -> None:
    found = parsed(
        'unikernels: {www: {image: x, mirage: 4.10, '
        'network: {mode: direct, bridge: br0, mac: 52:54:00:12:34:56}}}'
    ).unikernels['www']
    assert (found.mirage, found.network) == (
        '4.10', model.Direct(bridge='br0', mac='52:54:00:12:34:56')
    )


def test_one_health_question_needs_no_list() -> None:
    assert parsed(www(health={'tcp': '127.0.0.1:80'})) == parsed(
        www(health=[{'tcp': '127.0.0.1:80'}])
    )


@pytest.mark.parametrize(
    ('text', 'reason', 'hint'),
    [
        ('', 'mirage.yml: expected a mapping with `unikernels`, got nothing', ''),
        ('- 1', 'mirage.yml: expected a mapping with `unikernels`, got [1]', ''),
        ('branch: master', 'mirage.yml: `unikernels` is missing',
         'name at least one: unikernels: {www: {…}}'),
        ('unikernels: [www]', "mirage.yml: unikernels: expected a mapping of names, got ['www']",
         ''),
        ('unikernels: {www: }',
         'mirage.yml: www: expected a mapping with `image`, got nothing', ''),
        ('unikernels: {www: {}}', 'mirage.yml: www: `image` is missing', ''),
        (www(memory='lots'), "mirage.yml: www.memory: expected int, got 'lots'", ''),
        (www(memory=0), 'mirage.yml: www.memory: expected int >= 1, got 0', ''),
        (www(target='ukvm'),
         "mirage.yml: www.target: expected one of unix, spt, hvt, virtio, xen, got 'ukvm'", ''),
        (www(network={'mode': 'host'}),
         "mirage.yml: www.network.mode: expected one of socket, direct, static, got 'host'", ''),
        (www(network={'mode': 'socket', 'gateway': '10.0.0.1'}),
         'mirage.yml: www.network: unknown key `gateway`; known: mode, port, ipv4', ''),
        (www(network={'mode': 'static', 'ipv4': '10.0.0.2'}),
         "mirage.yml: www.network: '10.0.0.2' wants a prefix length, as 10.0.0.2/24", ''),
        (www(network={'mode': 'static', 'ipv4': 'fe80::1/64'}),
         "mirage.yml: www.network: 'fe80::1/64' is not an IPv4 address", ''),
        (www(network={'mode': 'socket'}, networks={'a': {'mode': 'socket'}}),
         'mirage.yml: www: give network or networks, not both', ''),
        (www(health={'within': '3s'}), 'mirage.yml: www.health[0]: give one of http, tcp, ping, '
         'console, alive; got none', ''),
        (www(health={'console': '('}), 'mirage.yml: www.health[0]: console: not a regular '
         'expression: missing ), unterminated subpattern at position 0', ''),
        ('unikernels: {../x: {image: y}}', 'mirage.yml: the name of a unikernel: expected str '
         "matching regex '^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$(?!\\\\n)', got '../x'", ''),
        ('a: 1\na: 2', "mirage.yml: line 2, column 1: key 'a' stands twice", ''),
        ('1: 2', 'mirage.yml: line 1, column 1: key 1 is not text', ''),
        ('a: [', "mirage.yml: line 1, column 5: expected the node content, but found "
         "'<stream end>'", ''),
        ('!!python/object:os.system {}', 'mirage.yml: line 1, column 1: could not determine a '
         "constructor for the tag 'tag:yaml.org,2002:python/object:os.system'", ''),
    ],
)
def test_a_mistake_is_said_with_its_place(text: str, reason: str, hint: str) -> None:
    assert refusal(text) == (reason, hint)


def test_an_unknown_key_is_answered_with_the_known_ones_and_the_nearest() -> None:
    reason, hint = refusal(www(memry=3))
    assert reason.startswith(f'mirage.yml: www: unknown key `memry`; known: {KNOWN}')
    assert hint == 'did you mean `memory`?'


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.Refused) as raised:
        config.load(tmp_path / 'none.yml')
    assert raised.value.reason == f'cannot read {tmp_path}/none.yml: No such file or directory'


def test_the_documents_are_made_from_what_the_parser_knows() -> None:
    assert (ROOT / 'docs/mirage.yml.md').read_text() == config.reference() + '\n'
    shipped = json.loads((ROOT / 'docs/mirage.schema.json').read_text())
    assert shipped == json.loads(json.dumps(config.schema()))


@pytest.mark.parametrize('text', [
    www(), www(health={'tcp': '127.0.0.1:80'}), www(health=[{'alive': '2s'}]), www(mirage=4.11),
    www(network={'mode': 'static', 'bridge': 'br0', 'ipv4': '10.0.0.2/24'}),
])
def test_the_schema_accepts_what_the_parser_accepts(text: str) -> None:
    parsed(text)
    jsonschema.validate(yaml.safe_load(text), config.schema())


@pytest.mark.parametrize('text', [
    '{}', www(memory='lots'), www(memry=3), www(network={'mode': 'host'}), www(target='ukvm'),
    www(network={'mode': 'socket', 'gateway': '10.0.0.1'}), www(health={'htp': 'x'}),
])
def test_the_schema_refuses_what_the_parser_refuses(text: str) -> None:
    refusal(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), config.schema())


def test_the_readmes_mirage_yml_is_accepted() -> None:
    text = (ROOT / 'README.md').read_text().partition('```yaml\n')[2].partition('```')[0]
    assert set(parsed(text).unikernels) == {'www', 'blog', 'staging'}
