"""Sockets by their inodes, asked by sock_diag(7), and whose they are. /proc/net/tcp would tell
of every connection of the host, too, and take 10 ms for some thousands."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

SOCK_DIAG = 4  # linux/netlink.h
DUMP, ERROR, DONE = 0x301, 2, 3  # NLM_F_REQUEST | NLM_F_DUMP; kinds of answers
BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY of linux/sock_diag.h
# Of linux/tcp_states.h, each as one of several states; UDP's unconnected sockets are "closed".
ESTABLISHED, CLOSED, LISTENING = 1 << 1, 1 << 7, 1 << 10
HEAD = struct.Struct('=IHHII')  # nlmsghdr: length, kind, flags, number, sender
QUESTION = struct.Struct('=BBBxI48x')  # inet_diag_req_v2: family, protocol, more, states, any
PORT, OTHER, INODE = 4, 6, 68  # where inet_diag_msg has them: the port here, the one there


def listening(port: int | None = None) -> frozenset[int] | None:
    """The inodes of the sockets that listen on TCP `port`, or on any, in this network namespace;
    None where the kernel cannot be asked."""
    return _inodes(LISTENING, PORT, port)


def connected(port: int) -> frozenset[int] | None:
    """The inodes of the sockets that are connected to TCP `port` of the other side; None where the
    kernel cannot be asked."""
    return _inodes(ESTABLISHED, OTHER, port)


def datagrams() -> frozenset[int] | None:
    """The inodes of the UDP sockets that anybody may send to, in this network namespace; None where
    the kernel cannot be asked."""
    return _inodes(CLOSED, PORT, None, 17)  # IPPROTO_UDP


def of(pid: int) -> Iterator[tuple[int, int]]:
    """The descriptors of process `pid` that are sockets, and their inodes, as far as we are shown
    them."""
    with contextlib.suppress(OSError):  # it has ended, or is none of ours
        for descriptor in Path(f'/proc/{pid}/fd').iterdir():
            with contextlib.suppress(OSError):  # just closed
                if found := re.fullmatch(r'socket:\[(\d+)\]', str(descriptor.readlink())):
                    yield int(descriptor.name), int(found[1])


def _inodes(
    state: int, where: int, port: int | None, protocol: int = 6  # IPPROTO_TCP
) -> frozenset[int] | None:
    """Of the sockets of `protocol` in `state` that have `port` at `where` in an answer."""
    import socket

    found: set[int] = set()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, SOCK_DIAG) as kernel:
            kernel.settimeout(1)
            for family in (socket.AF_INET, socket.AF_INET6):
                question = QUESTION.pack(family, protocol, 0, state)
                kernel.send(HEAD.pack(HEAD.size + len(question), BY_FAMILY, DUMP, 0, 0) + question)
                for answer in _answers(kernel):
                    if port in (None, *struct.unpack_from('!H', answer, where)):
                        found.add(struct.unpack_from('=I', answer, INODE)[0])
    except OSError:
        return None
    return frozenset(found)


def _answers(kernel: socket.socket) -> Iterator[bytes]:
    """One for each socket; raises OSError when there is none to be had."""
    while True:
        said = kernel.recv(1 << 16)
        while said:
            length, kind, *_ = HEAD.unpack_from(said)
            if kind == DONE:
                return
            if kind == ERROR:
                raise OSError('the kernel has no sock_diag for this protocol')
            yield said[HEAD.size : length]
            said = said[(length + 3) & ~3 :]
