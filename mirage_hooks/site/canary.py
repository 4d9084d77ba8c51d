"""The host that goes first: asked by ssh what it serves, until it has served that long enough."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Mapping
from typing import Literal

import msgspec

from ..host import programs
from ..messages import errors, progress
from ..messages.report import plain

ANSWER = 60.0  # seconds that the host has for one answer, ssh's handshake included
OFTEN = 10.0  # seconds between two questions, at most
LOOK = 0.2  # seconds between two lines that say how far it is
# What ssh must not ask a person, and for how long (seconds) it knocks.
QUIETLY = ('-o', 'BatchMode=yes', '-o', 'ConnectTimeout=20')


class Place(msgspec.Struct, frozen=True):
    """A deployment repository on a host that ssh reaches."""

    host: str
    folder: str
    port: str = ''

    @property
    def shown(self) -> str:
        return plain(self.host.rpartition('@')[2])


class _Tip(msgspec.Struct, frozen=True):
    branch: str
    commit: str
    image: str


class _Why(msgspec.Struct, frozen=True):
    reason: str = ''


class _Health(msgspec.Struct, frozen=True):
    wrong: str = ''


class Row(msgspec.Struct, frozen=True):
    """What `status --json` has of one unikernel, as far as it counts here; see watching.rows."""

    name: str
    state: str
    release: int = 0
    since: float = 0
    tip: _Tip | None = None
    health: _Health = _Health()
    refused: _Why = _Why()
    silent: _Why | None = None
    crashed: str = ''


class Status(msgspec.Struct, frozen=True):
    unikernels: tuple[Row, ...]
    deploying: str = ''


Runs = tuple[tuple[str, int, float], ...]
"""Unikernels with their releases and when these were started: another after a restart."""


class Verdict(msgspec.Struct, frozen=True):
    """What an answer means: all `serves` the commit, or `not yet`, not while it is `elsewhere`, at
    another commit; or nothing can come of it any more: `bad`."""

    kind: Literal['serves', 'not yet', 'elsewhere', 'bad']
    reason: str = ''
    runs: Runs = ()


def place(address: str) -> Place:
    """Of ssh://[USER@]HOST[:PORT]/FOLDER or [USER@]HOST:FOLDER, as git takes them."""
    found = re.fullmatch(r'ssh://(?P<host>[^/:\[]+|[^/\[]*\[[^/\]]+\])(:(?P<port>[0-9]{1,5}))?'
                         r'(?P<folder>/.+)', address) or re.fullmatch(
                         r'(?P<host>[^/:]+):(?P<folder>(?!//).+)', address)
    # What begins with a dash, ssh would take for an option.
    if not found or found['host'].startswith('-') or found['host'].rpartition('@')[2][:1] == '-':
        raise errors.Usage(f'--host {plain(address)} is no ssh://USER@HOST/REPOSITORY')
    # ssh begins in the home, to which git's /~/ leads as well.
    folder = found['folder'].removeprefix('/~/').removeprefix('~/')
    return Place(re.sub(r'[\[\]]', '', found['host']), folder, found.groupdict().get('port') or '')


def wait(
    where: Place, commit: str, branch: str, name: str, wanted: Wanted,
    environment: Mapping[str, str],
) -> None:
    """Return when `where` has served `commit` of `branch` for as long as `wanted`, as seen from
    here; raises Refused when nothing can come of that any more, or its time is over."""
    what, course = f'{where.shown} to serve {commit[:12]}', Course(wanted, time.monotonic())
    with progress.doing(f'waiting for {what}', wanted.deadline) as work:
        while True:
            try:
                found = judge(asked(where, environment), commit, branch, name)
            except errors.Unavailable as why:
                found = Verdict('not yet', why.reason)
            now = time.monotonic()
            left = course.left(found, now)
            if not left:
                return
            until = now + min(left, OFTEN, max(wanted.after, 1.0))
            while time.monotonic() < until:
                work.now(course.told)
                time.sleep(LOOK)


class Wanted(msgspec.Struct, frozen=True):
    """For how many seconds it must have served, and in how many from now on."""

    after: float
    deadline: float


