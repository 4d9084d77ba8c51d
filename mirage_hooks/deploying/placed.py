"""What Pacemaker has done on this host: a unikernel is started from local files, ended, looked at.
Nothing here asks git or the network what should run; converges do."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

from .. import config
from ..git.repository import Repository
from ..host import network, processes
from ..messages import errors
from ..messages.report import Reporter
from ..state import files, model, store
from ..state.releases import Releases, as_wanted
from ..switching import asked, asking, conflicts, drain, launcher
from . import standing
from .context import Context, Intent
from .live import Live

TRIGGER = 'Pacemaker'
GIVES_WAY = 5.0  # seconds that a deployment has to end when it is interrupted
ANSWER = 5.0  # seconds that it has to answer when its health is asked


class Missing(errors.Refused):
    """Nothing of it is here that could be started."""


def start(repository: Repository, name: str, report: Reporter) -> model.Release:
    """The release of `name` that serves here: what is ready is started, unless it runs. Raises
    Missing where nothing is ready, Refused where it does not serve."""
    state = store.opened(repository.state)
    with _locked(repository, state, 'start'):
        releases = state.of(name)
        if (running := _running(releases)) is not None:
            return running
        context = Context(repository, state, Intent(TRIGGER), report)
        files.write(state.fastpath, None)
        context.tidy()
        try:
            return _started(context, releases, name)
        finally:
            context.leave()


def stop(repository: Repository, name: str, report: Reporter) -> model.Release | None:
    """End what runs of `name`, a start that was killed included; it stays ready. None where nothing
    ran; raises Refused where something cannot be ended."""
    state = store.opened(repository.state)
    with _locked(repository, state, 'stop'):
        releases = state.of(name)
        current = releases.current()
        context = Context(repository, state, Intent(TRIGGER), report)
        files.write(state.fastpath, None)
        if current is None:
            drain.tidy(state, context.owner)
            return None
        ran = launcher.alive(releases, current)
        Live(context).stop(releases, current)
        drain.tidy(state, context.owner)  # its rules are known by what is live
        if releases.ready() is None:
            releases.set_ready(current.number)
        releases.unpoint()
        context.note(name, 'stopped', current, reason='by Pacemaker')
        context.leave()
        return current if ran else None


def runs(state: store.Store, name: str, wanted: config.Unikernel | None) -> model.Release | None:
    """The release of `name` that runs here, as far as this host can tell: its process or domain,
    its interfaces, their bridge. A switch that stops the old one first is waited for."""
    releases, patience = state.of(name), _patience(wanted)
    limit = time.monotonic() + patience
    while releases.current() is not None:
        running = _running(releases)
        if running is not None or not state.holder() or time.monotonic() > limit:
            return running
        time.sleep(0.1)
    return None


def silent(wanted: config.Unikernel, release: model.Release) -> str:
    """What `release` does not answer of its health questions, asked over the network; '' for
    nothing, and where it runs as another mirage.yml had it."""
    if not as_wanted(wanted, release):
        return ''
    found = (asking.ask(one, lambda: '', ANSWER, (), lambda: None)
             for one in asked.lasting(wanted, release))
    return next(filter(None, found), '')


def require_ours(repository: Repository, name: str, do: str) -> None:
    """Raise Refused where it is Pacemaker's to `do` something of `name`."""
    try:
        wanted = store.settings(repository.config_path(), repository.state).unikernels.get(name)
    except errors.Refused:
        last = store.last_settings(store.opened(repository.state))
        wanted = last.unikernels.get(name) if last is not None else None
    if wanted is None or (placed := wanted.placed) is None:
        return
    resource = placed.resource or name
    raise errors.Refused(
        f'{name} is placed by Pacemaker, which would undo a {do}',
        hint=INSTEAD[do].format(resource),
    )


