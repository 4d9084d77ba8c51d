"""The commented mirage.yml that a new repository starts with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import config, image
from ..git import repository, tree
from ..host import network
from ..messages import errors
from ..state import store
from ..switching import fitting, ports

PORT = 8080  # of the first unix image, where it is free; those after it get the next ones

_HEAD = '# What should run on this host, for the deployment repository '

_REST = """\
# A unikernel has a name, an image in the repository, and mostly a network and a health check.
# `mirage-hooks check` reads this file, and says what is missing on this host.
#
#   mortio:
#     image: xen/latest          # a pointer file, or the path of the image itself
#     memory: 256                # MB
#     keep: 3                    # old releases, for rollback
#     # One of the three networks:
#     network: {mode: socket, port: 8080}             # a process on this host's own sockets
#     network: {mode: direct, bridge: br0}            # its own stack, its address by DHCP
#     network: {mode: static, bridge: br0, ipv4: 192.0.2.10/24, gateway: 192.0.2.1}
#     health: {http: "http://192.0.2.10/", within: 30s}
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
    branches = wanted.branches()
    found = _images(wanted, branches)
    named = f'branch: {plain(branches[0])}\n' if branches else '# branch: master\n'
    if not found:
        return f'{head(wanted)}\n{named}\n{_REST}unikernels: {{}}\n'
    entries = ''.join(_entries(wanted, found))
    return f'{head(wanted)}\n{named}\n{_REST}unikernels:\n{entries}'


def head(wanted: repository.Repository) -> str:
    """The first line, by which `owner` knows whom it was written for."""
    return f'{_HEAD}{wanted.folder}'


def owner(file: Path) -> str:
    """The repository that a starter was written for; '' when a person wrote the file."""
    first = file.read_text('utf-8', 'surrogateescape').partition('\n')[0]
    return first.removeprefix(_HEAD) if first.startswith(_HEAD) else ''


def _images(wanted: repository.Repository, branches: list[str]) -> dict[str, str]:
    if not branches:
        return {}
    try:
        found = wanted.images(wanted.commit(branches[0]))
    except errors.Refused:
        return {}
    first = {name: image for image, name in reversed(found)}
    return dict(sorted(first.items()))


def _entries(wanted: repository.Repository, found: dict[str, str]) -> Iterator[str]:
    """An entry for each image; one that is a process of the host can run as it stands here."""
    commit = wanted.commit(wanted.branches()[0])
    numbers = _ports(path(wanted).parent)
    for name, place in found.items():
        yield f'  {plain(name)}:\n    image: {plain(place)}\n'
        try:
            blob = wanted.find(commit, name, config.Unikernel(image=place))
            kind, options = _looked(wanted, name, blob)
        except errors.Refused:
            continue
        yield f'    {_network(kind, options, numbers)}\n'
        yield from (f'    # {text}\n' for text in fitting.disks(wanted, blob, kind))


def _ports(folder: Path) -> Iterator[int]:
    """From PORT on, those that nobody listens on and no mirage.yml in `folder` names."""
    taken = set()
    for file in folder.glob('*.yml'):
        with contextlib.suppress(errors.Refused):  # whoever deploys by that one says it
            taken |= {
                one.port for each in store.settings(file).unikernels.values()
                for one in each.interfaces.values() if isinstance(one, config.Socket)
            }
    for port in range(PORT, 65536):
        if port not in taken and ports.free('127.0.0.1', port):
            yield port


def _looked(
    wanted: repository.Repository, name: str, found: tree.Found
) -> tuple[str, frozenset[str] | None]:
    """The target of the image at `found`, and the options that a unix image says it has."""
    with tempfile.TemporaryDirectory() as folder:
        with wanted.open(found.blob, image.LIMIT, found.path) as stream:
            took = image.take(
                stream, Path(folder, 'image'), name=found.path, limit=image.LIMIT
            )
        unix = took.target == 'unix'
        return took.target, fitting.options(wanted.state, name, Path(folder)) if unix else None


def _network(kind: str, options: frozenset[str] | None, numbers: Iterator[int]) -> str:
    if kind != 'unix':
        return '# network: {mode: …}  # one of the three above'
    if not fitting.stacked(options):
        return f'network: {{mode: socket, port: {next(numbers)}}}'
    bridges = sorted(path.parent.name for path in network.INTERFACES.glob('*/bridge'))
    bridge = plain(next(iter(bridges), 'br0'))
    return f'network: {{mode: direct, bridge: {bridge}}}  # it has --interface: its own stack'


def plain(text: str) -> str:
    """`text` as YAML takes it for text."""
    simple = re.fullmatch(r'[A-Za-z][A-Za-z0-9._/-]*', text)
    return text if simple and text not in ('true', 'false', 'null') else json.dumps(text)
