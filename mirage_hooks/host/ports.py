"""Who listens on the TCP ports of this host."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ..state import proc
from . import processes

ANYWHERE = ('0.0.0.0', '::')  # noqa: S104


class Holder(msgspec.Struct, frozen=True):
    """Who holds a port: its process and program, None and '' where an ordinary user is not shown
    them; and the folder of the release that it says it is of."""

    pid: int | None
    program: str = ''
    release: Path | None = None


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
