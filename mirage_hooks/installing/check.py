"""Whether the next push would end well on this host, and what to do where it would not."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from .. import config
from ..git import timeout
from ..git.repository import Repository
from ..messages import errors
from ..messages.report import encoded, plain
from ..messages.terminal import fitted, green, red, yellow
from ..state import store
from . import cron, hooked, images, ports, safeguards, serving, slim
from .finding import Finding, Found, Place, fine, problem, refused

PATIENCE = 10.0  # seconds for one check: a host that is well takes a fraction of one
MOST = 2  # that may hang before the rest is left alone

OF_THE_REPOSITORY: dict[str, Callable[[Place], Found]] = {
    'hooks': hooked.findings, 'cron': cron.findings, 'safeguards': safeguards.findings,
    'keeper': serving.kept, 'watcher': serving.watched, 'git': slim.findings,
}
OF_EACH: dict[str, Callable[[Place, str, config.Unikernel], Found]] = {
    'image': images.findings, 'port': ports.findings, 'state': serving.findings,
    'health': serving.health, 'refusal': serving.refusal,
}
"""By what each looks at; none needs another."""

LABELS = {'ok': 'ok', 'note': 'note', 'problem': 'PROBLEM'}
PAINTS = {'ok': green, 'note': yellow, 'problem': red}


def check(folder: Path, as_json: bool) -> int:
    """Print every finding; 1 when there is a problem."""
    found = findings(Repository(folder))
    if as_json:
        print(encoded(found))
    else:
        for one in found:
            label = PAINTS[one.level](f'{LABELS[one.level]:7}')
            print(fitted(f'{label}  {one.subject}: {plain(one.text)}'))
            if one.hint:
                print(fitted(f'         hint: {plain(one.hint)}'))
    return int(any(one.level == 'problem' for one in found))


def findings(repository: Repository) -> list[Finding]:
    """All that is found out about `repository` and its host, whatever hangs."""
    found = list(_lock(repository))
    try:
        path = repository.config_path()
        settings = store.settings(path)
        place = Place(repository, settings, store.opened(repository.state))
    except errors.Refused as why:
        hint = '' if len(why.lines) > 1 else why.hint
        return [*found, *(problem('mirage.yml', line, hint) for line in why.lines)]
    found.append(_named(path, settings))
    return found + _all([
        *((what, what, functools.partial(look, place)) for what, look in OF_THE_REPOSITORY.items()),
        *((name, what, functools.partial(each, place, name, wanted))
          for name, wanted in settings.unikernels.items() for what, each in OF_EACH.items()),
    ])


def _all(looks: Iterable[tuple[str, str, Callable[[], Found]]]) -> list[Finding]:
    """What all `looks` find: each has a subject, says what it is, and is ended after PATIENCE."""
    found, hung = [], 0
    for subject, what, look in looks:
        if hung == MOST:
            found.append(problem(subject, f'{what}: not looked at, for {MOST} others hung',
                                 'see above what hangs'))
            continue
        try:
            with timeout.within(PATIENCE):
                for one in look():
                    found.append(one)
        except timeout.Late:
            hung += 1
            found.append(problem(
                subject, f'{what}: whoever was asked did not answer in {PATIENCE:g} s',
                'see what hangs: ps -e --forest'
            ))
        except errors.Refused as why:
            found.append(refused(subject, why))
    return found


def _lock(repository: Repository) -> Found:
    lock = repository.git_dir / 'index.lock'
    if lock.exists():
        yield problem(
            'git', f'{lock} is there: git pull refuses to work next to it',
            'if no git runs here, it was left by one that was killed: '
            f'rm {shlex.quote(str(lock))}',
        )


def _named(path: Path, settings: config.Settings) -> Finding:
    if settings.unikernels:
        return fine('mirage.yml', f'{path} names {", ".join(settings.unikernels)}')
    return problem('mirage.yml', f'{path} names no unikernel: a push starts nothing',
                   'name one there, as: unikernels: {www: {image: unix/latest}}')
