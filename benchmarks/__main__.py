"""Every benchmark in turn; prints Markdown tables. `--quick` takes few rounds."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import boot, deployment, imports, many, pull, releases, watching

IDENTITY = {
    'GIT_AUTHOR_NAME': 'A Site', 'GIT_AUTHOR_EMAIL': 'site@example.org',
    'GIT_COMMITTER_NAME': 'A Site', 'GIT_COMMITTER_EMAIL': 'site@example.org',
    'GIT_CONFIG_NOSYSTEM': '1',
}


def main() -> int:
    quick = '--quick' in sys.argv[1:]
    tables: dict[str, Callable[[Path], list[str]]] = {
        'What a pull costs': lambda folder: pull.measure(folder, 3 if quick else 15),
        'What a deployment costs a visitor': lambda folder: deployment.visitor(
            folder, 3 if quick else 15
        ),
        'From `git push` to the first answer, and back': lambda folder: deployment.push(
            folder, 3 if quick else 15
        ),
        'What a connection costs': lambda folder: deployment.connection(folder, 3 if quick else 15),
        'What a hook imports when a new image came': imports.measure,
        'What many unikernels cost when nothing is to do': lambda folder: many.measure(
            folder, 3 if quick else 15
        ),
        'What the watcher costs': lambda folder: watching.cost(folder, 1 if quick else 5),
        'From a silence to an answer again': lambda folder: watching.silence(
            folder, 1 if quick else 5
        ),
        "From the hook's start to the first reply, Solo5's test_net": lambda folder: boot.measure(
            folder, 3 if quick else 10
        ),
        'What a release costs as releases pile up': lambda folder: releases.measure(
            folder, (10, 50) if quick else (10, 100, 1000), 1_000_000 if quick else 6_000_000
        ),
    }
    for title, table in tables.items():
        with tempfile.TemporaryDirectory(prefix='mirage-hooks-benchmark-') as folder:
            os.environ.update(IDENTITY, HOME=folder)
            (Path(folder) / 'work').mkdir()
            # What the hooks run is not root's alone: a guest runs as a user of its own.
            Path(folder).chmod(0o755)
            print(f'\n## {title}\n', *table(Path(folder) / 'work'), sep='\n', flush=True)
    return 0


sys.exit(main())
