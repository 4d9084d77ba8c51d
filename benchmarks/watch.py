"""What the benchmarks of deployments share: a visitor that asks all the time, and a push whose
moments are written down."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

PAUSE = 0.002  # seconds between two questions


class Visitor:
    """Asks 127.0.0.1:`port` all the time; `seen` is when (since the epoch) and what."""

    def __init__(self, port: int) -> None:
        self.port, self.over = port, threading.Event()
        self.seen: list[tuple[float, str]] = []
        self.thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Visitor:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def first(self, page: str, after: float, within: float = 20) -> float:
        """When `page` was first seen after `after`."""
        limit = time.time() + within
        while time.time() < limit:
            for at, found in list(self.seen):
                if at >= after and found == page:
                    return at
            time.sleep(PAUSE)
        raise TimeoutError(f'nobody saw {page!r}')

    def failed(self) -> int:
        return sum(not page for _, page in self.seen)

    def gap(self) -> float:
        """The longest time without an answer, in seconds; up to the end if none came any more."""
        answered = [at for at, page in self.seen if page] + [self.seen[-1][0]]
        return max(after - before for before, after in itertools.pairwise(answered))

    def _ask(self) -> None:
        while not self.over.is_set():
            self.seen.append((time.time(), page(self.port)))
            time.sleep(PAUSE)


class Push(NamedTuple):
    """The moments of a push, in seconds since the epoch: its start, the hook's start, each line
    that the pusher saw, its end."""

    began: float
    hook: float
    lines: list[tuple[float, str]]
    ended: float

    def at(self, words: str) -> float:
        """When the line with `words` in it came."""
        return next(at for at, line in self.lines if words in line)


def push(site: Path, *inside: str) -> Push:
    """Push what was committed in `site`; `inside` is the command that enters a namespace."""
    trace = site.parent / 'trace'
    trace.unlink(missing_ok=True)
    began = time.time()
    with subprocess.Popen(
        (*inside, 'git', 'push', '-q', 'origin', '+HEAD:master'), cwd=site, text=True,
        stderr=subprocess.PIPE, env={**os.environ, 'GIT_TRACE2_EVENT': str(trace)},
    ) as process:
        assert process.stderr is not None
        lines = [(time.time(), line.removeprefix('remote: ').rstrip()) for line in process.stderr]
    ended = time.time()
    events: list[dict[str, Any]] = [json.loads(line) for line in trace.read_text().splitlines()]
    hook = next(one['time'] for one in events
                if one['event'] == 'child_start' and one.get('hook_name') == 'post-receive')
    return Push(began, datetime.fromisoformat(hook.replace('Z', '+00:00')).timestamp(), lines,
                ended)


def until(words: str, *command: str) -> float:
    """Seconds from the start of `command` until it says `words`."""
    began = time.time()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [time.time() for line in process.stdout if words in line]
    return said[0] - began


def page(port: int) -> str:
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=1)
    try:
        connection.request('GET', '/')
        return connection.getresponse().read().decode().strip()
    except (OSError, http.client.HTTPException):
        return ''
    finally:
        connection.close()


def hook_lines(site: Path, *inside: str) -> list[str]:
    """What a push of what was committed in `site` prints, line by line."""
    done = subprocess.run((*inside, 'git', 'push', '-q', 'origin', '+HEAD:master'), cwd=site,
                          text=True, stderr=subprocess.PIPE, check=True)
    return [line.removeprefix('remote: ') for line in done.stderr.splitlines()]


def milliseconds(seconds: float) -> str:
    return f'{seconds * 1000:.0f} ms'
