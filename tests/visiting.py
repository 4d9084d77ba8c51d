"""Who asks a port of this host all the time, while a block runs."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TypeVar

Self = TypeVar('Self', bound='Visiting')


class Visiting(threading.Thread):
    """Asks `port`, as `run` says, until its block is `over`."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.over = port, threading.Event()

    def __enter__(self: Self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.over.set()
        self.join()