INSTEAD = {
    'start': 'pcs resource enable {}',
    'stop': 'pcs resource disable {}',
    'restart': 'pcs resource restart {}',
    'rollback': 'go back in the branch (git revert), which all hosts follow; or move it to a host '
    'that has the earlier image: pcs resource move {}',
}
"""What a person does, by pcs, in the place of a command of ours."""


@contextlib.contextmanager
def _locked(repository: Repository, state: store.Store, do: str) -> Iterator[None]:
    """Hold the lock: a deployment that has it gives way, for a trial may take long, and visitors
    wait. What it was about is converged afterwards."""
    interrupted = list[int]()

    def interrupt(holder: str, number: int) -> None:
        process, _, purpose = holder.partition(' ')
        if process.isdecimal() and not purpose.startswith(TRIGGER):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(process), number)
                interrupted.append(number)

    with contextlib.ExitStack() as kept:
        purpose = f'{TRIGGER} {do}'
        try:
            kept.enter_context(state.lock(
                purpose, GIVES_WAY, lambda holder: interrupt(holder, signal.SIGINT)))
        except errors.Unavailable:  # begun in the background of a shell, it ignores that
            kept.enter_context(state.lock(
                purpose, store.PATIENCE, lambda holder: interrupt(holder, signal.SIGTERM)))
        yield
        _tell(repository, state)
    if interrupted:
        converge = (sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(repository.git_dir))
        processes.detach((*converge, 'keep'))


def _tell(repository: Repository, state: store.Store) -> None:
    with contextlib.suppress(errors.Refused):  # the next converge tells
        standing.tell(state, store.settings(repository.config_path(), state.root))


def _running(releases: Releases) -> model.Release | None:
    current = releases.current()
    if current is None or not launcher.alive(releases, current):
        return None
    there = all(network.exists(tap.bridge) for tap in current.plan.taps if tap.bridge)
    return current if there else None


def _started(context: Context, releases: Releases, name: str) -> model.Release:
    """What is ready, or else what served here last."""
    wanted = _wanted(context, name)
    for number, release in enumerate(found := _startable(releases)):
        try:
            return _begun(context, releases, release, wanted)
        except errors.Unavailable:
            raise
        except errors.Refused as refused:
            context.note(name, 'not started', release, reason=refused.reason)
            context.report.step(name, f'release {release.number} does not serve: {refused.reason}')
            if number == len(found) - 1:
                raise
    raise Missing(f'no release of {name} is ready on this host',
                  hint=f'mirage-hooks deploy {name} makes one ready, and says what is in the way')


def _startable(releases: Releases) -> list[model.Release]:
    """What may be started, best first."""
    current, served = releases.current(), reversed(releases.served())
    found = {one.number: one for one in (releases.ready(), current, *served) if one is not None}
    return [one for one in found.values() if (releases.folder(one.number) / 'image').exists()][:2]


def _begun(
    context: Context, releases: Releases, release: model.Release, wanted: config.Unikernel | None
) -> model.Release:
    known = wanted if wanted is not None and as_wanted(wanted, release) else None
    conflicts.require_none(context.state, release.unikernel, wanted, release)
    launcher.stop(releases, release)  # what is left of it
    try:
        Live(context).start(release.unikernel, releases, release, known)
    except BaseException:
        launcher.stop(releases, release)
        raise
    releases.set_crashes(None)
    pin = releases.pin()
    if pin is not None and pin.stopped:  # Pacemaker decides now
        releases.set_pin(None)
    releases.point(release.number)
    context.note(release.unikernel, 'started', release, reason='by Pacemaker')
    return release


def _wanted(context: Context, name: str) -> config.Unikernel | None:
    """What mirage.yml says of it, or said last."""
    try:
        return context.settings().unikernels.get(name)
    except errors.Refused:
        last = store.last_settings(context.state)
        return last.unikernels.get(name) if last is not None else None


def _patience(wanted: config.Unikernel | None) -> float:
    """Seconds that a switch of it may take."""
    within = max([config.seconds(one.within) for one in wanted.health] if wanted else [], default=0)
    return 30.0 + within
