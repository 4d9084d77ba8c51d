"""A DHCP server of our own on a stage: it leases what the real one offers, with its every word and
from its hardware address, so that whoever is there knows the real one once it meets it."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from . import dhcp, leases, staging

if TYPE_CHECKING:
    import socket

LOOK = 0.05  # seconds between two looks at whether it is worth waiting


class Replay:
    """The server of `lease` for the hardware address `mac`. It answers when `answer` is called;
    `taken` is the request by which the lease was taken, None before."""

    def __init__(self, link: socket.socket, lease: dhcp.Lease, mac: str) -> None:
        self.link, self.lease = link, lease
        self.hardware = bytes.fromhex(mac.replace(':', ''))
        self.taken: dhcp.Message | None = None

    def wait(self, within: float, gone: Callable[[], object]) -> bool:
        """Whether the lease is taken, within so many seconds and before the one who is to take it
        is `gone`."""
        limit = time.monotonic() + within
        while self.taken is None and time.monotonic() < limit and not gone():
            self.answer(LOOK)
        return self.taken is not None

    def answer(self, within: float = 0.001) -> None:
        """Answer what was asked, and what is asked in so many seconds."""
        for asked in leases.heard([self.link], within, dhcp.SERVER):
            if asked.hardware != self.hardware:
                continue
            if asked.kind == dhcp.DISCOVER:
                self._send(asked, dhcp.OFFER)
            elif asked.kind == dhcp.REQUEST and self._ours(asked):
                self.taken = asked
                self._send(asked, dhcp.ACK)

    def _ours(self, asked: dhcp.Message) -> bool:
        """Whether it is this lease that is `asked` for, and not another server's."""
        # MirageOS calls the server by siaddr, which Kea leaves 0.0.0.0, and is understood by both.
        names = (leases.packed(self.lease.server), self.lease.told[20:24])
        return (asked.options.get(dhcp.WHO, names[0]) in names
                and asked.options.get(dhcp.WANTED, asked.own) == self.lease.ip)

    def _send(self, asked: dhcp.Message, kind: int) -> None:
        alone = asked.broadcast and not any(asked.own)
        to = (dhcp.BROADCAST, dhcp.ANYWHERE[1]) if alone else (asked.source, self.lease.ip)
        leases.send(self.link, dhcp.framed(
            bytes.fromhex(self.lease.mac.replace(':', '')), to[0],
            (leases.packed(self.lease.server), to[1]), (dhcp.SERVER, dhcp.CLIENT),
            dhcp.replayed(self.lease, asked, kind),
        ))


@contextlib.contextmanager
def opened(stage: staging.Stage, lease: dhcp.Lease, mac: str) -> Iterator[Replay]:
    """The server of `lease` on `stage`."""
    with contextlib.ExitStack() as kept:
        with stage.entered():
            link = kept.enter_context(leases.opened(
                stage.faces.get(lease.server, stage.wire), dhcp.SERVER))
        yield Replay(link, lease, mac)


def neighbour(lease: dhcp.Lease) -> tuple[staging.Neighbour, ...]:
    """The server of `lease` as a neighbour, where it is one: else it is behind the gateway."""
    network = ipaddress.ip_interface(lease.address).network
    if ipaddress.ip_address(lease.server) not in network:
        return ()
    return (staging.Neighbour(lease.address, lease.server, gateway=False, mac=lease.mac),)
