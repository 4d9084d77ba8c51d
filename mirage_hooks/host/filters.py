"""A seccomp filter for unix images with a tap. mirage-net-unix opens its tap, and then sets the
interface's flags unless IFF_RUNNING is among them: the kernel adds that a moment after the tap was
opened, and lets root alone set any. So a good image would end at random. What it asks for comes by
itself: the filter answers that it is done, and does nothing."""

from __future__ import annotations

import os
import struct

# Of each processor: AUDIT_ARCH of linux/audit.h, and the number of ioctl.
MACHINES = {'x86_64': (0xC000003E, 16), 'aarch64': (0xC00000B7, 29)}
SIOCSIFFLAGS = 0x8914  # linux/sockios.h
DONE, ALLOWED = 0x00050000, 0x7FFF0000  # SECCOMP_RET_ERRNO with 0, SECCOMP_RET_ALLOW
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ, BPF_RET
NUMBER, ARCH, REQUEST = 0, 4, 24  # where seccomp_data has them; the lower half of args[1]


def available() -> bool:
    """Whether there is a filter for this processor."""
    return os.uname().machine in MACHINES


def program() -> bytes:
    """The filter, as bubblewrap reads it: struct sock_filter, one after the other."""
    arch, ioctl = MACHINES[os.uname().machine]
    return b''.join(struct.pack('=HBBI', *each) for each in (
        (LOAD, 0, 0, ARCH), (EQUAL, 0, 5, arch),
        (LOAD, 0, 0, NUMBER), (EQUAL, 0, 3, ioctl),
        (LOAD, 0, 0, REQUEST), (EQUAL, 0, 1, SIOCSIFFLAGS),
        (RETURN, 0, 0, DONE), (RETURN, 0, 0, ALLOWED),
    ))
