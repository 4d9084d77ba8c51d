"""What a deployment costs a visitor: the original's scripts next to ours, one guest, one run; and
where the time from `git push` to the first answer goes."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from benchmarks import original, watch
from benchmarks.watch import milliseconds
from tests import wired
from tests.deployment import Deployment, free_port, git, run

BAD = b'#!/bin/sh\nexit 3\n'
DOWN = 3  # seconds that are watched after a bad image
PARTS = ('git', 'start and read', 'unpack', 'prove next to', 'switch')


def visitor(folder: Path, rounds: int) -> list[str]:
    """A table of seconds without an answer, for a good image and a bad one."""
    lines = ['| way | image | failed requests | longest without an answer |', '|---|---|---|---|']
    ways: dict[str, Callable[[Path], Original | Ours]] = {
        "the original's scripts": Original,
        'mirage-hooks, one port, `switch: replace`': lambda where: Ours(where, 'replace'),
        'mirage-hooks, one port, side by side': lambda where: Ours(where, 'overlap'),
    }
    for number, (way, site) in enumerate(ways.items()):
        (folder / str(number)).mkdir()
        made = site(folder / str(number))
        try:
            lines += [f'| {way} | good | {_visited(made, [_good(n + 2) for n in range(rounds)])}',
                      f'| {way} | bad | {_visited(made, [BAD])}']
        finally:
            made.end()
    if wired.missing():
        return lines
    (folder / 'direct').mkdir()
    return [*lines, *_visited_next_to(folder / 'direct', rounds)]


def _visited_next_to(folder: Path, rounds: int) -> list[str]:
    site, lines = wired.Pushed(folder, 'direct'), []
    try:
        site.configure(drain='0s')
        site.push()
        for name, image, times in (('good', None, rounds), ('bad', BAD, 1)):
            found = []
            for _ in range(times):
                asked = site.asking(site.outside())
                time.sleep(0.1)
                site.push(image)
                time.sleep(0.5)
                found.append(asked.end())
                site.drained()
            failed = statistics.median(one['failed'] for one in found)
            longest = statistics.median(one['longest_ms'] for one in found)
            lines.append(f'| mirage-hooks, side by side (unix/direct) | {name} | {failed:.0f} '
                         f'| {longest:.0f} ms |')
    finally:
        site.end()
    return lines


def _visited(site: Original | Ours, images: list[bytes]) -> str:
    failed, gaps = [], []
    for image in images:
        with watch.Visitor(site.port) as asked:
            time.sleep(0.1)
            site.deploy(image)
            time.sleep(DOWN if image == BAD else 0.5)
        failed.append(asked.failed())
        gaps.append(asked.gap())
    down = not asked.seen[-1][1]
    end = f'down for good (watched for {DOWN} s)' if down else milliseconds(statistics.median(gaps))
    return f'{statistics.median(failed):.0f} | {end} |'


def push(folder: Path, rounds: int) -> list[str]:
    """A table of the parts of push to first answer, in one port and side by side; then rollback,
    on one port side by side to a release that keeps its connections still."""
    lines = [f'| {" | ".join(("guest", *PARTS, "push to answer", "its own boot", "over git, unpack, boot", "rollback"))} |',  # noqa: E501
             '|---' * (len(PARTS) + 5) + '|']
    for mode in ('replace', 'overlap'):
        (folder / mode).mkdir()
        lines += [_row(f'unix/socket, `{mode}`', _in_one_port(folder / mode, rounds, mode))]
    if missing := wired.missing():
        return [*lines, '', f'unix/direct, side by side: skipped; {missing}.']
    (folder / 'direct').mkdir()
    return [*lines, _row('unix/direct, side by side', _side_by_side(folder / 'direct', rounds))]


def _row(name: str, rounds: list[dict[str, float]]) -> str:
    middle = {part: statistics.median(one[part] for one in rounds) for part in rounds[0]}
    answer = sum(middle[part] for part in PARTS)
    over = answer - middle['git'] - middle['unpack'] - middle['boot']
    cells = [*(middle[part] for part in PARTS), answer, middle['boot'], over, middle['rollback']]
    return f'| {name} | {" | ".join(map(milliseconds, cells))} |'


def connection(folder: Path, rounds: int) -> list[str]:
    """A table of what one request takes of a visitor, of the image alone and run by us."""
    site, times = Ours(folder, 'overlap'), rounds * 200
    try:
        with _alone(folder) as port:
            found = {'the image alone': port, 'the same, run by mirage-hooks': site.port}
            took: dict[str, list[float]] = {name: [] for name in found}
            for _ in range(times):  # in turn, for what else this machine does
                for name, there in found.items():
                    began = time.perf_counter()
                    assert watch.page(there)
                    took[name].append(time.perf_counter() - began)
    finally:
        site.end()
    return [f'| one of {times} requests, median | time |', '|---|---|',
            *(f'| {name} | {statistics.median(one) * 1000:.2f} ms |' for name, one in took.items())]


def _in_one_port(folder: Path, rounds: int, mode: str) -> list[dict[str, float]]:
    site, found = Ours(folder, mode), []
    proving, proved = {'replace': ('trying release', 'stopping release'),
                       'overlap': ('next to release', 'new connections')}[mode]
    try:
        for version in range(2, rounds + 2):
            with watch.Visitor(site.port) as asked:
                pushed = site.deploy(_good(version))
                answer = asked.first(_page(version), pushed.began)
                parts = _parts(pushed, pushed.at(proving), pushed.at(proved), answer)
                began = time.time()
                site.mirage('rollback', 'www', repository=site.hub)
                back = asked.first(asked.seen[0][1], began) - began
                site.drained(site.hub)
            found.append({**parts, 'boot': _boot(folder), 'rollback': back})
    finally:
        site.end()
    return found


def _side_by_side(folder: Path, rounds: int) -> list[dict[str, float]]:
    site, found = wired.Pushed(folder, 'direct'), []
    try:
        site.configure(drain='0s', confirm='0s')
        site.push()
        site.drained()
        for _ in range(rounds):
            site.version += 1
            (site.site / 'unix' / 'www').write_bytes(wired.guest(site.version))
            site.commit('a release', push=False)
            pushed = watch.push(site.site, *site.inside())
            parts = _parts(pushed, pushed.at('on a stage'), pushed.at('serves there'),
                           pushed.at('switched in'))
            site.drained()
            back = watch.until('switched in', *site.inside(), *site.command('rollback', 'www'))
            site.drained()
            found.append({**parts, 'boot': _boot(folder, site), 'rollback': back})
    finally:
        site.end()
    return found


def _parts(pushed: watch.Push, proving: float, proved: float, answer: float) -> dict[str, float]:
    unpacking = pushed.at('unpacking')
    moments = (pushed.began, pushed.hook, unpacking, proving, proved, answer)
    return {part: after - before
            for part, (before, after) in zip(PARTS, itertools.pairwise(moments), strict=True)}


def _boot(folder: Path, site: wired.Pushed | None = None) -> float:
    """The guest's own time to its first answer, in seconds."""
    if site is None:
        began = time.time()
        with _alone(folder):
            return time.time() - began
    run('ip', '-n', site.inner, 'tuntap', 'add', 'dev', 'bare0', 'mode', 'tap', cwd=folder)
    run('ip', '-n', site.inner, 'link', 'set', 'bare0', 'master', 'br0', 'up', cwd=folder)
    began = time.time()
    try:
        with _guest(folder, 'direct', '--interface=bare0', '--ipv4=10.9.0.77/24', inside=site):
            return time.time() - began
    finally:
        run('ip', '-n', site.inner, 'link', 'delete', 'bare0', cwd=folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """While the socket guest runs without us: its port."""
    port = free_port()
    with _guest(folder, 'socket', '--ipv4=127.0.0.1/8', f'--port={port}'):
        yield port


@contextlib.contextmanager
def _guest(
    folder: Path, mode: str, *arguments: str, inside: wired.Pushed | None = None
) -> Iterator[None]:
    """While the guest listens."""
    image = folder / 'image'
    image.write_bytes(wired.guest(1, mode))
    image.chmod(0o755)
    with subprocess.Popen(
        (*(inside.inside() if inside else ()), str(image), *arguments), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as guest:
        try:
            assert guest.stdout is not None
            next(line for line in guest.stdout if line.startswith('listening'))
            yield
        finally:
            guest.kill()


class Ours(Deployment):
    """A bare repository with our hook; the guest is on a port of the host."""

    def __init__(self, folder: Path, mode: str) -> None:
        super().__init__(folder)
        self.configure(confirm='0s', drain='0s', switch=mode, network={
            'mode': 'socket', 'port': self.port, 'ipv4': '127.0.0.1/8'})
        self.hooks(self.hub, 'post-receive')
        self.turn = 0
        self.deploy(_good(1))

    def deploy(self, image: bytes) -> watch.Push:
        self.turn += 1
        self.publish(image, f'{self.turn:040x}', push=False)
        pushed = watch.push(self.site)
        self.drained(self.hub)  # what is drained would cost the next push its share
        return pushed


class Original(Deployment):
    """A clone with the original's hook, whose stub `xl` runs the image on the port."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.turn = 0
        self.publish(_good(1), f'{0:040x}')
        git(folder, 'clone', '-q', str(self.hub), str(self.host))
        original.install(self.host, folder, port=self.port)
        self.deploy(_good(1))

    def deploy(self, image: bytes) -> None:
        self.turn += 1
        self.publish(image, f'{self.turn:040x}')
        self.pull()

    def end(self) -> None:
        pid = self.folder / 'stubs' / 'pid'
        if pid.exists() and psutil.pid_exists(int(pid.read_text())):
            process = psutil.Process(int(pid.read_text()))
            if str(self.folder) in ' '.join(process.cmdline()):
                process.kill()
        super().end()


def _good(version: int) -> bytes:
    return wired.guest(version, 'socket')


def _page(version: int) -> str:
    return f'release-{version:04}'
