"""What a command writes into a file for others to read: once, or every minute from then on."""

from __future__ import annotations

import argparse
import glob
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..messages import errors
from ..state import user

OLD = 3600.0  # seconds after which a half-written file is nobody's any more


def commands(command: Callable[..., Any]) -> None:
    """Add them by `command(name, act, text)`, which makes a parser."""
    _options(command('metrics', do_metrics, 'what runs, and how, for Prometheus: of every '
                     'repository of this user, or of the one that -C names'))
    _options(command('page', do_page, 'the same as a page for a browser: how all was for 30 days, '
                     'what happened, what was refused and why'))


def do_metrics(given: argparse.Namespace) -> int:
    from ..watching import metrics

    return put(given, lambda folders: metrics.text(folders, _tell))


def do_page(given: argparse.Namespace) -> int:
    from ..watching import page

    return put(given, page.text)


def _options(one: Any) -> None:
    one.add_argument('--to', type=Path, metavar='FILE',
                     help='write it there, whole or not at all, for everybody to read; without it '
                     'is printed')
    one.add_argument('--fresh', action=argparse.BooleanOptionalAction, default=None,
                     help='have the watcher write FILE anew every minute from now on; --no-fresh: '
                     'no longer, and take FILE away')


def put(given: argparse.Namespace, made: Callable[[list[Path]], str]) -> int:
    """Do what `given` says with the text that is `made` of repositories."""
    if given.fresh is False:
        return _no_longer(given)
    if given.fresh and (given.to is None or given.named is not None):
        raise errors.Usage('--fresh is of every repository, into a file: --fresh --to FILE, '
                           'without -C')
    path = None if given.to is None else given.to.absolute()
    if path is not None:
        _require_file(path)
    text = made([Path(given.named)] if given.named is not None else user.required())
    if path is None:
        print(text, end='', flush=True)
        return 0
    write(path, text)
    if given.fresh:
        _kept_fresh(given.command, path)
    return 0


def write(path: Path, text: str) -> None:
    """Put `text` into the file `path`, whole or not at all, for everybody to read; raises Refused
    where that is no file, Unavailable where it cannot be written."""
    _require_file(path)
    try:
        for left in path.parent.glob(f'.{glob.escape(path.name)}.*.new'):  # by a kill
            if time.time() - left.stat().st_mtime > OLD:
                left.unlink(missing_ok=True)
        descriptor, fresh = tempfile.mkstemp('.new', f'.{path.name}.', path.parent)
        try:
            with open(descriptor, 'w', errors='backslashreplace') as file:  # noqa: PTH123
                os.fchmod(descriptor, 0o644)
                file.write(text)
            Path(fresh).replace(path)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise errors.Unavailable(
            f'cannot write {path}: {error.strerror}',
            hint=f'{path.parent} must be there, and this user must be able to write into it',
        ) from None


def _require_file(path: Path) -> None:
    """What is there is replaced: that must be no device, no folder and no link."""
    try:
        kind = path.lstat().st_mode
    except OSError:
        return  # nothing is there; or whoever writes is told why not
    if not stat.S_ISREG(kind):
        raise errors.Refused(f'{path} is no ordinary file: it would be replaced',
                             hint='name a file: --to FILE')


def _tell(folder: Path, refused: errors.Refused) -> None:
    from ..messages.report import Reporter, plain

    Reporter(stream=sys.stderr).line(plain(f'{folder}: {refused.reason}'))


def _kept_fresh(kind: str, path: Path) -> None:
    from ..host import watcher
    from ..messages.report import Reporter, plain

    before = user.keep_fresh(kind, path)
    watcher.ensure()
    report = Reporter()
    report.line(plain(f'{path}: the watcher writes it anew every minute'))
    if before not in (None, path):
        report.line(plain(f'{before}: it was kept until now, and is taken away'))


def _no_longer(given: argparse.Namespace) -> int:
    from ..messages.report import Reporter, plain

    if given.to is not None or given.named is not None:
        raise errors.Usage('--no-fresh knows the file: leave --to and -C out')
    path = user.keep_fresh(given.command, None)
    Reporter().line(plain(f'{path}: it is kept no longer, and taken away' if path else
                          'no file was kept fresh: nothing to do'))
    return 0
