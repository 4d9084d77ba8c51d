"""The commands that ask, and change nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..messages import errors


def do_status(given: argparse.Namespace) -> int:
    from . import status

    if given.all and given.name:
        raise errors.Usage('--all is of all unikernels: leave NAME out')
    if given.cluster and (given.all or given.watch):
        raise errors.Usage('--cluster is of one repository, once: leave --all and --watch out')
    if given.watch and given.json:
        raise errors.Usage('--watch is for people, --json for programs: leave one of them out')
    if given.watch:
        status.drawn(Path(given.repository), given.name, given.all)
    if given.cluster:
        from ..git.repository import Repository
        from . import clustered

        return clustered.status(Repository(Path(given.repository)), given.name or '', given.json)
    if given.all:
        return status.of_all(given.json)
    return status.status(Path(given.repository), given.name, given.json)


def do_probe(given: argparse.Namespace) -> int:
    import sys

    from ..git.repository import Repository
    from ..messages.report import plain
    from ..watching import probing
    from . import names

    repository = Repository(Path(given.repository))
    names.require_configured(repository, [given.name])
    wrong = probing.trouble(repository, given.name, given.within)
    if wrong:
        print(f'{plain(given.name)}: {plain(wrong)}', file=sys.stderr)
    return int(bool(wrong))


def do_history(given: argparse.Namespace) -> int:
    from ..git.repository import Repository
    from . import past

    past.history(Repository(Path(given.repository)), given.name, given.lines, given.json)
    return 0


def do_logs(given: argparse.Namespace) -> int:
    from ..git.repository import Repository
    from . import logs

    repository = Repository(Path(given.repository))
    if given.failed:
        logs.failed(repository, given.name, given.lines)
    else:
        logs.logs(repository, given.name, given.lines, given.follow)
    return 0


def do_inspect(given: argparse.Namespace) -> int:
    from . import view

    view.inspect(Path(given.image), given.json)
    return 0
