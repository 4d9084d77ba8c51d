"""Puts a repository to use: hooks, cron lines, a cluster's resource agent."""

from __future__ import annotations

import argparse
from pathlib import Path


def do_install(given: argparse.Namespace) -> int:
    from ..installing import draft, install, pacemaker, uninstall
    from ..messages import errors
    from ..messages.report import Reporter, plain

    report, path = Reporter(), Path(given.path)
    if (given.stop or given.purge) and not given.uninstall:
        raise errors.Usage('--stop and --purge go with --uninstall')
    if given.apply and not given.pacemaker:
        raise errors.Usage('--apply goes with --pacemaker')
    if given.pacemaker:
        said = pacemaker.install(path, given.apply)
    elif given.uninstall:
        said = uninstall.uninstall(path, given.stop, given.purge)
    else:
        said = (draft.write if given.adopt else install.install)(path, given.config, given.cron)
    for line in said:
        report.line(plain(line))
    return 0
