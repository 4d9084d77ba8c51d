"""Which sockets listen on a TCP port, asked by sock_diag(7). /proc/net/tcp would tell of every
connection of the host, too, and take 10 ms for some thousands."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

SOCK_DIAG = 4  # linux/netlink.h
DUMP, ERROR, DONE = 0x301, 2, 3  # NLM_F_REQUEST | NLM_F_DUMP; kinds of answers
BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY of linux/sock_diag.h
LISTENING = 1 << 10  # TCP_LISTEN of linux/tcp_states.h, as one of several states
HEAD = struct.Struct('=IHHII')  # nlmsghdr: length, kind, flags, number, sender
QUESTION = struct.Struct('=BBBxI48x')  # inet_diag_req_v2: family, protocol, more, states, any
PORT, INODE = 4, 68  # where inet_diag_msg has them


def listening(port: int) -> frozenset[int] | None:
    """The inodes of the sockets that listen on TCP `port` in this network namespace; None where the
    kernel cannot be asked."""
    import socket

    found: set[int] = set()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, SOCK_DIAG) as kernel:
            kernel.settimeout(1)
            for family in (socket.AF_INET, socket.AF_INET6):
                question = QUESTION.pack(family, socket.IPPROTO_TCP, 0, LISTENING)
                kernel.send(HEAD.pack(HEAD.size + len(question), BY_FAMILY, DUMP, 0, 0) + question)
                for answer in _answers(kernel):
                    if struct.unpack_from('!H', answer, PORT)[0] == port:
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
                raise OSError('the kernel has no sock_diag for TCP')
            yield said[HEAD.size : length]
            said = said[(length + 3) & ~3 :]
