"""A network namespace without a name: it lives as long as this process holds it, so that a kill
leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..messages import errors

NEW_NETWORK = 0x40000000  # CLONE_NEWNET of sched.h; Python has os.setns from 3.12 on only
OURS = '/proc/thread-self/ns/net'


class Namespace:
    """A network namespace; `path` names it for `ip link … netns` while this process lives."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.path = f'/proc/{os.getpid()}/fd/{descriptor}'

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets made and programs run meanwhile are in the namespace."""
        with _returning():
            _call('setns', self.descriptor, NEW_NETWORK)
            yield


@contextlib.contextmanager
def made() -> Iterator[Namespace]:
    """A new, empty namespace; raises Unavailable without the right to make one."""
    with _returning():
        _call('unshare', NEW_NETWORK)
        descriptor = os.open(OURS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield Namespace(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    home = os.open(OURS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _call('setns', home, NEW_NETWORK)
        finally:
            os.close(home)


def _call(name: str, *arguments: int) -> None:
    import ctypes

    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        raise errors.Unavailable(
            f'cannot use a network namespace: {os.strerror(ctypes.get_errno())}',
            hint='run as root, or say `switch: replace` in mirage.yml',
        )
