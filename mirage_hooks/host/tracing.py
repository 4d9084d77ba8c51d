"""Follows an image while it starts, and lets its listeners share their ports.

The kernel lets several sockets of one user listen on a port when each had SO_REUSEPORT: the first
before it began to listen, the others before they were bound. MirageOS does not say it, so a child
of ours does from outside:
PTRACE_GET_SYSCALL_INFO is of Linux 5.3, pidfd_getfd of 5.6. Killed at any moment, it leaves the
image as it is; nothing of it stays in the image, as a seccomp filter would."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from . import listeners

SEIZE, PEEK, CONT, TO_SYSCALL, LISTEN, SYSCALL_INFO = (  # sys/ptrace.h
    0x4206, 2, 7, 24, 0x4208, 0x420E)
OPTIONS = 1 | 2 | 4 | 8 | 16  # SYSGOOD, and to follow FORK, VFORK, CLONE and EXEC
EVENT_EXEC, EVENT_STOP = 4, 128
GROUP_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
AT_SYSCALL = signal.SIGTRAP | 0x80
ENTRY, EXIT = 1, 2  # what SYSCALL_INFO says it is of
BINDS, LISTENS = 'bind', 'listen'
CALLS = {
    (0xC000003E, 49): BINDS, (0xC000003E, 50): LISTENS,  # x86_64
    (0xC00000B7, 200): BINDS, (0xC00000B7, 201): LISTENS,  # aarch64
}
PROCESSORS = ('x86_64', 'aarch64')
ALL = 0x40000000  # __WALL of waitpid(2)
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl.h
WALLS = ('bwrap', 'setpriv', 'prlimit')  # what runs before the image: it need not be looked at


class Trace:
    """The tracer. The image may bind `ports` although the release before it listens there; all
    others must be free, as ever. What it learns it writes to `told`, a line each: the place of a
    listener that is shared, or, after `!`, what hinders it."""

    def __init__(self, libc: ctypes.CDLL, told: int, ports: listeners.Ports) -> None:
        self.libc, self.told, self.ports = libc, told, ports
        libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
        libc.ptrace.restype = ctypes.c_long
        self.inside: dict[int, bool] = {}  # whether a thread runs the image, not its walls
        self.calls: dict[int, tuple[str, int]] = {}  # what a thread is in, and of which descriptor
        self.info = ctypes.create_string_buffer(88)
        self.known: set[str] = set()

    def run(self, line: socket.socket) -> None:
        """Trace the process that asks by `line`, until nothing of it is left."""
        os.setsid()
        said = line.recv(4)
        if len(said) < 4:
            return  # it could not even be started
        process, = struct.unpack('=i', said)
        if self.libc.ptrace(SEIZE, process, None, OPTIONS) != 0:
            return self._tell(f'!ptrace: {os.strerror(ctypes.get_errno())}')
        try:
            os.close(listeners.duplicate(process, 0))
        except OSError as error:
            self._tell(f'!pidfd_getfd: {error.strerror}')
        line.send(b'.', socket.MSG_NOSIGNAL)
        with contextlib.suppress(ChildProcessError):  # the last one has ended
            while True:
                thread, status = os.waitpid(-1, ALL)
                if os.WIFSTOPPED(status):
                    self._stopped(thread, status >> 8 & 0xFF, status >> 16)
                else:
                    self.inside.pop(thread, None)
                    self.calls.pop(thread, None)

    def _stopped(self, thread: int, number: int, event: int) -> None:
        """Look at why `thread` has stopped, and let it go on."""
        if event == EVENT_EXEC or thread not in self.inside:
            self.inside[thread] = _program(thread) not in WALLS
        onward, given = TO_SYSCALL if self.inside[thread] else CONT, 0
        if number == AT_SYSCALL:
            self._at_syscall(thread)
        elif event == EVENT_STOP and number in GROUP_STOPS:
            onward = LISTEN
        elif event == 0:
            given = number  # a signal, which is its own
        self.libc.ptrace(onward, thread, None, given)

    def _at_syscall(self, thread: int) -> None:
        self.libc.ptrace(SYSCALL_INFO, thread, len(self.info), ctypes.addressof(self.info))
        kind, processor = struct.unpack_from('=B3xI', self.info)
        if kind == ENTRY:
            self.calls.pop(thread, None)
            number, descriptor, address = struct.unpack_from('=QQQ', self.info, 24)
            call = CALLS.get((processor, number))
            if call is not None:
                self.calls[thread] = call, descriptor & 0x7FFFFFFF
            if call == BINDS and (place := self._named(thread, address)):
                self._with(thread, lambda found: self._bind(found, place))
            elif call == LISTENS:
                self._with(thread, _share)
        elif kind == EXIT and thread in self.calls:
            if struct.unpack_from('=q', self.info, 24)[0] == 0:
                self._with(thread, self._done)
            self.calls.pop(thread, None)

    def _named(self, thread: int, address: int) -> tuple[str, int] | None:
        """The place that `thread` names at `address`; None where it leaves the port to the
        kernel."""
        ctypes.set_errno(0)
        words = [self.libc.ptrace(PEEK, thread, address + at, 0) for at in (0, 8, 16)]
        text = struct.pack('=3q', *words)
        family, port = struct.unpack_from('=H2s', text)
        if family == socket.AF_INET6 and not ctypes.get_errno():
            host = socket.inet_ntop(family, text[8:24])
        elif family == socket.AF_INET:  # it is 16 bytes: the last word may be nobody's
            host = socket.inet_ntop(family, text[4:8])
        else:
            return None
        return (host, int.from_bytes(port, 'big')) if any(port) else None

    def _with(self, thread: int, act: Callable[[socket.socket], None]) -> None:
        """Call `act` with the socket of `thread`'s call, which is given back at once: a duplicate
        that outlives its release would swallow connections."""
        try:
            with listeners.taken(_process(thread), self.calls[thread][1]) as found:
                if found.family in (socket.AF_INET, socket.AF_INET6):
                    act(found)
        except OSError as error:
            self._tell(f'!its sockets cannot be reached: {error.strerror}')

    def _bind(self, found: socket.socket, place: tuple[str, int]) -> None:
        port = place[1]
        if found.type == socket.SOCK_STREAM and port in self.ports.streams:
            _share(found)
        elif found.type == socket.SOCK_DGRAM and port != self.ports.datagrams:
            self._tell(f'!it also uses UDP port {port}, which two cannot share')
        elif found.type == socket.SOCK_DGRAM and (self.ports.held or _free(found, place)):
            # To be one of several it takes this before, as a listener does not.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        elif found.type == socket.SOCK_DGRAM:
            self._tell(f'!UDP port {port} is held by another program')

    def _done(self, found: socket.socket) -> None:
        """Tell where `found` listens, or is sent to, from now on."""
        shared = found.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        if shared and (found.type == socket.SOCK_DGRAM or _listens(found)):
            self._tell(listeners.place(found))

    def _tell(self, text: str) -> None:
        if text not in self.known:
            self.known.add(text)
            os.write(self.told, f'{text}\n'.encode())


def traced(
    libc: ctypes.CDLL, parent: int, told: int, line: socket.socket, ports: listeners.Ports
) -> None:
    """The whole life of the tracer, forked from `parent`, with which it dies."""
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    if os.getppid() == parent:
        Trace(libc, told, ports).run(line)


def _share(found: socket.socket) -> None:
    if found.type == socket.SOCK_STREAM:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _listens(found: socket.socket) -> bool:
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _free(found: socket.socket, place: tuple[str, int]) -> bool:
    """Whether `found` could be bound at `place` without sharing it."""
    with socket.socket(found.family, socket.SOCK_DGRAM) as probe:
        if found.family == socket.AF_INET6:
            only = found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        try:
            probe.bind(place)
        except OSError as error:
            return error.errno != errno.EADDRINUSE  # the rest is between the image and the kernel
    return True


def _program(thread: int) -> str:
    try:
        return Path(f'/proc/{thread}/exe').readlink().name
    except OSError:
        return ''  # it has ended


def _process(thread: int) -> int:
    words = Path(f'/proc/{thread}/status').read_text().split('\nTgid:')[1].split()
    return int(words[0])
