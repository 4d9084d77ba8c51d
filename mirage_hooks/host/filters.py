"""A seccomp filter for unix images with a tap. mirage-net-unix opens its tap, and then sets the
interface's flags unless IFF_RUNNING is among them: the kernel adds that a moment after the tap was
opened, and lets root alone set any. So a good image would end at random. What it asks for comes by
itself: the filter answers that it is done, and does nothing."""

from __future__ import annotations

import os

from . import bpf

# Of each processor: AUDIT_ARCH of linux/audit.h, and the number of ioctl.
MACHINES = {'x86_64': (0xC000003E, 16), 'aarch64': (0xC00000B7, 29)}
SIOCSIFFLAGS = 0x8914  # linux/sockios.h
DONE, ALLOWED = 0x00050000, 0x7FFF0000  # SECCOMP_RET_ERRNO with 0, SECCOMP_RET_ALLOW
NUMBER, ARCH, REQUEST = 0, 4, 24  # where seccomp_data has them; the lower half of args[1]


def available() -> bool:
    """Whether there is a filter for this processor."""
    return os.uname().machine in MACHINES


def program() -> bytes:
    """The filter, as bubblewrap reads it."""
    arch, ioctl = MACHINES[os.uname().machine]
    return bpf.program((
        (bpf.WORD, 0, 0, ARCH), (bpf.EQUAL, 0, 5, arch),
        (bpf.WORD, 0, 0, NUMBER), (bpf.EQUAL, 0, 3, ioctl),
        (bpf.WORD, 0, 0, REQUEST), (bpf.EQUAL, 0, 1, SIOCSIFFLAGS),
        (bpf.RETURN, 0, 0, DONE), (bpf.RETURN, 0, 0, ALLOWED),
    ))
