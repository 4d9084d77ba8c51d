"""The commented mirage.yml that a new repository starts with."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..git import repository
from . import installation, published

_HEAD = '# What should run on this host, for the deployment repository '

_REST = """\
# A unikernel has a name, an image in the repository, and mostly a network and a health check.
# `mirage-hooks check` reads this file, and says what is missing on this host.
#
#   www:
#     image: unix/latest         # a pointer file, or the path of the image itself
#     network: {mode: socket, port: 8080}             # a process on this host's own sockets
#     health: {http: "http://127.0.0.1:8080/", within: 10s}
#
# Other networks, in the place of that one:
#     # its own stack, its address by DHCP:
#     network: {mode: direct, bridge: br0}
#     # its own stack, its address from here:
#     network: {mode: static, bridge: br0, ipv4: 192.0.2.10/24, gateway: 192.0.2.1}
# More that a unikernel may have:
#     memory: 256                                     # MB
#     keep: 3                                         # old releases, for rollback
#     arguments: ["--message=hello"]                  # the application's own

"""


def path(wanted: repository.Repository) -> Path:
    """Where mirage.yml belongs on this host when nobody says otherwise."""
    plain = wanted.folder.parent if wanted.folder.name == '.git' else wanted.folder
    name = re.sub(r'[^A-Za-z0-9._-]', '-', plain.name.removesuffix('.git')) or 'repository'
    if os.geteuid() == 0:
        return Path('/etc/mirage-hooks') / f'{name}.yml'
    home = os.environ.get('XDG_CONFIG_HOME') or Path.home() / '.config'
    return Path(home) / 'mirage-hooks' / f'{name}.yml'


def text(wanted: repository.Repository) -> str:
    """A mirage.yml with what the repository's own tree tells; the rest as comments."""
    branch = next(iter(wanted.branches()), '')
    named = f'branch: {published.quoted(branch)}\n' if branch else '# branch: master\n'
    entries = published.entries(wanted, branch, path(wanted).parent) if branch else ''
    what = f'unikernels:\n{entries}' if entries else 'unikernels: {}\n'
    return f'{head(wanted)}\n{named}\n{_REST}{what}'


def head(wanted: repository.Repository) -> str:
    """The first line, by which `owner` knows whom it was written for; and what editors check the
    file by."""
    schema = installation.schema()
    return f'{_HEAD}{wanted.folder}' + (
        f'\n# yaml-language-server: $schema={schema}' if schema else '')


def owner(file: Path) -> str:
    """The repository that a starter was written for; '' when a person wrote the file."""
    first = file.read_text('utf-8', 'surrogateescape').partition('\n')[0]
    return first.removeprefix(_HEAD) if first.startswith(_HEAD) else ''
