"""What Pacemaker has done on this host: a unikernel is started from local files, ended, looked at.
Nothing here asks git or the network what should run; converges do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from .. import config
from ..git.repository import Repository
from ..host import network
from ..messages import errors
from ..messages.report import Reporter
from ..state import files, model, store
from ..state.pointers import alike
from ..state.releases import Releases, as_wanted
from ..switching import asked, asking, conflicts, drain, launcher, remains
from . import standing
from .context import Context, Intent
from .gives_way import TRIGGER, locked
from .live import Live

SLACK = 30.0  # seconds that a switch may take next to what it waits for its health
ANSWER = 5.0  # seconds that it has to answer when its health is asked


class Missing(errors.Refused):
    """Nothing of it is here that could be started."""


def start(repository: Repository, name: str, report: Reporter) -> model.Release:
    """The release of `name` that serves here: what is ready is started, unless it runs. Raises
    Missing where nothing is ready, Refused where it does not serve."""
    state = store.opened(repository.state)
    with locked(repository, state, 'start'), _told(repository, state):
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
    with locked(repository, state, 'stop'), _told(repository, state):
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
    its interfaces, their bridge; None where nothing of it lives. A change that is under way is
    waited for. Raises Refused where something lives that cannot serve, or was never finished."""
    releases = state.of(name)
    limit = time.monotonic() + SLACK + (config.serving(wanted) if wanted is not None else 0)
    while (running := _running(releases)) is None and _changes(state, releases):
        if time.monotonic() > limit:
            break
        time.sleep(0.1)
    running = running or _running(releases)  # it may have been finished between the two looks
    if running is None and (left := remains.of(releases)):
        raise errors.Refused(
            f'{name} does not serve, but {left} lives: it lost its bridge, or whoever was about to '
            'start it was killed')
    return running


def _changes(state: store.Store, releases: Releases) -> bool:
    """Whether who holds the lock puts something in the place of what was live."""
    number = releases.changing()
    return bool(number) and state.holder().partition(' ')[0] == str(number)


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
    resource = placed.called(name)
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
def _told(repository: Repository, state: store.Store) -> Iterator[None]:
    """Tell the others of the cluster what came of it."""
    yield
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
    """What may be started, best first: what is ready, and what was live before that, but never what
    was turned down."""
    failure, pin = releases.failure(), releases.pin()
    bad = {one.blob for one in (failure, pin) if one is not None}
    served = [one for one in reversed(releases.served()) if one.blob not in bad]
    first = releases.ready() or releases.current() or next(iter(served), None)
    if first is None:
        return []
    before = releases.earlier(first)
    if before is not None and (
        before.blob in bad or any(alike(one, first) for one in served if one.number < before.number)
    ):  # in the second case somebody went back from it, in git
        before = None
    return [one for one in (first, before)
            if one is not None and (releases.folder(one.number) / 'image').exists()]


def _begun(
    context: Context, releases: Releases, release: model.Release, wanted: config.Unikernel | None
) -> model.Release:
    known = wanted if wanted is not None and as_wanted(wanted, release) else None
    conflicts.require_none(context.state, release.unikernel, wanted, release)
    launcher.stop(releases, release)  # what is left of it
    with releases.change():
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
