"""What the hook of a push that brings a new image imports, and how long that takes."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import deployment, watch
from tests import wired

HEAVIEST = 12
LINE = re.compile(r'import time: +(\d+) \| +\d+ \| +(\S+)')


def measure(folder: Path) -> list[str]:
    """A table of the heaviest packages, each with all its modules; Python's own count, which makes
    each import a little slower than it is."""
    site = deployment.Ours(folder, 'replace')
    try:
        hook = site.hub / 'hooks' / 'post-receive'
        hook.write_text(hook.read_text().replace(' -I', ' -IXimporttime', 1))
        site.publish(wired.guest(2, 'socket'), 'b' * 40, push=False)
        lines = watch.hook_lines(site.site)
    finally:
        site.end()
    first = next(index for index, line in enumerate(lines) if 'unpacking' in line)
    before, all_ = _spent(lines[:first]), _spent(lines)
    heaviest = sorted(all_, key=lambda name: -all_[name])[:HEAVIEST]
    return [
        '| package | until the first line | in all |', '|---|---|---|',
        *(f'| {name} | {before.get(name, 0):.1f} ms | {all_[name]:.1f} ms |' for name in heaviest),
        f'| all {len(all_)} | {sum(before.values()):.1f} ms | {sum(all_.values()):.1f} ms |',
    ]


def _spent(lines: list[str]) -> dict[str, float]:
    """Milliseconds by package; of the standard library, by module."""
    spent: dict[str, float] = {}
    for found in filter(None, map(LINE.match, lines)):
        name = found[2].partition('.')[0]
        spent[name] = spent.get(name, 0) + int(found[1]) / 1000
    return spent
