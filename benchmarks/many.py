"""What many unikernels cost a host on which nothing is to do, next to one."""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from pathlib import Path

import yaml

from benchmarks.watch import milliseconds
from tests import wired
from tests.deployment import Deployment, git

MANY = 100


def measure(folder: Path, rounds: int) -> list[str]:
    """A table of medians: the hook after a merge, cron's pull, `deploy`, `status`."""
    costs = []
    for count in (1, MANY):
        (folder / str(count)).mkdir()
        site = Many(folder / str(count), count)
        try:
            costs.append({what: statistics.median(site.took(*command) for _ in range(rounds))
                          for what, command in site.asked().items()})
        finally:
            site.end()
    one, many = costs
    return [
        f'| nothing to do | 1 unikernel | {MANY} | ratio |', '|---|---|---|---|',
        *(f'| {what} | {milliseconds(one[what])} | {milliseconds(many[what])} '
          f'| {many[what] / one[what]:.1f} |' for what in one),
    ]


class Many(Deployment):
    """A clone from which `count` unikernels run, each with a pointer and an image of its own."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder)
        first = random.randrange(10_000, 30_000)
        names = {f'www{number}': first + number for number in range(count)}
        self.config.write_text(yaml.safe_dump({'unikernels': {
            name: {'image': f'{name}/latest', 'confirm': '0s',
                   'network': {'mode': 'socket', 'port': port, 'ipv4': '127.0.0.1/8'}}
            for name, port in names.items()
        }}))
        for name in names:
            release = self.site / name / ('1' * 40)
            release.mkdir(parents=True)
            (release / name).write_bytes(wired.guest(1, 'socket'))
            (release / name).chmod(0o755)
            (self.site / name / 'latest').write_text('1' * 40)
        self.commit('all of them')
        git(folder, 'clone', '-q', f'file://{self.hub}', str(self.host))
        self.hooks(self.host / '.git')
        done = self.mirage('deploy')
        assert done.returncode == 0, done.stdout + done.stderr

    def asked(self) -> dict[str, tuple[str, ...]]:
        """What is run when nothing is to do, by what it is."""
        return {
            'a hook': (str(self.host / '.git' / 'hooks' / 'post-merge'), '0'),
            "cron's pull": self.command('pull', '--quiet'),
            '`deploy`': self.command('deploy'),
            '`status`': self.command('status'),
        }

    def took(self, *command: str) -> float:
        began = time.perf_counter()
        subprocess.run(command, cwd=self.host, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began
