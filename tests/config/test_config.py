"""mirage.yml: what it may say, every way to be wrong in its full text, and its documents."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from mirage_hooks import config
from mirage_hooks.config import reading, reference
from mirage_hooks.messages import errors
from tests.deployment import ROOT

GOOD = 'unikernels: {www: {image: a}}\n'
WWW = 'unikernels:\n  www: {image: a, '

WRONG = (
    ('unikernels: 7',
     ': unikernels: expected a mapping of names, got 7', ''),
    ('{}',
     ': `unikernels` is missing',
     'name at least one: unikernels: {www: {…}}'),
    ('branch: x\n',
     ': `unikernels` is missing',
     'name at least one: unikernels: {www: {…}}'),
    ('unikernels: {www: 7}',
     ': www: expected a mapping with `image`, got 7', ''),
    ('unikernels: {www: {}}',
     ': www: `image` is missing', ''),
    ('unikernels: {"w w": {image: a}}',
     ': the name of a unikernel: expected str matching regex '
     "'^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$(?!\\\\n)', got 'w w'", ''),
    ('unikernels: {"-w": {image: a}}',
     ': the name of a unikernel: expected str matching regex '
     "'^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$(?!\\\\n)', got '-w'", ''),
    (GOOD + 'branch: 7',
     ': branch: expected str, got 7', ''),
    (GOOD + 'branhc: x',
     ': unknown key `branhc`; known: unikernels, branch, rewound, trust, gate, notify, '
     'unpacked_limit',
     'did you mean `branch`?'),
    (GOOD + 'rewound: maybe',
     ": rewound: expected one of follow, refuse, got 'maybe'", ''),
    (GOOD + 'unpacked_limit: 0',
     ': unpacked_limit: expected int >= 1, got 0', ''),
    (GOOD + 'unpacked_limit: 1e3',
     ": unpacked_limit: expected int, got '1e3'", ''),
    (WWW + 'image: b}',
     ": line 2, column 19: key 'image' stands twice", ''),
    (WWW + 'memory: lots}',
     ": www.memory: expected int, got 'lots'", ''),
    (WWW + 'memory: 0}',
     ': www.memory: expected int >= 1, got 0', ''),
    (WWW + 'memory: 1.5}',
     ": www.memory: expected int, got '1.5'", ''),
    (WWW + 'memorry: 1}',
     ': www: unknown key `memorry`; known: image, branch, network, networks, blocks, '
     'target, tender, memory, arguments, secrets, cpu, mirage, health, confirm, switch, '
     'drain, keep',
     'did you mean `memory`?'),
    (WWW + 'target: kvm}',
     ": www.target: expected one of unix, spt, hvt, virtio, xen, got 'kvm'", ''),
    (WWW + 'network: socket}',
     ": www.network: expected mapping, got 'socket'", ''),
    (WWW + 'network: {port: 80}}',
     ': www.network: `mode` is missing', ''),
    (WWW + 'network: {mode: bridge}}',
     ": www.network.mode: expected one of socket, direct, static, got 'bridge'", ''),
    (WWW + 'network: {mode: socket, port: 0}}',
     ': www.network.port: expected int >= 1, got 0', ''),
    (WWW + 'network: {mode: socket, port: 65536}}',
     ': www.network.port: expected int <= 65535, got 65536', ''),
    (WWW + 'network: {mode: socket, bridge: br0}}',
     ': www.network: unknown key `bridge`; known: mode, port, ipv4', ''),
    (WWW + 'network: {mode: socket, ipv4: 10.0.0.1}}',
     ": www.network: '10.0.0.1' wants a prefix length, as 10.0.0.1/24", ''),
    (WWW + 'network: {mode: static, ipv4: nonsense/24}}',
     ": www.network: 'nonsense/24' does not appear to be an IPv4 or IPv6 interface", ''),
    (WWW + 'network: {mode: static, ipv4: "::1/64"}}',
     ": www.network: '::1/64' is not an IPv4 address", ''),
    (WWW + 'network: {mode: static, gateway: x}}',
     ": www.network: 'x' does not appear to be an IPv4 or IPv6 address", ''),
    (WWW + 'network: {mode: direct, bridge: a_very_long_bridge_name}}',
     ': www.network.bridge: expected str matching regex '
     "'^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$(?!\\\\n)', got 'a_very_long_bridge_name'", ''),
    (WWW + 'network: {mode: direct, mac: 7}}',
     ': www.network.mac: expected str, got 7', ''),
    (WWW + 'network: {mode: direct, mac: 52:54:00:12:34}}',
     ': www.network.mac: expected str matching regex '
     "'^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$(?!\\\\n)', got '52:54:00:12:34'", ''),
    (WWW + 'network: {mode: direct}, networks: {a: {mode: direct}}}',
     ': www: give network or networks, not both', ''),
    (WWW + 'networks: {a: {mode: direct, x: 1}}}',
     ': www.networks.a: unknown key `x`; known: mode, bridge, interface, mac, group', ''),
    (WWW + 'networks: [1]}',
     ': www.networks: expected mapping, got [1]', ''),
    (WWW + 'blocks: {d: {}}}',
     ': www.blocks.d: `path` is missing', ''),
    (WWW + 'blocks: {d: {path: rel}}}',
     ": www.blocks.d.path: expected str matching regex '^/', got 'rel'", ''),
    (WWW + 'blocks: {d: {path: /x, sector: 1}}}',
     ': www.blocks.d.sector: expected int >= 512, got 1', ''),
    (WWW + 'health: {}}',
     ': www.health[0]: give one of http, tcp, ping, console, alive; got none', ''),
    (WWW + 'health: {http: "ftp://x"}}',
     ": www.health[0].http: expected str matching regex '^https?://', got 'ftp://x'", ''),
    (WWW + 'health: {http: "http://x", tcp: "a:1"}}',
     ": www.health[0]: give one of http, tcp, ping, console, alive; got ['http', 'tcp']", ''),
    (WWW + 'health: {tcp: a}}',
     ": www.health[0].tcp: expected str matching regex '^.+:[0-9]+$(?!\\\\n)', got 'a'", ''),
    (WWW + 'health: {http: "http://10.0.0.2:80800/"}}',
     ': www.health[0]: http://10.0.0.2:80800/ cannot be asked: Port out of range 0-65535', ''),
    (WWW + 'health: {http: "http://www..example.org/"}}',
     ': www.health[0]: http://www..example.org/ cannot be asked: its host is no name', ''),
    (WWW + 'health: {tcp: "a:0"}}',
     ': www.health[0]: a:0 cannot be asked: it names no host, or port 0', ''),
    (WWW + 'health: {tcp: ":80"}}',
     ': www.health[0].tcp: expected str matching regex \'^.+:[0-9]+$(?!\\\\n)\', got \':80\'', ''),
    (WWW + 'health: {console: "("}}',
     ': www.health[0]: console: not a regular expression: missing ), unterminated '
     'subpattern at position 0', ''),
    (WWW + 'health: {alive: soon}}',
     ": www.health[0].alive: expected str matching regex '^[0-9]+(ms|s|m|h)$(?!\\\\n)', got "
     "'soon'", ''),
    (WWW + 'health: [{http: "http://x", within: 3}]}',
     ': www.health[0].within: expected str, got 3', ''),
    (WWW + 'health: [{htpp: "http://x"}]}',
     ': www.health[0]: unknown key `htpp`; known: http, status, contains, host, insecure, '
     'tcp, ping, console, alive, within',
     'did you mean `http`?'),
    (WWW + 'arguments: --a}',
     ": www.arguments: expected list, got '--a'", ''),
    (WWW + 'arguments: [1]}',
     ': www.arguments[0]: expected str, got 1', ''),
    (WWW + 'mirage: four}',
     ": www.mirage: expected str matching regex '^[0-9]+(\\\\.[0-9]+){0,2}$', got 'four'", ''),
    (WWW + 'keep: 0}',
     ': www.keep: expected int >= 1, got 0', ''),
    (WWW + 'confirm: 1}',
     ': www.confirm: expected str, got 1', ''),
    (WWW + 'secrets: {Key: /x}}',
     ": www.secrets: expected str matching regex '^[a-z][a-z0-9-]*$(?!\\\\n)', got {'Key': "
     "'/x'}", ''),
    (WWW + 'secrets: {key: x}}',
     ": www.secrets: expected str matching regex '^/', got {'key': 'x'}", ''),
    (WWW + 'cpu: 0}',
     ': www.cpu: expected int >= 1, got 0', ''),
    (GOOD + 'trust: {}',
     ': trust: give signers, keyring or both', ''),
    (GOOD + 'trust: {signers: x}',
     ": trust.signers: expected str matching regex '^/', got 'x'", ''),
    (GOOD + 'notify: {}',
     ': notify: give command, webhook or both', ''),
    (GOOD + 'notify: {webhook: x}',
     ": notify.webhook: expected str matching regex '^https?://', got 'x'", ''),
    (GOOD + 'gate: maybe',
     ": gate: expected bool, got 'maybe'", ''),
    (GOOD + '? [1]\n: 2',
     ': line 2, column 3: key [1] is not text', ''),
    ('unikernels: {www: {image: a}',
     ": line 1, column 29: expected ',' or '}', but got '<stream end>'", ''),
    ('a: \x00',
     ' is not YAML: unacceptable character #x0000: special characters are not allowed', ''),
    ('a: &x [*x]\n',
     ': unknown key `a`; known: unikernels, branch, rewound, trust, gate, notify, '
     'unpacked_limit', ''),
    ('a: *nope',
     ": line 1, column 4: found undefined alias 'nope'", ''),
    ('a: !!python/name:os.system x',
     ': line 1, column 4: could not determine a constructor for the tag '
     "'tag:yaml.org,2002:python/name:os.system'", ''),
    ('? 1\n: 2',
     ': line 1, column 3: key 1 is not text', ''),
    ('<<: 7',
     ': line 1, column 5: expected a mapping or list of mappings for merging, but found '
     'scalar', ''),
    (GOOD + '---\n{}',
     ': line 2, column 1: expected a single document in the stream, but found another '
     'document', ''),
)

ONLY_THE_PARSER_KNOWS = ('wants a prefix', 'does not appear to be', 'is not an IPv', 'regular',
                         'cannot be asked')
"""What a JSON schema cannot say: addresses and regular expressions."""


@pytest.mark.parametrize(('text', 'reason', 'hint'), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_refused_in_full(text: str, reason: str, hint: str) -> None:
    with pytest.raises(errors.Refused) as refused:
        reading.parse(text.encode(), 'mirage.yml')
    assert (refused.value.reason, refused.value.hint) == (f'mirage.yml{reason}', hint)


@pytest.mark.parametrize(('text', 'reason'), [
    (b'caf\xe9: 1', ' is not YAML: unacceptable character #x00e9: invalid continuation byte'),
    (b'[' * 5000, ' is not YAML: maximum recursion depth exceeded'),
])
def test_what_is_no_yaml_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(errors.Refused) as refused:
        reading.parse(text, 'mirage.yml')
    assert refused.value.reason.startswith(f'mirage.yml{reason}')


def test_aliases_that_multiply_are_refused_quickly() -> None:
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    lines += [f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 10)}]' for n in range(1, 12)]
    text = '\n'.join([*lines, 'unikernels: {www: {image: *a11}}'])
    with pytest.raises(errors.Refused) as refused:
        reading.parse(text.encode(), 'mirage.yml')
    assert refused.value.reason.startswith('mirage.yml: unknown key `a0`; known: ')


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


@pytest.mark.parametrize(('text', 'reason'), [
    (text, reason) for text, reason, _ in WRONG
    if document(text) is not None and ' line ' not in reason
    and not any(known in reason for known in ONLY_THE_PARSER_KNOWS)
])
def test_the_schema_refuses_what_the_parser_refuses(text: str, reason: str) -> None:
    assert not schema().is_valid(document(text)), reason


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
