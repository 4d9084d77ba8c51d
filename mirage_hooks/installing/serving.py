"""What runs of a unikernel now, whether it answers, and what was refused."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from .. import config
from ..git import newer, shared
from ..host import network
from ..messages import errors
from ..messages.report import age
from ..state import model, pipe, user
from ..state.releases import Releases, as_wanted
from ..switching import asking, certified, crashes, launcher
from ..switching import health as questions
from . import ports
from .finding import Finding, Found, Place, fine, note, problem

LIMIT = 3.0  # seconds in which what serves has to answer
STALE = 300.0  # seconds after which a file is no longer fresh


def kept(place: Place) -> Found:
    """Whether what ends is seen to end."""
    if not pipe.keeps(place.state.root):
        yield note('keeper', 'no keeper runs: what ends is started again by the next push or cron '
                   'run alone', 'mirage-hooks deploy')


def watched(place: Place) -> Found:
    """Whether what is silent is seen, and files are kept fresh; of a repository that the installer
    has put on the list."""
    if place.repository.folder not in user.repositories():
        return
    for kind, path in user.fresh().items():
        yield _written(kind, path)
    if not any(one.watched for one in place.settings.unikernels.values()):
        return
    if number := user.watcher():
        yield fine('watcher', f'process {number} asks what runs')
    else:
        yield note('watcher', "no watcher runs: what is silent is not seen; cron's next run starts "
                   'it, where systemd does not', 'mirage-hooks pull --quiet, or to see what it '
                   'sees: mirage-hooks watch')


def _written(kind: str, path: Path) -> Finding:
    """Whether the watcher keeps its file of that `kind` fresh."""
    try:
        written = path.stat().st_mtime
    except OSError as why:
        text = f'{path} is not there: {why.strerror}'
    else:
        text = f'{path} was written {age(written)} ago'
        if time.time() - written < STALE:
            return fine(kind, text)
    return note(kind, f'{text}, and the watcher is to write it every minute',
                f'see what keeps it from that: mirage-hooks {kind} --to {shlex.quote(str(path))}; '
                f'or have none: mirage-hooks {kind} --no-fresh')


def findings(place: Place, name: str, wanted: config.Unikernel) -> Found:
    """Whether what should run does."""
    releases = place.state.of(name)
    release = releases.current()
    deploy = f'mirage-hooks deploy {name}'
    if releases.stopped():
        yield note(name, 'it is stopped by hand: no push starts it', f'mirage-hooks start {name}')
    elif releases.placed() and not (release and launcher.alive(releases, release)):
        yield _ready(releases, name)
    elif release is None:
        yield note(name, 'nothing of it was deployed yet', _first(place, name, wanted))
    elif launcher.alive(releases, release):
        yield fine(name, f'release {release.number} runs')
        if not as_wanted(wanted, release):
            yield note(name, f'release {release.number} runs as mirage.yml had it when it was '
                       'deployed', f'as it is now, from the next push on, or: {deploy}')
        elif newer.waits(place.repository, releases, place.settings, name):
            yield note(name, f'the branch has another image than release {release.number}',
                       f'the next push or cron run deploys it, or: {deploy}')
    else:
        why, hint = crashes.explain(releases, release)
        ended = f': it ended by itself, {why}' if why else ''
        start = f'see `mirage-hooks logs {name}`; start it again: mirage-hooks deploy {name}'
        yield problem(name, f'release {release.number} is down{ended}', hint or start)


def _ready(releases: Releases, name: str) -> Finding:
    """That Pacemaker may start it here, or may not."""
    ready = releases.ready() or releases.current()
    if ready is None:
        return problem(name, 'no release is ready here: Pacemaker cannot start it on this host',
                       f'mirage-hooks deploy {name} makes one ready, and says what is in the way')
    return fine(name, f'release {ready.number} is ready; Pacemaker does not run it on this host')


def _first(place: Place, name: str, wanted: config.Unikernel) -> str:
    """What leads to the first release."""
    try:
        branch = place.repository.branch(wanted.branch or place.settings.branch)
        commit = place.repository.commit(branch)
        shared.find(place.repository, place.state.of(name), place.settings, name, commit)
    except errors.Refused:  # which the image's own line tells
        return f'push or publish its image, {wanted.image}: that deploys it'
    return f'mirage-hooks deploy {name}'


def health(place: Place, name: str, wanted: config.Unikernel) -> Found:
    """The health questions, asked of what runs; not those that only a start can answer."""
    releases = place.state.of(name)
    release = releases.current()
    if release is None or releases.stopped() or not launcher.alive(releases, release):
        return
    if ports.strange(place, name, wanted):
        return
    for question in questions.questions(certified.running(wanted, releases, release)):
        if question.console or question.alive:
            continue
        began = time.monotonic()
        wrong = asking.ask(question, lambda: '', LIMIT, (), lambda: None)
        took = f'after {(time.monotonic() - began) * 1000:.0f} ms'
        if wrong:
            yield _unanswered(name, release, f'{wrong}, {took}')
        else:
            yield fine(name, f'{asking.where(question)} answers, {took}')


def _unanswered(name: str, release: model.Release, text: str) -> Finding:
    bridge = release.network.bridge if release.network else None
    if bridge and not network.addressed(bridge):
        return note(name, f'{text}; this host has no address on {bridge}: others may reach it')
    return problem(name, text, f'see what it prints: mirage-hooks logs {name}; or fix `health:` in '
                   'mirage.yml')


def refusal(place: Place, name: str, wanted: config.Unikernel) -> Found:
    """The last refusal, while what it is of is still what should run."""
    releases = place.state.of(name)
    failure = releases.failure()
    if failure is None or releases.stopped() or failure.blob not in _keys(place, name, wanted):
        return
    text, deploy = f'refused {age(failure.at)} ago: {failure.reason}', f'mirage-hooks deploy {name}'
    if failure.fingerprint[:8] != wanted.fingerprint[:8]:  # the rest is of its secrets
        yield note(name, f'{text}; mirage.yml has changed since', f'try it again: {deploy}')
        return
    steps = [failure.hint]
    if releases.failed_console.exists():
        steps.append(f'see what it printed: mirage-hooks logs {name} --failed')
    left = max(0, failure.retry - time.time())
    steps.append(f'it is tried again by itself, in {left:.0f} s at the earliest; now: {deploy}'
                 if failure.retry else f'publish another one, or try it again: {deploy}')
    yield problem(name, text, '; '.join(filter(None, steps)))


def _keys(place: Place, name: str, wanted: config.Unikernel) -> set[str]:
    """What a refusal of what should run now may be remembered by."""
    try:
        branch = place.repository.branch(wanted.branch or place.settings.branch)
        commit = place.repository.commit(branch)
    except errors.Refused:
        return {'no commit'}
    untrusted = {f'commit {commit}'} if place.settings.trust is not None else set()
    releases = place.state.of(name)
    try:
        found = shared.find(place.repository, releases, place.settings, name, commit)
    except errors.Refused:
        return {f'commit {commit}'}
    return {found.blob, *untrusted}
