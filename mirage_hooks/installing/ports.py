"""Who holds the port that mirage.yml publishes."""

from __future__ import annotations

import os
from pathlib import Path

from .. import config
from ..host import ports, processes
from ..state import store
from .finding import Found, Place, fine, problem


def findings(place: Place, name: str, wanted: config.Unikernel) -> Found:
    if not isinstance(wanted.network, config.Socket) or wanted.port is None:
        return
    port = wanted.port
    if port < (least := ports.unprivileged()) and os.geteuid() != 0:
        yield problem(name, f'port {port} is for root alone: an ordinary user has those from '
                      f'{least} on', f'give it a port from {least} on in mirage.yml; or as root: '
                      f'sysctl net.ipv4.ip_unprivileged_port_start={port}')
        return
    held = ports.holder(wanted.network.address, port)
    if held is None:
        yield fine(name, f'port {port} is free')
        return
    own = _own(held, place.state)
    if own is not None and own.parents[1].name == name:
        yield fine(name, f'port {port} is held by its own release {own.name}')
        return
    yield problem(name, f'port {port} is held by {_who(held, own)}', _hint(held, own, port))


def strange(place: Place, name: str, wanted: config.Unikernel) -> bool:
    """Whether something else has the port of `name`: it answers then what is asked there."""
    if not isinstance(wanted.network, config.Socket) or wanted.port is None:
        return False
    held = ports.holder(wanted.network.address, wanted.port)
    own = _own(held, place.state) if held else None
    return held is not None and (own is None or own.parents[1].name != name)


def _own(held: ports.Holder, state: store.Store) -> Path | None:
    """The folder of the release that has it; what says that it is one of ours is believed only
    when we started it."""
    ours = {process.pid: folder for folder, process in processes.marked(state.root)}
    return ours.get(held.pid or 0)


def _who(held: ports.Holder, own: Path | None) -> str:
    if own is not None:
        return f'release {own.name} of {own.parents[1].name}, of this repository'
    if there := held.place():
        return f'release {there.number} of {there.name} in {there.repository}'
    if held.pid is not None:
        return f'{held.program or "a program"}, process {held.pid}'
    return 'a program of another user'


def _hint(held: ports.Holder, own: Path | None, port: int) -> str:
    other = 'give this one another port in mirage.yml, as: network: {mode: socket, port: PORT}'
    if own is not None or held.place() is not None:
        return other
    who = 'end that program' if held.pid else f'see whose: sudo ss -ltnp sport = :{port}'
    return f'{who}; or {other}'
