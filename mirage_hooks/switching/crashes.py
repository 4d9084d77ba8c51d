"""A release that ended by itself: started again at once, then after longer and longer pauses, and
not at all when it would only end so again."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from ..host import supervisor
from ..messages import errors
from ..state import files, model, notes, proc
from ..state.releases import Releases
from ..targets.unit import FOR_GOOD
from . import ended, launcher
from .ended import End

PAUSES = (2, 3600)  # seconds between two starts after the second end, and at most
STABLE = 600  # seconds of life after which an end is a new story
SHORT = 60  # seconds: what lived longer did start, whatever its exit code
TOLD = 60  # seconds of a pause that people are told of; a shorter one is over before they look


class Waiting(errors.Refused):
    """It is not yet, or never, time to start the release again; `told`: people know already, or
    need not know."""

    def __init__(self, reason: str, hint: str, told: bool) -> None:
        super().__init__(reason, hint)
        self.told = told


def count(releases: Releases, release: model.Release, end: End) -> None:
    """Write down that `release` is started again after its `end`; raises Waiting when it must not
    be started now."""
    now, boot = time.time(), proc.boot()
    known, lived = _known(releases, release), _lived(releases, release)
    fresh = notes.Crashes(release.number, 1, now, boot, end.code, reason=end.reason, hint=end.hint)
    if end.code in FOR_GOOD and lived is not None and lived < SHORT:
        told = known is not None and known.final and known.code == end.code
        releases.set_crashes(msgspec.structs.replace(
            fresh, count=known.count if known else 0, told=True, final=True
        ))
        raise Waiting(*_for_good(release, end, lived), told)
    left = _left(known, now) if known else 0
    if known and left > 0:
        releases.set_crashes(msgspec.structs.replace(
            known, code=end.code, reason=end.reason, hint=end.hint, told=True
        ))
        raise Waiting(*_later(release, known, end, left), known.told or left < TOLD)
    times = known.count + 1 if known and not _calm(known, lived, now) else 1
    releases.set_crashes(msgspec.structs.replace(fresh, count=times))


def due(releases: Releases, release: model.Release) -> float | None:
    """Seconds until `release`, which does not run, may be started again; None when that is not
    known, or never."""
    known = _known(releases, release)
    if known is None or known.final:
        return None
    left = _left(known, time.time())
    return left if left > 0 else None


def explain(releases: Releases, release: model.Release) -> tuple[str, str]:
    """What `status` says of a release that ended by itself and is down, and what to do about it;
    '' for nothing."""
    known = _known(releases, release)
    if known is None:
        code = launcher.ended(releases, release)
        end = ended.how(releases, release, code)
        return (end.briefly, end.hint) if code is not None or end.hint else ('', '')
    why = End(known.code, known.reason).briefly
    if known.final:
        return f'{why}: not started again', known.hint
    left = _left(known, time.time())
    when = f'next start in {left:.0f} s' if left > 0 else 'started again by the next deploy or pull'
    return f'{why + ", " if why else ""}restarted {often(known.count)}, {when}', known.hint


def restarts(releases: Releases, release: model.Release) -> dict[str, Any]:
    """For programs: how often `release` was started again since it last ran for ten minutes, when
    last, and why; {} for never."""
    if release.plan.unit:
        return _by_systemd(releases, release)
    known = _known(releases, release)
    if known is None or not known.count:
        return {}
    return {'times': known.count, 'at': known.at, 'reason': known.reason, 'hint': known.hint}


def _by_systemd(releases: Releases, release: model.Release) -> dict[str, Any]:
    found = supervisor.state(release.plan)
    if not found.restarts:
        return {}
    end = ended.how(releases, release, None)
    known = end if end.hint else ended.End(None, '')
    return {'times': found.restarts, 'reason': known.reason, 'hint': known.hint}


def often(count: int) -> str:
    """`count` in words."""
    return 'once' if count == 1 else f'{count} times'


def _for_good(release: model.Release, end: End, lived: float) -> tuple[str, str]:
    return (
        f'release {release.number} ended {lived:.0f} s after its start, and would end so again: '
        f'{end.reason}',
        end.hint or 'publish another image, or try it all the same: '
        f'mirage-hooks start {release.unikernel}',
    )


def _later(
    release: model.Release, known: notes.Crashes, end: End, left: float
) -> tuple[str, str]:
    return (
        f'release {release.number} was restarted {often(known.count)} and ended again: '
        f'{end.reason}; next start in {left:.0f} s',
        end.hint or f'its console may say why: mirage-hooks logs {release.unikernel}',
    )


def pause(times: int) -> float:
    """Seconds between the start that followed the last of `times` ends and the next one."""
    return float(min(PAUSES[0] << min(times - 1, 20), PAUSES[1]))


def _left(known: notes.Crashes, now: float) -> float:
    """Seconds of the pause that are left; none when the clock was set back behind its beginning."""
    return known.at + pause(known.count) - now if known.at <= now + 1 else 0.0


def _known(releases: Releases, release: model.Release) -> notes.Crashes | None:
    """What is known of `release` since this boot."""
    known = releases.crashes()
    same = known and (known.release, known.boot) == (release.number, proc.boot())
    return known if same else None


def _calm(known: notes.Crashes, lived: float | None, now: float) -> bool:
    """Whether the last start led to a life of its own; an unseen end is given the doubt."""
    if lived is not None:
        return lived > STABLE
    return now - known.at > 2 * pause(known.count) + STABLE


def _lived(releases: Releases, release: model.Release) -> float | None:
    """Seconds that the process of `release` lived; None when nobody saw its end, or it was before
    this boot."""
    if release.plan.unit:
        return supervisor.state(release.plan).lived
    folder = releases.folder(release.number)
    run = releases.run(release.number)
    if run is None or run.boot != proc.boot():
        return None
    try:
        end, start = (folder / files.ENDED).stat(), (folder / files.RUN).stat()
    except FileNotFoundError:
        return None
    return max(0.0, end.st_mtime - start.st_mtime)
