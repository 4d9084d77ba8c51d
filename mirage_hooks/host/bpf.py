"""Classic BPF (linux/filter.h): what the kernel runs for packets, for shared ports and for system
calls."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

WORD, HALF, BYTE = 0x20, 0x28, 0x30  # BPF_LD | BPF_ABS with BPF_W, BPF_H, BPF_B
HEAD, BEHIND = 0xB1, 0x48  # BPF_LDX | BPF_B | BPF_MSH, BPF_LD | BPF_H | BPF_IND
SHIFT, AND = 0x74, 0x54  # BPF_ALU | BPF_K with BPF_RSH, BPF_AND
EQUAL, RETURN = 0x15, 0x06  # BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K

Line = tuple[int, int, int, int]
"""An instruction, how many to leave out when it is true and when not, its operand."""


def program(lines: Iterable[Line]) -> bytes:
    """struct sock_filter, one after the other."""
    return b''.join(struct.pack('=HBBI', *line) for line in lines)


def attach(to: socket.socket, option: int, code: bytes) -> None:
    """Have `to` obey `code` by the socket option; raises OSError."""
    import ctypes
    import socket

    kept = ctypes.create_string_buffer(code, len(code))  # struct sock_fprog points to it
    to.setsockopt(socket.SOL_SOCKET, option, struct.pack(
        '@HP', len(code) // struct.calcsize('=HBBI'), ctypes.addressof(kept)))
