"""Starts what may share its ports with another release (see host.tracing)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
from pathlib import Path

from . import listeners, programs

YAMA = Path('/proc/sys/kernel/yama/ptrace_scope')
SET_PTRACER, ANYBODY = 0x59616D61, -1  # of Yama's prctl(2)


class Tracer:
    """The child that traces what is about to be started, which may share `ports` with the release
    before it. Killed, by `end` or by anybody, it leaves what it traced as it is."""

    def __init__(self, ports: listeners.Ports | None = None) -> None:
        import ctypes

        from . import tracing

        self._libc = ctypes.CDLL(None, use_errno=True)
        self._line, theirs = socket.socketpair()
        self._report, told = os.pipe()
        self._said = b''
        self._status: int | None = None  # how it ended, as waitpid tells it
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._line.close()
                os.close(self._report)
                tracing.traced(self._libc, parent, told, theirs, ports or listeners.Ports())
            except BaseException as fault:
                os.write(told, f'!tracing it failed: {fault!r}\n'.encode())
            finally:
                os._exit(0)  # nothing of the caller's is unwound
        theirs.close()
        os.close(told)
        os.set_blocking(self._report, False)

    def joined(self) -> None:
        """Called by the process that will be the image: it is traced from here on, or not. Under
        Yama others of its user may then look into it, as without Yama: one of them steers it."""
        self._libc.prctl(SET_PTRACER, ANYBODY, 0, 0, 0)
        with contextlib.suppress(OSError):  # the tracer was killed
            self._line.send(struct.pack('=i', os.getpid()), socket.MSG_NOSIGNAL)
            self._line.recv(1)

    def places(self) -> frozenset[str]:
        """Where the image listens by now, each shared."""
        return frozenset(line for line in self._lines() if not line.startswith('!'))

    def hindrance(self) -> str:
        """Why not all of its ports can be shared, '' when they can."""
        killed = 'the process that traces it was killed' if self._killed() else ''
        return next((line[1:] for line in self._lines() if line.startswith('!')), killed)

    def end(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._line.close()
        os.close(self._report)

    def _killed(self) -> bool:
        """It ends by itself when all that it traces has."""
        if self._status is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if ended else None
        return bool(self._status)

    def _lines(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            while said := os.read(self._report, 4096):
                self._said += said
        return self._said.decode(errors='replace').splitlines()


def trouble() -> str:
    """Why a starting image cannot be followed on this host, '' when it can: it is tried."""
    from . import tracing

    machine = os.uname().machine
    if machine not in tracing.PROCESSORS:
        return f'not known for this processor, {machine}'
    walls = programs.find('bwrap')
    if os.geteuid() != 0 and walls and Path(walls).stat().st_mode & 0o4000:
        return 'bubblewrap is setuid root here, which an ordinary user may not trace'
    tracer = Tracer()
    child = os.fork()
    if child == 0:
        try:
            tracer.joined()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    found = tracer.hindrance()
    tracer.end()
    scope = YAMA.read_text().strip() if found and YAMA.exists() else ''
    return f'{found} (kernel.yama.ptrace_scope is {scope})' if scope in ('2', '3') else found
