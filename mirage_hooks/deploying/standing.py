"""What this host tells the others of a cluster of a unikernel that Pacemaker places: what serves or
is ready here, what was refused and why."""

from __future__ import annotations

import contextlib
import time

import msgspec

from .. import config
from ..host import pacemaker
from ..messages import errors
from ..state import model, store, watched
from ..state.releases import Releases
from ..switching import launcher
from . import rollout


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """`release` of `commit` is ready here, or `live`. `image` (git's name of its bytes) is the one
    that is spoken of: that, or a newer one that was refused; how far that is here, since when and
    why, and when it was first seen (seconds since 1970)."""

    release: int = 0
    commit: str = ''
    live: bool = False
    image: str = ''
    stage: rollout.Stage | None = None
    since: float = 0
    seen: float = 0
    reason: str = ''


def read(values: dict[str, str]) -> Told:
    """What stands in `values`; what another version wrote otherwise is left out."""
    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.convert(values, Told, strict=False)
    return Told()


def tell(state: store.Store, settings: config.Settings) -> None:
    """Tell the cluster of all that it places, where something changed. Without a cluster nobody is
    told, and nothing is wrong."""
    placed = [name for name, wanted in settings.unikernels.items() if wanted.placed is not None]
    if not placed:
        return
    with contextlib.suppress(errors.Unavailable):
        me = pacemaker.own()
        before = pacemaker.told().get(me, {})
        for name in placed:
            was = read(before.get(name, {}))
            now = of(state.of(name), was, time.time())
            if now != was:
                pacemaker.tell(me, name, written(now))


def written(told: Told) -> dict[str, str]:
    fields = msgspec.to_builtins(told)
    return {key: str(value).lower() if isinstance(value, bool) else str(value)
            for key, value in fields.items() if value is not None}


def of(releases: Releases, was: Told, now: float) -> Told:
    """What is to be told of a unikernel, of which was told before what `was`."""
    current = releases.current()
    live = current is not None and launcher.alive(releases, current)
    shown = current if live else releases.ready() or current
    image, stage, reason = _spoken_of(releases, shown, live)
    same = (was.image, was.stage) == (image, stage)
    return Told(
        shown.number if shown else 0, shown.commit if shown else '', live, image,
        stage if image else None, was.since if same else round(now),
        was.seen if was.image == image and was.seen else round(now), reason[:pacemaker.LONGEST])


def _spoken_of(
    releases: Releases, shown: model.Release | None, live: bool
) -> tuple[str, rollout.Stage, str]:
    """The newest image that is known here, how far it is, and why."""
    silent = watched.read(releases.root).silent if live else None
    held, pin, failure = releases.held(), releases.pin(), releases.failure()
    if held is not None:  # the others are to know whose turn it is, whatever else there is
        return held.blob, 'waits', f'it is silent: {silent.reason}' if silent is not None else ''
    if failure is not None and not failure.retry and not failure.blob.startswith(
        ('commit ', 'no commit')
    ) and (shown is None or shown.blob != failure.blob):  # else it was of another mirage.yml
        left = pin is not None and pin.blob == failure.blob
        return failure.blob, 'left' if left else 'refused', failure.reason
    if shown is None:
        return '', 'waits', ''
    if silent is not None:
        return shown.blob, 'silent', silent.reason
    if live:
        return shown.blob, 'serves', ''
    lived = any(one.number == shown.number for one in releases.served())
    return shown.blob, 'ended' if lived else 'ready', ''
