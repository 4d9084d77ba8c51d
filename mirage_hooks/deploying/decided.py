"""What a person decided: a stop, a start, a rollback that holds, trust that begins anew."""

from __future__ import annotations

import msgspec

from .. import config
from ..git import newer, tree
from ..git.repository import Repository
from ..messages import errors
from ..state import files, journal, model, notes, store
from ..state.releases import Releases
from .context import Context, Intent
from .live import Live, elsewhere


def write_down(intent: Intent, name: str, releases: Releases) -> None:
    """Keep what a person decides now beyond this converge."""
    if name in intent.stopped:  # a rollback outlasts a stop
        old = releases.pin() or notes.Pin()
        new = msgspec.structs.replace(old, stopped=intent.stopped[name])
        releases.set_pin(None if new == notes.Pin() else new)
    if name in intent.anew:
        pin = releases.pin()
        if pin is not None and not pin.stopped:  # a stop holds until `start`
            releases.set_pin(None)
        releases.set_failure(None)


def done(intent: Intent, releases: Releases, outcome: model.Outcome) -> bool:
    """Whether what was to come of one unikernel did; to `start` it means that it runs, whatever
    another image is refused for."""
    if not outcome.failed:
        return True
    name, failure = outcome.unikernel, releases.failure()
    if intent.stopped.get(name) is not False or name in intent.restarted:
        return False
    itself = failure is None or outcome.running is None or failure.blob == outcome.running.blob
    return not itself


def left_alone(
    outcome: model.Outcome, context: Context, settings: config.Settings
) -> model.Outcome:
    """`outcome`, which no newer image was to change: with the one that waits, if any."""
    name = outcome.unikernel
    commit = newer.waits(context.repository, context.state.of(name), settings, name)
    return msgspec.structs.replace(outcome, waits=commit)


def pinned(
    live: Live, name: str, releases: Releases, wanted: config.Unikernel, found: tree.Found
) -> model.Outcome | None:
    """The outcome while a rollback holds; None when there is none, or a newer image ends it."""
    pin, current = releases.pin(), releases.current()
    held = pin is not None and pin.blob == found.blob
    kept = releases.release(pin.release) if pin is not None and held else None
    if kept is None:
        releases.set_pin(None)
        return None
    if elsewhere(releases) or (current is not None and current.number == kept.number):
        return live.running(name, releases, kept, wanted, 'pinned')
    try:  # the rollback was interrupted
        return live.returned(name, releases, wanted, kept)
    except errors.Refused:
        releases.set_pin(None)
        raise


def forget_floor(repository: Repository, trigger: str) -> list[str]:
    """Begin trust anew, as after a rewind that was meant: which unikernels had a floor."""
    state = store.opened(repository.state)
    with state.lock(trigger, store.PATIENCE):
        files.write(state.fastpath, None)
        had = [name for name in state.names() if state.of(name).forget_floor()]
        for name in had:
            journal.append(state.history, journal.Entry(
                at=journal.now(), unikernel=name, event='trust begun anew', trigger=trigger,
            ))
    return had
