"""The TCP ports of this host: which are free, and who holds one that is not."""

from __future__ import annotations

import errno
import shlex
from pathlib import Path

from ..host import processes
from ..messages import errors


def require_free(address: str, port: int) -> None:
    """Raise Unavailable, naming the holder as far as it can be told, when `port` is not free."""
    if free(address, port):
        return
    for folder, process in processes.marked(Path('/')):
        if processes.listens(process, port):
            raise _ours(folder, port)
    raise errors.Unavailable(
        f'port {port} is held by another program', hint=f'see who: ss -ltnp sport = {port}'
    )


def free(address: str, port: int) -> bool:
    """Whether nobody listens on `port`. One below 1024, or at an address of elsewhere, is the
    image's own affair."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def _ours(folder: Path, port: int) -> errors.Unavailable:
    """`folder` is that of a release: GIT_DIR/mirage-hooks/unikernels/NAME/releases/NUMBER."""
    name, git_dir = folder.parents[1].name, folder.parents[4]
    repository = git_dir.parent if git_dir.name == '.git' else git_dir
    return errors.Unavailable(
        f'port {port} is held by release {folder.name} of {name} in {repository}',
        hint='give this one another port in mirage.yml, or end that one: '
        f'mirage-hooks -C {shlex.quote(str(repository))} stop {shlex.quote(name)}',
    )
