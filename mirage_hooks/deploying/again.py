"""What a person wants started: the release that is live, and nothing newer."""

from __future__ import annotations

from .. import config
from ..messages import errors
from ..state import model
from ..state.releases import Releases
from ..switching import consoles
from .refusal import Refusals


def started(
    refusals: Refusals, name: str, releases: Releases, wanted: config.Unikernel | None
) -> model.Outcome | None:
    """The outcome of starting the live release of `name`; None where there is none to start. It
    is seen to serve where it is what is `wanted`."""
    current = releases.current()
    if current is None or not (releases.folder(current.number) / 'image').exists():
        return None
    kind: model.Kind = 'unchanged' if releases.pin() is None else 'pinned'
    try:
        same = _same(refusals, name, current, wanted)
        return refusals.live.running(name, releases, current, wanted if same else None, kind)
    except errors.Refused as refused:
        refusals.context.note(name, 'not started', current, reason=refused.reason)
        console = consoles.tail(consoles.of(releases, current))
        return refusals.kept(name, refused, console, f'mirage-hooks logs {name}')


def _same(
    refusals: Refusals, name: str, current: model.Release, wanted: config.Unikernel | None
) -> bool:
    """Whether `current` was started as is `wanted` now: else other questions may be asked of it."""
    if wanted is None:
        return False
    refusals.candidates.read(name, wanted)
    return current.fingerprint == refusals.candidates.fingerprint(name, wanted)
