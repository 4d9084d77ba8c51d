"""What docs/tls.md says, in pieces: the commands of each client, as they stand there."""

from __future__ import annotations

import re

from tests.deployment import ROOT

PAGE = ROOT / 'docs' / 'tls.md'
CERTBOT = 'certbot -q renew --no-random-sleep-on-renew'
"""What Debian's package runs, without a terminal."""


def section(client: str) -> str:
    return PAGE.read_text().partition(f'\n### {client}\n')[2].partition('\n##')[0]


def commands(client: str) -> list[str]:
    """The ```sh blocks of the client's section."""
    return re.findall(r'^```sh\n(.*?)^```$', section(client), re.MULTILINE | re.DOTALL)


def by_dns() -> list[str]:
    """The blocks of that section."""
    text = PAGE.read_text().partition('\n## By DNS\n')[2].partition('\n## ')[0]
    return re.findall(r'^```\w+\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)


def cron(client: str) -> str:
    """The command of its cron line."""
    line = re.findall(r'^```cron\n(.*?)^```$', section(client), re.MULTILINE | re.DOTALL)[0]
    return str(line.split(maxsplit=6)[6])


def pair(client: str) -> tuple[str, str]:
    """Chain and key, as the page has them."""
    if client == 'certbot':
        found = re.findall(r'^ +(?:chain|key): (/\S+)$', PAGE.read_text(), re.MULTILINE)
        return found[0], found[1]
    text = re.findall(r'The pair is (.*?)\.(?:\s|$)', section(client), re.DOTALL)[0]
    chain, key = re.findall(r'`([^`]+)`', text)[:2]
    if not key.startswith('/'):  # only what differs is said
        key = f'{chain.rpartition(".")[0]}{key[1:]}' if key[0] == '…' else (
            f'{chain.rpartition("/")[0]}/{key}')
    return chain, key
