"""How one release follows another: next to it where both can be, after it elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from .. import config
from ..state import model
from ..state.releases import Releases, set_shared
from ..switching import certified, filling, fitting, launcher, leasing, next_to, overlap, switch
from .context import Context


def follow(
    context: Context, releases: Releases, old: model.Release | None, new: model.Release,
    wanted: config.Unikernel, trial: Callable[[], object] = lambda: None,
) -> float:
    """Prove `new`, send it what is new, point to it: side by side with `old` where both can be,
    one after the other elsewhere: after a `trial`, where that turns out late. For how many seconds
    nobody served, 0 where nobody did before."""
    with releases.change():
        return _followed(context, releases, old, new, wanted, trial)


def _followed(
    context: Context, releases: Releases, old: model.Release | None, new: model.Release,
    wanted: config.Unikernel, trial: Callable[[], object],
) -> float:
    filling.require_startable(new.plan)
    wanted = (certified.running if launcher.alive(releases, new) else certified.starting)(
        wanted, releases, new)
    context.switched = True
    say = context.say(new.unikernel)
    if overlap.possible(old, new, wanted):
        overlap.take_over(releases, context.owner, old, new, wanted, say)
        return 0.0
    if old is not None and leasing.concerns(wanted):
        if _leased(context, releases, old, new, wanted):
            return 0.0
    elif old is not None and wanted.port and _listens(context, releases, old, new, wanted, trial):
        return 0.0
    if old is not None and (why := fitting.one_writer(wanted)):
        say(leasing.FIRST.format(old.number, why))
    if releases.overlap() is not None:
        releases.set_overlap(None)
        context.tidy(sweep=False)
    began = time.monotonic()
    switch.replace(releases, context.owner, old, new, wanted, say)
    return time.monotonic() - began - config.seconds(wanted.confirm) if old else 0.0


def foreseen(
    context: Context, releases: Releases, old: model.Release, new: model.Release,
    wanted: config.Unikernel,
) -> tuple[bool, str]:
    """Whether `new` would serve next to `old`, and why not where that needs words."""
    if leasing.concerns(wanted):
        why = leasing.obstacle(releases, context.owner, old, new)
    elif wanted.port is not None:
        why = next_to.obstacle(releases, old, new, wanted)
    else:
        return overlap.possible(old, new, wanted), fitting.one_writer(wanted)
    return not why, why


def proves(
    releases: Releases, old: model.Release | None, new: model.Release, wanted: config.Unikernel
) -> bool:
    """Whether the switch proves `new` before anything that serves is touched, and a trial would
    prove no more."""
    # By DHCP both ask the same server: where the switch does not come to it, no trial does either.
    return (overlap.possible(old, new, wanted) or next_to.possible(releases, old, new, wanted)
            or wanted.leased)


def _leased(
    context: Context, releases: Releases, old: model.Release, new: model.Release,
    wanted: config.Unikernel,
) -> bool:
    """Side by side with one address by DHCP; False, and said, where that cannot be."""
    say = context.say(new.unikernel)
    try:
        pair = leasing.together(releases, context.owner, old, new)
        releases.save(pair.old)
        releases.save(pair.new)
        overlap.take_over(releases, context.owner, pair.old, pair.new, wanted, say, pair.lease)
    except leasing.Lost as lost:
        say(leasing.FIRST.format(old.number, lost.reason))
        return False
    return True


def _listens(
    context: Context, releases: Releases, old: model.Release, new: model.Release,
    wanted: config.Unikernel, trial: Callable[[], object],
) -> bool:
    """Side by side on one port; False, and said, where that cannot be."""
    say = context.say(new.unikernel)
    why = next_to.obstacle(releases, old, new, wanted)
    if not why:
        try:
            next_to.take_over(releases, context.owner, old, new, wanted, say)
            return True
        except next_to.Apart as apart:
            why = apart.reason
            say(next_to.WITHOUT.format(new.number, old.number, why))
            set_shared(releases.folder(old.number), model.Shared(hindrance=why))
            trial()
    elif wanted.switch != 'replace':
        say(next_to.WITHOUT.format(new.number, old.number, why))
    return False