class Course:
    """What was seen of it since `began`, seconds on the clock of all that follows."""

    def __init__(self, wanted: Wanted, began: float) -> None:
        self.wanted, self.began = wanted, began
        self.told = ''
        self._runs: Runs = ()
        self._served: float | None = None

    def left(self, found: Verdict, now: float) -> float:
        """For how many seconds there is nothing to ask after what was `found` at `now`; 0 when it
        has served for long enough. Raises Refused when it never will have."""
        if self._runs and found.kind == 'elsewhere':
            found = Verdict('bad', f'{found.reason} now')
        if self._runs and found.kind == 'serves' and found.runs != self._runs:
            found = Verdict('bad', 'it was restarted meanwhile')
        if found.kind == 'bad':
            raise errors.Refused(found.reason, hint='no branch was moved')
        self.told, over = found.reason, self.began + self.wanted.deadline - now
        if found.kind == 'serves':
            self._runs = found.runs
            self._served = now if self._served is None else self._served
            since = now - self._served
            if since >= self.wanted.after:
                return 0
            self.told = f'it has served for {since:.0f} s of {self.wanted.after:.0f} s'
            over = min(over, self.wanted.after - since) if over > 0 else over
        else:
            self._served = None  # only what was seen without a gap counts
        if over <= 0:
            raise errors.Refused(f'{self.wanted.deadline:.0f} s are over: {self.told}',
                                 hint='no branch was moved; --deadline gives it more time')
        return max(over, LOOK)


def judge(status: Status, commit: str, branch: str, name: str) -> Verdict:
    """What `status` says of `commit`, the tip of `branch`, for all unikernels that follow that
    branch, or the one that is called `name`."""
    if status.deploying:
        return Verdict('not yet', 'a deployment is under way')
    rows = [row for row in status.unikernels if name in ('', row.name)]
    if name and not rows:
        return Verdict('bad', f'it has no unikernel {name}')
    follow = [row for row in rows if row.tip is not None and row.tip.branch == branch]
    if not follow or (name and follow != rows):
        others = ', '.join(f'{row.name} {row.tip.branch}' for row in rows if row.tip) or 'nothing'
        return Verdict('bad', f'none follows the branch {branch} there ({others})')
    found = [_of_one(row, row.tip, commit) for row in follow if row.tip is not None]
    for kind in ('bad', 'elsewhere', 'not yet'):
        for one in found:
            if one.kind == kind:
                return one
    return Verdict('serves', runs=tuple((row.name, row.release, row.since) for row in follow))


def _of_one(row: Row, tip: _Tip, commit: str) -> Verdict:
    if tip.commit != commit:
        return Verdict('elsewhere', f'{row.name} is at commit {tip.commit[:12]}')
    if tip.image == 'refused':
        return Verdict('bad', f'{row.name} was refused: {row.refused.reason}')
    if tip.image == 'rollback':
        return Verdict('bad', f'{row.name} was rolled back')
    if row.state == 'stopped':
        return Verdict('bad', f'{row.name} is stopped by hand')
    if tip.image == 'ready':
        return Verdict('not yet', f'{row.name} is ready there, and runs on another host or nowhere')
    if tip.image != 'live':
        return Verdict('not yet', f'{row.name} is not deployed yet')
    if row.silent is not None:
        return Verdict('bad', f'{row.name} is silent: {row.silent.reason}')
    if row.state != 'running':
        return Verdict('not yet', f'{row.name} is down: {row.crashed}'.removesuffix(': '))
    if row.health.wrong:
        return Verdict('not yet', f'{row.name} does not answer: {row.health.wrong}')
    return Verdict('serves')


def asked(where: Place, environment: Mapping[str, str]) -> Status:
    """What the host says; raises Unavailable when it says nothing that can be read. Where its key
    is for this alone (`command=` in authorized_keys), what we ask for counts for nothing."""
    ssh = shlex.split(environment.get('GIT_SSH_COMMAND') or os.environ.get('GIT_SSH_COMMAND')
                      or 'ssh')
    port = ('-p', where.port) if where.port else ()
    question = shlex.join(('mirage-hooks', '-C', where.folder, 'status', '--json'))
    command = (*ssh, *QUIETLY, *port, '--', where.host, question)
    try:
        _, out, err = programs.exchange(*command, timeout=ANSWER)
    except OSError as error:
        raise errors.Unavailable(f'{ssh[0]} cannot be executed: {error.strerror}') from None
    try:  # its exit code is 1 when anything is down
        return msgspec.json.decode(out, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = programs.one_line(err)[-200:] or 'what it says is no status --json'
        raise errors.Unavailable(f'{where.shown} cannot be asked: {said}') from None
