"""The listening sockets of processes of ours, and those for datagrams, reached from outside
(pidfd_getfd, Linux 5.6): where they listen, and which of several on one port gets what is new.

The kernel numbers those that share a port in the order in which they began to listen (UDP: were
bound); when one goes the last takes its number. A program attached to any of them
(SO_ATTACH_REUSEPORT_CBPF, Linux 4.5) names the number; for one that there is not, the kernel
chooses."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from . import bpf, sockets

PIDFD_GETFD = 438  # on every processor
ATTACH_PROGRAM = 51  # SO_ATTACH_REUSEPORT_CBPF
NETWORK = 0xFFF00000  # SKF_NET_OFF of linux/filter.h: where the network's own header begins
SOURCE = '127.77.0.1'
"""Questions that a program gives to the one on trial come from here, or have CLASS from ::1."""
CLASS = 0x54  # a traffic class that nobody uses
CONNECT = 2.0  # seconds
EMPTY = 1.0  # seconds in which what waits for a process has been taken by it
BY_UDP = ' by UDP'
GONE = (errno.ESRCH, errno.EBADF, errno.ENOTSOCK)  # ended or closed while it was looked at


class Ports(NamedTuple):
    """What an image may share: the TCP ports (`streams`) on which the release before it listens,
    and its one UDP port (0: none), which that one has as well (`held`) or which is
    free."""

    streams: frozenset[int] = frozenset()
    datagrams: int = 0
    held: bool = False


class Listener(msgspec.Struct, frozen=True):
    """A listening socket: where, and descriptor `number` of process `pid`."""

    place: str
    pid: int
    number: int

    @property
    def datagrams(self) -> bool:
        return self.place.endswith(BY_UDP)


def taken(pid: int, number: int) -> socket.socket:
    """A duplicate of socket `number` of process `pid`; raises OSError. As long as it is open, what
    it listens on is not free."""
    found = duplicate(pid, number)
    try:
        return socket.socket(fileno=found)
    except OSError:
        os.close(found)
        raise


def duplicate(pid: int, number: int) -> int:
    """Descriptor `number` of process `pid`, as one of ours; raises OSError."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    try:
        found = libc.syscall(PIDFD_GETFD, process, number, 0)
    finally:
        os.close(process)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(found)


def place(found: socket.socket) -> str:
    """Where `found` listens; what listens at different places is no matter to each other."""
    host, port = found.getsockname()[:2]
    way = BY_UDP if found.type == socket.SOCK_DGRAM else ''
    if found.family != socket.AF_INET6:
        return f'{host}:{port}{way}'
    both = not found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return f'[{host}]:{port}{" and IPv4" if both else ""}{way}'


def port(place: str) -> int:
    return int(place.partition(' ')[0].rpartition(':')[2])


def of(pids: Iterable[int]) -> list[Listener]:
    """The TCP listeners of processes, and their UDP sockets that share a port, each once; raises
    OSError when they cannot be reached."""
    inodes = sockets.listening()
    if inodes is None:
        raise OSError(errno.EOPNOTSUPP, 'the kernel has no sock_diag for TCP')
    known = inodes | (sockets.datagrams() or frozenset())
    found: dict[int, Listener] = {}
    for pid in pids:
        for number, inode in sockets.of(pid):
            if inode not in known or inode in found:
                continue
            try:
                with taken(pid, number) as one:
                    if one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) or inode in inodes:
                        found[inode] = Listener(place(one), pid, number)
            except OSError as error:
                if error.errno not in GONE:
                    raise
    return list(found.values())


@contextlib.contextmanager
def reached(place: str) -> Iterator[int]:
    """While a connection of ours to `place` is open: its port here; raises OSError."""
    host = place.partition(' ')[0].rpartition(':')[0]
    host = {'0.0.0.0': '127.0.0.1', '[::]': '::1'}.get(host, host.strip('[]'))  # noqa: S104
    with reach(host, port(place), CONNECT) as found:
        yield int(found.getsockname()[1])


def reach(
    host: str, port: int, timeout: float, kind: int = socket.SOCK_STREAM, apart: bool = True
) -> socket.socket:
    """A connection of ours, which `apart` a program gives to the one on trial; of `kind` SOCK_DGRAM
    a socket whose datagrams it does. Raises OSError."""
    wrong = OSError(0, f'{host} has no address')
    for family, _, number, _, address in socket.getaddrinfo(host, port, 0, kind):
        found = socket.socket(family, kind, number)
        try:
            found.settimeout(timeout)
            if apart and family == socket.AF_INET6:
                found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, CLASS)
            if apart:
                found.bind(('::1' if family == socket.AF_INET6 else SOURCE, 0))
            found.connect(address)
            found.settimeout(None)
            return found
        except OSError as error:
            found.close()
            wrong = error
    raise wrong


def steer(
    those: list[Listener], live: Mapping[str, int], proved: Mapping[str, int] | None = None
) -> None:
    """Give what is new at the places of `those` to the number that `live` has for each, and our own
    questions to the one that `proved` has; raises OSError."""
    for one in those:
        if one.place not in live:  # began to listen later, alone
            continue
        with _again(one) as found:
            bpf.attach(found, ATTACH_PROGRAM,
                       _program(live[one.place], (proved or live)[one.place]))


def close(those: list[Listener]) -> bool:
    """Let `those` listen no more: their process, which is about to be ended, hears of it. Whether
    that could be: nobody can close a socket for datagrams from outside; what waits at it has been
    taken by then."""
    for one in those:
        with _again(one) as found:
            if not one.datagrams:
                found.shutdown(socket.SHUT_RDWR)
            elif not _emptied(found):
                raise OSError(0, f'what came to {one.place} is not taken')
    return not any(one.datagrams for one in those)


def _emptied(found: socket.socket) -> bool:
    """Whether all that came to `found` is taken, soon."""
    limit = time.monotonic() + EMPTY
    while waiting := select.select((found,), (), (), 0)[0]:
        if time.monotonic() > limit:
            break
        time.sleep(0.001)
    return not waiting


def _again(one: Listener) -> socket.socket:
    found = taken(one.pid, one.number)
    try:
        if place(found) != one.place:
            raise OSError(0, f'nothing listens at {one.place} any more')
    except OSError:
        found.close()
        raise
    return found


def _program(live: int, proved: int) -> bytes:
    """A packet from SOURCE, or from ::1 with CLASS, to `proved`, others to `live`."""
    class_bits = 0x0FC00000  # without the last two, which are the network's own
    return bpf.program((
        (bpf.BYTE, 0, 0, NETWORK), (bpf.SHIFT, 0, 0, 4), (bpf.EQUAL, 0, 2, 4),
        (bpf.WORD, 0, 0, NETWORK + 12),
        (bpf.EQUAL, 11, 12, int.from_bytes(socket.inet_aton(SOURCE), 'big')),
        (bpf.WORD, 0, 0, NETWORK), (bpf.AND, 0, 0, class_bits), (bpf.EQUAL, 0, 9, CLASS << 20),
        (bpf.WORD, 0, 0, NETWORK + 8), (bpf.EQUAL, 0, 7, 0),
        (bpf.WORD, 0, 0, NETWORK + 12), (bpf.EQUAL, 0, 5, 0),
        (bpf.WORD, 0, 0, NETWORK + 16), (bpf.EQUAL, 0, 3, 0),
        (bpf.WORD, 0, 0, NETWORK + 20), (bpf.EQUAL, 0, 1, 1),
        (bpf.RETURN, 0, 0, proved), (bpf.RETURN, 0, 0, live),
    ))
