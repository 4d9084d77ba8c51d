"""What a deployment costs a visitor: the original's scripts next to ours, one guest, one run; and
where the time from `git push` to the first answer goes."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import time
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
    for way, site in (("the original's scripts", Original), ('mirage-hooks, one port', Ours)):
        (folder / site.__name__).mkdir()
        made = site(folder / site.__name__)
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
    """A table of the parts of push to first answer, in one port and side by side; then rollback."""
    lines = [f'| {" | ".join(("guest", *PARTS, "push to answer", "its own boot", "over git, unpack, boot", "rollback"))} |',  # noqa: E501
             '|---' * (len(PARTS) + 5) + '|']
    (folder / 'socket').mkdir()
    lines += [_row('unix/socket, one port', _in_one_port(folder / 'socket', rounds))]
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


def _in_one_port(folder: Path, rounds: int) -> list[dict[str, float]]:
    site, found = Ours(folder), []
    try:
        for version in range(2, rounds + 2):
            with watch.Visitor(site.port) as asked:
                pushed = site.deploy(_good(version))
                answer = asked.first(_page(version), pushed.began)
                stopped = pushed.at('stopping release')
                parts = _parts(pushed, pushed.at('trying release'), stopped, answer)
                began = time.time()
                site.mirage('rollback', 'www', repository=site.hub)
                back = asked.first(asked.seen[0][1], began) - began
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
    image, port = folder / 'image', free_port()
    image.write_bytes(wired.guest(1, 'direct' if site else 'socket'))
    image.chmod(0o755)
    where: tuple[str, ...] = (str(image), '--ipv4=127.0.0.1/8', f'--port={port}')
    if site is not None:
        run('ip', '-n', site.inner, 'tuntap', 'add', 'dev', 'bare0', 'mode', 'tap', cwd=folder)
        run('ip', '-n', site.inner, 'link', 'set', 'bare0', 'master', 'br0', 'up', cwd=folder)
        where = (*site.inside(), str(image), '--interface=bare0', '--ipv4=10.9.0.77/24')
    began = time.time()
    guest = subprocess.Popen(
        where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert guest.stdout is not None
        next(line for line in guest.stdout if line.startswith('listening'))
        return time.time() - began
    finally:
        guest.kill()
        guest.communicate()
        if site is not None:
            run('ip', '-n', site.inner, 'link', 'delete', 'bare0', cwd=folder)


class Ours(Deployment):
    """A bare repository with our hook; the guest is on a port of the host."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.configure(confirm='0s', network={
            'mode': 'socket', 'port': self.port, 'ipv4': '127.0.0.1/8'})
        self.hooks(self.hub, 'post-receive')
        self.turn = 0
        self.deploy(_good(1))

    def deploy(self, image: bytes) -> watch.Push:
        self.turn += 1
        self.publish(image, f'{self.turn:040x}', push=False)
        return watch.push(self.site)


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
