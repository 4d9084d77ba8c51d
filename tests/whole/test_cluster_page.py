"""The commands of the part of docs/several-hosts.md on a cluster, run as they stand there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests import cluster
from tests.cluster import NAMES, REPOSITORY, Cluster, Host
from tests.deployment import ROOT
from tests.patience import until

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(cluster.missing()), reason=cluster.missing() or 'nothing'),
]
PAGE = (ROOT / 'docs' / 'several-hosts.md').read_text()
CLUSTER = PAGE[PAGE.index('\n## A cluster\n'):]
"""The part of the page that is for a cluster; test_several_hosts.py runs what is before it."""


class Block(msgspec.Struct, frozen=True):
    """What stands in a block of the page, and in what language and for whom it is."""

    kind: str
    text: str


BLOCKS = [Block(*found) for found in
          re.findall(r'^```([\w -]+)\n(.*?)^```$', CLUSTER, re.MULTILINE | re.DOTALL)]


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster]:
    """Three hosts of a cluster with fencing, each with a clone and the page's mirage.yml."""
    made = Cluster(tmp_path)
    try:
        made.release()
        for host in made.hosts:
            host.boot()
            host.act('git', 'clone', '-q', f'file://{made.hub}', str(REPOSITORY))
            settings = next(one.text for one in BLOCKS if one.text.startswith('unikernels:'))
            host.put('/etc/mirage-hooks/mirage.yml', settings)
        made.gather()
        yield made
    finally:
        made.end()


def typed(host: Host, text: str) -> str:
    """What the commands `text` print on `host`."""
    path = f'PATH={Path(sys.executable).parent}:$PATH'
    return host.act('sh', '-ec', f'{path}; {text}')


def test_the_page_makes_a_cluster_that_serves(three: Cluster) -> None:
    said = ''
    for block in BLOCKS:
        if block.kind == 'sh on-each':
            for host in three.hosts:
                said = typed(host, block.text)
                assert said.count('ocf:mirage-hooks:unikernel') == 2
        elif block.kind == 'sh on-one':
            said = typed(three.hosts[0], block.text)
        elif block.kind == 'text' and 'runs on' in block.text:
            assert shape(said) == shape(block.text)
    assert three.active() == 'gamma'
    until(three.page)
    assert three.page() == 'release-0001'


def shape(text: str) -> list[str]:
    """The lines of a status without which host it is, and with numbers and commits alike."""
    last = text[text.index('www: runs on'):].splitlines()
    said = [re.sub('|'.join(NAMES), 'HOST', line) for line in last]
    said = [re.sub(r'[0-9a-f]{12}', 'COMMIT', re.sub(r'\d+ (s|min)\b', 'A WHILE', line))
            for line in said]
    return sorted(' '.join(line.split()) for line in said)


def test_every_block_of_commands_says_who_is_to_run_it() -> None:
    kinds = {block.kind for block in BLOCKS}
    # `sh` alone is for hosts without a cluster: test_several_hosts.
    assert kinds <= {'sh', 'yaml', 'text', 'sh on-each', 'sh on-one', 'sh on-each by-hand'}
