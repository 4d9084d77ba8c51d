"""What the watcher costs a host, and how long a silence lasts with it."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.many import Many
from mirage_hooks.host import processes
from tests import wired
from tests.deployment import Deployment
from tests.patience import until
from tests.wired import Wired

WARM = 15.0  # seconds after its start: everything was asked once
ONCE = ('curl', '-s', '-o', '/dev/null', '-f', '-m', '0.5')


def cost(folder: Path, minutes: int) -> list[str]:
    """A table of what it takes of the host, by how much is watched, over some `minutes`."""
    lines = ['| watched | memory (RSS) | of its own (USS) | of one processor | for a question |',
             '|---|---|---|---|---|']
    for count in (1, 10, 100):
        (folder / str(count)).mkdir()
        site = Many(folder / str(count), count)
        try:
            with _watched(site) as watcher:
                time.sleep(WARM)
                before = _taken(watcher)
                time.sleep(60 * minutes)
                taken, memory = _taken(watcher) - before, watcher.memory_full_info()
        finally:
            site.end()
        lines.append(
            f'| {count} | {memory.rss / 1e6:.1f} MB | {memory.uss / 1e6:.1f} MB | '
            f'{100 * taken / 60 / minutes:.2f} % | {1000 * taken / count / minutes:.0f} ms |')
    return lines


def silence(folder: Path, rounds: int) -> list[str]:
    """A table of seconds from SIGSTOP, right after an answer, to a page again; the default
    settings."""
    lines = ['| way | median | longest |', '|---|---|---|']
    ways = {'one port': _one_port, 'side by side': _next_to}
    for way, measured in ways.items():
        if way == 'side by side' and (lacking := wired.missing()):
            lines.append(f'| {way} | skipped: {lacking} | |')
            continue
        took = []
        for number in range(rounds):
            work = folder / f'{measured.__name__}-{number}'
            work.mkdir()
            took.append(measured(work))
        lines.append(f'| {way} | {statistics.median(took):.1f} s | {max(took):.1f} s |')
    return lines


def _one_port(folder: Path) -> float:
    site = Deployment(folder)
    site.configure(health={'http': f'http://127.0.0.1:{site.port}/'})
    site.publish(wired.guest(1, 'socket'))
    try:
        site.clone()
        assert site.mirage('deploy').returncode == 0
        with _watched(site):
            return _silent(site, site.state().root, f'http://127.0.0.1:{site.port}/')
    finally:
        site.end()


def _next_to(folder: Path) -> float:
    site = Wired(folder)
    try:
        site.start()
        with _watched(site, *site.inside()):
            return _silent(site, site.state().root, f'http://{wired.ADDRESS}:8080/',
                           *site.outside())
    finally:
        site.end()


def _silent(site: Deployment, state: Path, url: str, *inside: str) -> float:
    """Seconds that nothing serves `url`, from when what served it was stopped."""
    until(lambda: 'answers' in (site.folder / 'seen').read_text())
    for _, process in processes.marked(state):
        if process.name() != 'bwrap':
            process.suspend()
    began = time.monotonic()
    while subprocess.run((*inside, *ONCE, url), check=False).returncode:
        time.sleep(0.05)
    return time.monotonic() - began


@contextlib.contextmanager
def _watched(site: Deployment, *inside: str) -> Iterator[psutil.Process]:
    with (site.folder / 'seen').open('w') as seen:
        watcher = subprocess.Popen((*inside, *site.command('watch')), stdout=seen, stderr=seen)
    try:
        yield psutil.Process(watcher.pid)
    finally:
        watcher.kill()
        watcher.wait()


def _taken(watcher: psutil.Process) -> float:
    """Seconds of a processor, its children's that have ended included."""
    times = watcher.cpu_times()
    return float(sum(times[:4]))
