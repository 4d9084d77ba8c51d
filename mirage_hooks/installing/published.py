"""What a repository publishes, as entries of mirage.yml."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .. import config, image
from ..git import repository, tree
from ..host import network, ports
from ..messages import errors
from ..state import store
from ..switching import fitting

PORT = 8080  # of the first unix image, where it is free; those after it get the next ones


def entries(
    wanted: repository.Repository, branch: str, folder: Path, most: int | None = None,
    asked: bool = True,
) -> str:
    """An entry for each image of `branch`, of the first `most`; '' when there is none. One that is
    a process of the host can run as it stands here, on a port that no mirage.yml in `folder` has.
    Where a unix image may not be `asked` for its options, nothing of the branch is run."""
    numbers = _ports(folder)
    try:
        commit = wanted.commit(branch)
        first = {name: place for place, name in reversed(wanted.images(commit))}
    except errors.Refused:
        return ''
    found = itertools.islice(sorted(first.items()), most)
    return ''.join(
        text for name, place in found
        for text in _entry(wanted, commit, name, place, numbers, asked)
    )


def quoted(text: str) -> str:
    """`text` as YAML takes it for text."""
    simple = re.fullmatch(r'[A-Za-z][A-Za-z0-9._/-]*', text)
    return text if simple and text not in ('true', 'false', 'null') else json.dumps(text)


def _entry(
    wanted: repository.Repository, commit: str, name: str, place: str, numbers: Iterator[int],
    asked: bool,
) -> Iterator[str]:
    yield f'  {quoted(name)}:\n    image: {quoted(place)}\n'
    try:
        blob = wanted.find(commit, name, config.Unikernel(image=place))
        kind, options = _looked(wanted, name, blob, asked)
    except errors.Refused:
        return
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
    wanted: repository.Repository, name: str, found: tree.Found, asked: bool
) -> tuple[str, frozenset[str] | None]:
    """The target of the image at `found`, and the options that a unix image says it has."""
    with tempfile.TemporaryDirectory() as folder:
        with wanted.open(found.blob, image.LIMIT, found.path) as stream:
            took = image.take(
                stream, Path(folder, 'image'), name=found.path, limit=image.LIMIT
            )
        asked = asked and took.target == 'unix'
        return took.target, fitting.options(wanted.state, name, Path(folder)) if asked else None


def _network(kind: str, options: frozenset[str] | None, numbers: Iterator[int]) -> str:
    if kind != 'unix':
        return '# network: {mode: …}  # one of the three above'
    if not fitting.stacked(options):
        return f'network: {{mode: socket, port: {next(numbers)}}}'
    bridges = sorted(path.parent.name for path in network.INTERFACES.glob('*/bridge'))
    bridge = quoted(next(iter(bridges), 'br0'))
    return f'network: {{mode: direct, bridge: {bridge}}}  # it has --interface: its own stack'
