"""From the hook's start to the first reply of Solo5's test_net, next to the bare tender's time."""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks import watch
from tests.targets import test_solo5

ADDRESS = '10.0.0.2'  # compiled into test_net


def measure(folder: Path, rounds: int) -> list[str]:
    """A table of medians; one line instead where this machine lacks something."""
    if test_solo5.MISSING:
        return [f'Skipped; missing: {", ".join(test_solo5.MISSING)}.']
    lines = ['| target | bare tender | hook to first reply | ratio | over bare |',
             '|---|---|---|---|---|']
    for target in ('spt', *(['hvt'] if Path('/dev/kvm').exists() else [])):
        bare, ours = [], []
        for turn in range(rounds):
            work = folder / f'{target}-{turn}'
            work.mkdir()
            bare_first, ours_first = _round(work, target)
            bare.append(bare_first)
            ours.append(ours_first)
        one, other = statistics.median(bare), statistics.median(ours)
        lines.append(
            f'| {target} | {watch.milliseconds(one)} | {watch.milliseconds(other)} '
            f'| {other / one:.1f} | {watch.milliseconds(other - one)} |'
        )
    return lines


def _round(folder: Path, target: str) -> tuple[float, float]:
    """Seconds to the first reply: of the bare tender, of a push from its hook's start."""
    site = test_solo5.Site(folder)
    try:
        # Else the kernel asks for a neighbour that is not there yet once a second only.
        site.inside('sh', '-c', 'echo 5 >/proc/sys/net/ipv4/neigh/br0/retrans_time_ms')
        bare = _bare(site, target)
        site.configure(**test_solo5.NETWORK, confirm='0s')
        test_solo5.publish(site, target)
        with _Ping(site) as ping:
            pushed = watch.push(site.site, 'ip', 'netns', 'exec', site.name)
            return bare, ping.first() - pushed.hook
    finally:
        site.end()


def _bare(site: test_solo5.Site, target: str) -> float:
    site.ip('tuntap', 'add', 'dev', 'bare0', 'mode', 'tap')
    site.ip('link', 'set', 'bare0', 'master', 'br0', 'up')
    image = test_solo5.TESTS / 'test_net' / f'test_net.{target}'
    with _Ping(site) as ping:
        time.sleep(0.05)
        began = time.time()
        tender = subprocess.Popen(
            ('ip', 'netns', 'exec', site.name, f'solo5-{target}', '--mem=32',
             '--net:service0=bare0', str(image)),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            return ping.first() - began
        finally:
            tender.kill()
            tender.wait()
            site.ip('link', 'delete', 'bare0')
            site.ip('neigh', 'flush', 'dev', 'br0')


class _Ping:
    """Asks every 5 ms."""

    def __init__(self, site: test_solo5.Site) -> None:
        self.process = subprocess.Popen(
            # Its own -w would end it at the first 'host unreachable'.
            ('ip', 'netns', 'exec', site.name, 'timeout', '30', 'ping', '-D', '-n', '-i', '0.005',
             ADDRESS), stdout=subprocess.PIPE, text=True,
        )

    def __enter__(self) -> _Ping:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()  # `timeout` hands it on
        self.process.communicate()

    def first(self) -> float:
        """When the first reply came, in seconds since the epoch."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.match(r'\[([\d.]+)\] \d+ bytes from', line):
                return float(found[1])
        raise TimeoutError(f'{ADDRESS} never answered')
