"""A visitor who asks the demo's site all the time, and counts what was not answered."""

from __future__ import annotations

import http.client
import threading

from ..messages import report

EVERY = 0.01  # seconds from one question to the next


class Visitor(threading.Thread):
    """Asks the site at `port` all the time while its block runs, and counts."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.over = threading.Event()
        self.asked: list[bool] = []  # whether each request was answered
        self.rows: list[tuple[str, int, int]] = []

    def __enter__(self) -> Visitor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        while not self.over.wait(EVERY):
            self.asked.append(self.answered())

    def answered(self) -> bool:
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=5)
        try:
            connection.request('GET', '/')
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def saw(self, what: str) -> None:
        """Put down what was asked since the last time, during `what`."""
        asked, self.asked = self.asked, []
        self.rows.append((what, len(asked), asked.count(False)))

    def missed(self) -> int:
        """How many requests were not answered."""
        return sum(failed for _, _, failed in self.rows)

    def told(self) -> list[str]:
        rows = [[what, str(asked), str(failed)] for what, asked, failed in self.rows]
        return report.table([['during', 'requests', 'failed'], *rows])
