"""A release that ended by itself: brought back at once, then after longer and longer pauses, and
not at all when it would only end so again."""

from __future__ import annotations

import time

import msgspec

from .. import errors, model, settled, store
from ..host import supervisor
from ..targets.unit import FOR_GOOD

PAUSES = (60, 3600)  # seconds before the second start, and at most
SETTLED = 600  # seconds of life after which an end is a new story
SHORT = 60  # seconds: what lived longer did start, whatever its exit code


class Waiting(errors.Refused):
    """It is not yet, or never, time to start the release again; `told`: people know already."""

    def __init__(self, reason: str, hint: str, told: bool) -> None:
        super().__init__(reason, hint)
        self.told = told


def count(shelf: store.Shelf, release: model.Release, code: int | None) -> None:
    """Write down that `release` is started again after it ended with `code` (None: nobody saw it
    end); raises Waiting when it must not be started now."""
    now, boot = time.time(), settled.boot()
    known, lived = _known(shelf, release), _lived(shelf, release)
    fresh = model.Crashes(release.number, 1, now, boot, code)
    if code in FOR_GOOD and lived is not None and lived < SHORT:
        told = known is not None and known.told and known.code == code
        shelf.set_crashes(msgspec.structs.replace(known or fresh, code=code, told=True))
        raise Waiting(*_for_good(release, code, lived), told)
    left = _left(known, now) if known else 0
    if known and left > 0:
        shelf.set_crashes(msgspec.structs.replace(known, told=True))
        raise Waiting(*_later(release, known, left), known.told)
    times = known.count + 1 if known and not _calm(known, lived, now) else 1
    shelf.set_crashes(msgspec.structs.replace(fresh, count=times))


def explain(shelf: store.Shelf, release: model.Release) -> str:
    """What `status` says of a release that ended by itself; '' when there is nothing to say."""
    known = _known(shelf, release)
    if known is None:
        return ''
    if known.code in FOR_GOOD and known.told:
        return f'ended with exit code {known.code}: not started again'
    left = _left(known, time.time())
    when = f'next start in {left:.0f} s' if left > 0 else 'started again by the next deploy or pull'
    return f'brought back {known.count} times, {when}'


def _for_good(release: model.Release, code: int | None, lived: float) -> tuple[str, str]:
    return (
        f'release {release.number} ended with exit code {code} {lived:.0f} s after its start, and '
        'would end so again',
        'publish another image, or try it all the same: '
        f'mirage-hooks start {release.unikernel}',
    )


def _later(release: model.Release, known: model.Crashes, left: float) -> tuple[str, str]:
    return (
        f'release {release.number} was brought back {known.count} times and ended again; next '
        f'start in {left:.0f} s',
        f'its console may say why: mirage-hooks logs {release.unikernel}',
    )


def pause(times: int) -> float:
    """Seconds between the start that followed the last of `times` ends and the next one."""
    return float(min(PAUSES[0] << (times - 1), PAUSES[1]))


def _left(known: model.Crashes, now: float) -> float:
    """Seconds of the pause that are left; none when the clock was set back behind its beginning."""
    return known.at + pause(known.count) - now if known.at <= now + 1 else 0.0


def _known(shelf: store.Shelf, release: model.Release) -> model.Crashes | None:
    """What is known of `release` since this boot."""
    known = shelf.crashes()
    same = known and (known.release, known.boot) == (release.number, settled.boot())
    return known if same else None


def _calm(known: model.Crashes, lived: float | None, now: float) -> bool:
    """Whether the last start led to a life of its own; an unseen end is given the doubt."""
    if lived is not None:
        return lived > SETTLED
    return now - known.at > 2 * pause(known.count) + SETTLED


def _lived(shelf: store.Shelf, release: model.Release) -> float | None:
    """Seconds that the process of `release` lived; None when nobody saw its end, or it was before
    this boot."""
    if release.plan.unit:
        return supervisor.state(release.plan).lived
    folder = shelf.folder(release.number)
    run = shelf.run(release.number)
    if run is None or run.boot != settled.boot():
        return None
    try:
        end, start = (folder / store.ENDED).stat(), (folder / store.RUN).stat()
    except FileNotFoundError:
        return None
    return max(0.0, end.st_mtime - start.st_mtime)
