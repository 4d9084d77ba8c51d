"""Several sockets on one port of this host: who gets a new connection is said from outside."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from mirage_hooks.host import listeners

FAMILIES = {'127.0.0.1': socket.AF_INET, '::1': socket.AF_INET6}


class Group:
    """Sockets of this process that listen on one port of `address`, in order."""

    def __init__(self, address: str) -> None:
        self.address, self.sockets = address, [self._listening(address, 0)]
        self.port: int = self.sockets[0].getsockname()[1]

    def join(self) -> None:
        self.sockets.append(self._listening(self.address, self.port))

    def _listening(self, address: str, port: int) -> socket.socket:
        made = socket.socket(FAMILIES[address])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((address, port))
        made.listen()
        made.setblocking(False)
        return made

    def number(self, index: int) -> list[listeners.Listener]:
        """Socket `index`, as it is reached from outside."""
        found = self.sockets[index]
        return [listeners.Listener(listeners.place(found), os.getpid(), found.fileno())]

    def visited(self) -> set[int]:
        """The sockets that many visitors came to."""
        for _ in range(40):
            socket.create_connection((self.address, self.port), 5).close()
        return self._taken()

    def proved(self) -> set[int]:
        """The sockets that a question of ours came to."""
        with listeners.reached(listeners.place(self.sockets[0])):
            return self._taken()

    def _taken(self) -> set[int]:
        found = set()
        for index, one in enumerate(self.sockets):
            while True:
                try:
                    one.accept()[0].close()
                except BlockingIOError:
                    break
                except OSError:  # it listens no more
                    break
                found.add(index)
        return found

    def close(self) -> None:
        for one in self.sockets:
            one.close()


@pytest.fixture(params=list(FAMILIES))
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    try:
        made = Group(request.param)
    except OSError as error:
        pytest.skip(f'no {request.param} here: {error}')
    yield made
    made.close()


def steer(those: list[listeners.Listener], live: int, proved: int | None = None) -> None:
    numbers = {one.place: live for one in those}
    listeners.steer(those, numbers, None if proved is None else dict.fromkeys(numbers, proved))


def test_left_alone_the_kernel_gives_to_each(group: Group) -> None:
    group.join()
    assert group.visited() == {0, 1}


def test_what_is_new_goes_where_it_is_steered_and_our_questions_elsewhere(group: Group) -> None:
    steer(group.number(0), 0, 1)
    group.join()
    assert (group.visited(), group.proved()) == ({0}, {1})
    group.join()
    steer(group.number(0), 1, 2)
    assert (group.visited(), group.proved()) == ({1}, {2})
    steer(group.number(2), 2)
    assert (group.visited(), group.proved()) == ({2}, {2})


def test_steered_to_one_that_has_gone_all_goes_to_the_only_one_left(group: Group) -> None:
    group.join()
    steer(group.number(0), 1)
    assert group.visited() == {1}
    group.sockets.pop().close()
    assert (group.visited(), group.proved()) == ({0}, {0})


def test_when_one_goes_the_last_has_its_number(group: Group) -> None:
    group.join()
    group.join()
    listeners.close(group.number(0))
    steer(group.number(1), 0)
    assert group.visited() == {2}
    steer(group.number(1), 1)
    assert group.visited() == {1}


def test_what_listens_is_found_with_its_place_and_each_once(group: Group) -> None:
    dup = os.dup(group.sockets[0].fileno())
    try:
        found = [one for one in listeners.of([os.getpid()])
                 if one.place.endswith(f':{group.port}')]
    finally:
        os.close(dup)
    host = f'[{group.address}]' if ':' in group.address else group.address
    assert [one.place for one in found] == [f'{host}:{group.port}']


def test_a_descriptor_that_is_another_socket_by_now_is_not_steered(group: Group) -> None:
    stale = group.number(0)
    with socket.create_server(('127.0.0.1', 0)) as other:
        moved = [listeners.Listener(stale[0].place, os.getpid(), other.fileno())]
        with pytest.raises(OSError, match=r'nothing listens at .* any more'):
            steer(moved, 0)
