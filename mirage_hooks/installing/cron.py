"""Whether cron pulls into a repository: its lines, its daemon, and when it ran last."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path

from ..host import daemons
from ..messages import errors
from ..messages.report import age
from ..state import ownership
from . import crontab, installation, schedule, timer
from .finding import Finding, Found, Place, fine, note, problem

GRACE = 600  # seconds that a run may be late: a host was asleep


def findings(place: Place) -> Found:
    folder, ran = place.repository.folder, place.state.last_run()
    try:
        table = crontab.read()
    except errors.Unavailable as why:
        yield _absent(place, ran, why.reason,
                      f'let cron serve {_us()} (/etc/cron.allow); or {_instead(folder)}')
        return
    when = crontab.when(table or b'', folder)
    if timer.there(folder):
        yield fine('cron', f'a systemd timer pulls, in the place of cron: {timer.name(folder)}')
        yield _ran(ran)
    elif table is None:
        yield _absent(place, ran, 'this host has no program `crontab`', 'apt install cron, then '
                      f'mirage-hooks install {shlex.quote(str(folder))}; or {_instead(folder)}')
    elif when or crontab.pulls(table, folder):
        yield fine('cron', f'the crontab of {_us()} pulls: {when or "a line of your own"}')
        yield _daemon()
        if when:
            yield _run(when, ran)
    else:
        yield _absent(place, ran, f'no line in the crontab of {_us()}',
                      f'mirage-hooks install {shlex.quote(str(folder))}; or {_instead(folder)}')
    if trouble := place.state.trouble('pull'):
        yield problem('cron', f'the last pull failed: {trouble}', 'see what it says now: '
                      f'mirage-hooks -C {shlex.quote(str(folder))} pull')


def _absent(place: Place, ran: float | None, why: str, hint: str) -> Finding:
    """Where nothing of ours is in a crontab: wrong where only a pull brings what is pushed."""
    if ran is not None and time.time() - ran < 86400:
        return fine('cron', f'{why}, but something else pulls: the last time {age(ran)} ago')
    if place.repository.setting(schedule.SETTING) == schedule.NONE or not _pulled(place):
        return note('cron', f'{why}: nothing starts by itself after a reboot', hint)
    return problem('cron', f'{why}: nothing pulls, and nothing starts after a reboot', hint)


def _pulled(place: Place) -> bool:
    """Whether what is deployed comes from a remote."""
    repository, settings = place.repository, place.settings
    try:
        named = {one.branch or settings.branch for one in settings.unikernels.values()}
        return any(repository.remote(repository.branch(name)) for name in named)
    except errors.Refused:  # each unikernel says it
        return False


def _us() -> str:
    return ownership.user(os.geteuid())


def _instead(folder: Path) -> str:
    _, command = installation.programs()
    words = shlex.join((str(command), '-C', str(folder), 'pull', '--quiet'))
    return f'have this run every few minutes: {words}'


def _daemon() -> Finding:
    try:
        running = daemons.running(crontab.DAEMONS)
    except errors.Unavailable as why:
        return note('cron', why.reason)
    if running:
        return fine('cron', f'its daemon runs: {running}')
    return problem('cron', 'no cron daemon runs: nothing pulls, and nothing starts after a reboot',
                   'start it, now and at each boot: systemctl enable --now cron (or crond); '
                   'without systemd: service cron start')


def _run(when: str, ran: float | None) -> Finding:
    """When the lines for `when` ran last."""
    if ran is None:
        return _ran(ran)
    pause = re.fullmatch(r'\*(?:/([0-9]+))?( \*){4}', when)
    if pause and time.time() - ran > 3 * 60 * int(pause[1] or 1) + GRACE:
        return problem('cron', f'its last run was {age(ran)} ago, though its line says {when}',
                       'see what cron says of it: journalctl -u cron, or /var/log/syslog')
    return _ran(ran)


def _ran(ran: float | None) -> Finding:
    if ran is None:
        return note('cron', 'it has not run yet')
    return fine('cron', f'its last run was {age(ran)} ago')
