"""What a pull costs: bare git, the original's scripts and ours, on the same pushes in one run."""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path

from benchmarks import original
from tests.deployment import Deployment, git, web

WAYS = ('bare git pull', "the original's scripts", 'mirage-hooks')


def measure(folder: Path, rounds: int) -> list[str]:
    """A table of medians over `rounds` pulls of each kind."""
    deployment = Deployment(folder)
    try:
        return _table(_timed(deployment, rounds))
    finally:
        deployment.end()


def _timed(deployment: Deployment, rounds: int) -> dict[str, dict[str, list[float]]]:
    deployment.publish(web('first'), f'{0:040x}')
    deployment.configure(drain='0s')
    deployment.clone()
    deployment.mirage('deploy')
    clones = {WAYS[2]: deployment.host}
    for way, name in ((WAYS[0], 'bare'), (WAYS[1], 'original')):
        git(deployment.folder, 'clone', '-q', str(deployment.hub), name)
        clones[way] = deployment.folder / name
    original.install(clones[WAYS[1]], deployment.folder)
    times: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds):
        for kind in ('nothing new', 'another file', 'a new image'):
            if kind == 'another file':
                (deployment.site / 'NOTES').write_text(f'{turn}\n')
                deployment.commit('a note')
            elif kind == 'a new image':
                deployment.publish(web(f'page {turn}'), f'{turn + 1:040x}')
            # Each way goes first in turn, so that a warm disk favours none.
            for way in (*WAYS[turn % 3 :], *WAYS[: turn % 3]):
                times.setdefault(kind, {}).setdefault(way, []).append(_pull(clones[way]))
        deployment.drained()
        deployment.mirage('pull', '--quiet')  # from then on a hook with nothing to do goes home
    return times


def _pull(clone: Path) -> float:
    began = time.perf_counter()
    subprocess.run(('git', 'pull', '-q'), cwd=clone, check=True, capture_output=True)
    return time.perf_counter() - began


def _table(times: dict[str, dict[str, list[float]]]) -> list[str]:
    lines = ['| what came | way | median | over bare | ratio |', '|---|---|---|---|---|']
    for kind, ways in times.items():
        bare = statistics.median(ways[WAYS[0]])
        for way in WAYS:
            took = statistics.median(ways[way])
            lines.append(
                f'| {kind} | {way} | {took * 1000:.0f} ms | {(took - bare) * 1000:+.0f} ms '
                f'| {took / bare:.2f} |'
            )
    return lines
