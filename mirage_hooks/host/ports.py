"""The TCP ports of this host: which are free, and who holds one that is not."""

from __future__ import annotations

import errno
import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..messages import errors
from ..state import proc
from . import processes

ANYWHERE = ('0.0.0.0', '::')  # noqa: S104


class Place(NamedTuple):
    """Where a release is: its number, its unikernel and its repository."""

    number: str
    name: str
    repository: Path


class Holder(msgspec.Struct, frozen=True):
    """Who holds a port: its process and program, None and '' where an ordinary user is not shown
    them; and the folder of the release that it says it is of."""

    pid: int | None
    program: str = ''
    release: Path | None = None

    def place(self) -> Place | None:
        """Of the release, by the name of its folder; None when it is not called like one."""
        found = re.fullmatch('(/.+)/mirage-hooks/unikernels/([^/]+)/releases/([0-9]+)',
                             str(self.release))
        if found is None:
            return None
        git_dir, name, number = Path(found[1]), found[2], found[3]
        return Place(number, name, git_dir.parent if git_dir.name == '.git' else git_dir)


def require_free(address: str, port: int) -> None:
    """Raise Unavailable, naming the holder as far as it can be told, when `port` is not free."""
    if free(address, port):
        return
    held = holder(address, port)
    if held is None or (there := held.place()) is None:
        raise errors.Unavailable(
            f'port {port} is held by another program', hint=f'see who: ss -ltnp sport = {port}'
        )
    raise errors.Unavailable(
        f'port {port} is held by release {there.number} of {there.name} in {there.repository}',
        hint='give this one another port in mirage.yml, or end that one: '
        f'mirage-hooks -C {shlex.quote(str(there.repository))} stop {shlex.quote(there.name)}',
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


def unprivileged() -> int:
    """The first port that an ordinary user may listen on: ip-sysctl, of this network namespace."""
    try:
        return int(Path('/proc/sys/net/ipv4/ip_unprivileged_port_start').read_text())
    except FileNotFoundError:  # a kernel without it
        return 1024


def holder(address: str, port: int) -> Holder | None:
    """Who keeps others from listening on `port` of `address`, None for nobody."""
    import psutil

    found = [
        one.pid for one in psutil.net_connections('tcp')
        if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port
        and (address == one.laddr.ip or {address, one.laddr.ip} & {*ANYWHERE})
    ]
    pid = min((one for one in found if one is not None), default=None)
    if not found or pid is None:
        return Holder(None) if found else None
    try:
        program = psutil.Process(pid).name()
    except psutil.Error:  # it ends just now
        program = ''
    mark = os.fsdecode(proc.variable(pid, processes.MARK))
    return Holder(pid, program, Path(mark) if mark else None)
