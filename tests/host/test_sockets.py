"""Who listens on a port: asked of the kernel for real, both ways."""

from __future__ import annotations

import socket

import psutil
import pytest

from mirage_hooks.host import processes, sockets


@pytest.mark.parametrize('known', [True, False], ids=['by sock_diag', 'by psutil'])
@pytest.mark.parametrize('address', ['127.0.0.1', '::1'])
def test_who_listens_is_told_from_who_is_bound_or_connected_and_from_others(
    address: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not known:
        for name in ('listening', 'connected'):
            monkeypatch.setattr(sockets, name, lambda _: None)
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    own = psutil.Process()
    with (
        socket.create_server((address, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as connected,
        socket.socket(family) as bound,
    ):
        bound.bind((address, 0))
        port = server.getsockname()[1]
        assert processes.listens(own, port)
        assert not processes.listens(own.parent() or own, port)
        for other in (connected, bound):
            assert not processes.listens(own, other.getsockname()[1])
        taken = server.accept()[0]
        assert processes.connected(own, connected.getsockname()[1])
        assert not processes.connected(own.parent() or own, connected.getsockname()[1])
        assert not processes.connected(own, bound.getsockname()[1])
        taken.close()
    assert not processes.listens(own, port)


def test_a_kernel_that_cannot_be_asked_is_told_from_one_that_knows_of_nobody(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sockets.listening(0) == frozenset()
    monkeypatch.setattr(sockets, 'BY_FAMILY', 99)  # a question that no kernel knows
    assert sockets.listening(0) is None
