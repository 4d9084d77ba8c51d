"""Whose turn it is: where a unikernel runs on several hosts, whether this one may take a new image
now, by what all told; see rollout for the rule, and standing for what is told."""

from __future__ import annotations

import time

import msgspec

from .. import config
from ..git import tree
from ..host import pacemaker
from ..messages import errors
from ..state import journal, model, notes, store
from ..state.releases import Releases
from . import rollback, rollout, standing
from .context import Context
from .live import elsewhere

HINT = 'publish another image, or have this host take it all the same: mirage-hooks deploy {}'


def _order(context: Context, name: str, wanted: config.Unikernel) -> config.Rollout | None:
    """The order in which the hosts take an image; None where each does by itself, or a person has
    this one take it now."""
    return None if name in context.intent.anew else wanted.rollout


def waits(
    context: Context, releases: Releases, wanted: config.Unikernel, found: tree.Found
) -> model.Outcome | None:
    """The outcome while it is not this host's turn to take what was `found`, None when it is: then
    all are told that it takes it. Raises Refused when it may never take it, Unavailable where the
    cluster cannot be asked."""
    name, blob, commit = releases.root.name, found.blob, found.commit
    order = _order(context, name, wanted)
    here = [one.blob for one in (releases.current(), releases.ready()) if one is not None]
    # An image that is here already is to be started otherwise: mirage.yml is each host's own.
    if order is None or not here or blob in here:
        return None
    me = pacemaker.own()
    decision = _decided(me, name, blob, order, 'waits')
    if isinstance(decision, rollout.Go):
        decision = _decided(me, name, blob, order, 'taking')
        if not isinstance(decision, rollout.Go):  # another one claimed it, too
            _told(me, name, blob, 'waits')
    if isinstance(decision, rollout.Stop):
        raise errors.Refused(decision.reason, HINT.format(name))
    if isinstance(decision, rollout.Go):
        return None
    before = releases.held()
    at = before.at if before is not None and before.blob == blob else journal.now()
    releases.set_held(notes.Held(blob, commit, decision.reason, at))
    current = releases.current()
    return model.Outcome(
        name, 'held', current, f'the image of commit {commit[:12]} waits for its turn: '
        f'{decision.reason}', waits=commit, ready=releases.ready())


def returned(
    context: Context, releases: Releases, wanted: config.Unikernel, kept: model.Release
) -> model.Outcome | None:
    """The outcome of going back from `kept`, where who went first with its image was rolled back;
    None where it may stay, also while the cluster cannot be asked. Raises Refused where it is only
    ready here: then what was live before is ready again, or nothing."""
    name, idle = releases.root.name, elsewhere(releases)
    order = _order(context, name, wanted)
    # Another image, not the same one as another mirage.yml had it.
    earlier = next((one.number for one in reversed(releases.served())
                    if one.blob != kept.blob), None)
    if order is None or (earlier is None and not idle):
        return None
    if idle and releases.current() is not None:  # it ended, and Pacemaker has not seen it yet
        return None
    try:
        me, standings = pacemaker.own(), _standings(pacemaker.seen(), name)
    except errors.Unavailable:
        return None
    if me not in standings:
        return None
    decision = rollout.may(kept.blob, me, standings, order, time.time())
    if not isinstance(decision, rollout.Stop) or not decision.back:
        return None
    if not idle:
        return rollback.turned_down(
            context, name, releases, kept, decision.reason, HINT.format(name), earlier)
    releases.set_ready(earlier)
    raise errors.Refused(decision.reason, HINT.format(name))


def over(state: store.Store, outcomes: list[model.Outcome]) -> None:
    """Forget what waited for its turn here, but for what waits on, as `outcomes` say."""
    waits = {outcome.unikernel for outcome in outcomes if outcome.kind == 'held'}
    for name in state.names():
        if name not in waits:
            state.of(name).set_held(None)


def _decided(
    me: str, name: str, blob: str, order: config.Rollout, stage: rollout.Stage
) -> rollout.Decision:
    """What is to be done once all were told that the image is at `stage` here."""
    _told(me, name, blob, stage)
    return rollout.may(blob, me, _standings(pacemaker.seen(), name), order, time.time())


def _told(me: str, name: str, blob: str, stage: rollout.Stage) -> None:
    was = standing.read(pacemaker.told().get(me, {}).get(name, {}))
    if (was.image, was.stage) == (blob, stage):
        return
    now = round(time.time())
    seen = was.seen if was.image == blob and was.seen else now
    pacemaker.tell(me, name, standing.written(msgspec.structs.replace(
        was, image=blob, stage=stage, since=now, seen=seen, reason='')))


def _standings(seen: pacemaker.Seen, name: str) -> dict[str, rollout.Standing]:
    """Of every host that ever told of `name`."""
    found = {}
    for node in seen.nodes.values():
        told = standing.read(node.told.get(name, {}))
        if told.image:
            found[node.name] = rollout.Standing(
                told.image, told.stage or 'waits', told.since, told.seen, told.reason,
                away=node.state != 'online', idle=not told.live)
    return found
