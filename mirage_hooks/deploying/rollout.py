"""May this host take that image now? From what every host told of it, and the clock: the whole
policy of a rollout, and nothing else.

A host that is told Go while it `waits` *claims* its turn: it tells that it is `taking` the image,
reads what all others told since, and asks once more. Told Go again, it takes it; told anything
else, it takes the claim back and `waits`. So two that claim at once see each other, and
they never go beyond `at_once`, where who reads after its own claim sees each claim that was made
before, of another image as well. Among those that wait the order decides: canaries first, then by
name.

Nobody takes what a canary refused, and who has what a canary's watcher rolled back goes back. The
refusal of another host is its own; what fell silent on any host, ended there or was rolled back,
goes no further.

A host may be online and not run it (banned from it, put in standby). In its turn it makes the image
ready, which is its last step: it holds up nobody, and is none of those that go first, unless a name
says so or the image was live there: what ended it on one host must not go through all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from .. import config

Stage = Literal['waits', 'taking', 'ready', 'serves', 'silent', 'ended', 'refused', 'left']
"""Of an image on a host: seen and waiting for its turn, being proved and switched to, made ready
where Pacemaker does not run it, live, live and silent, live before and not now, found to be bad
before it was live, or rolled back after."""


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a host told last: of which image (its sha256; '' of none yet), how far that is there
    and since when, why, and when it first saw it (seconds since 1970, by its own clock). `away`: it
    can neither take nor tell anything now, what it told before still stands. `idle`: Pacemaker does
    not run it there."""

    image: str = ''
    stage: Stage = 'waits'
    since: float = 0
    seen: float = 0
    reason: str = ''
    away: bool = False
    idle: bool = False

    def of(self, image: str) -> Standing:
        """What this says of `image`: of another one only that it is being taken now."""
        if self.image == image:
            return self
        taking = self.stage == 'taking' and not self.away
        return Standing(stage='taking' if taking else 'waits', away=self.away, idle=self.idle)


class Go(NamedTuple):
    """Take it, or go on with it where it serves already."""


class Wait(NamedTuple):
    """Not now; ask again."""

    reason: str


class Stop(NamedTuple):
    """Not any more, unless a person deploys it; `back`: who serves it goes back."""

    reason: str
    back: bool = False


Decision = Go | Wait | Stop
LIVED = ('serves', 'silent', 'ended', 'left')  # it was live there
Standings = Mapping[str, Standing]


def may(
    image: str, me: str, told: Standings, rollout: config.Rollout, now: float
) -> Decision:
    """Whether the host `me`, which has told that it saw `image`, may take it at `now` (seconds
    since 1970); `told` has each host that is to run it, `me` as well."""
    of = {host: one.of(image) for host, one in told.items()}
    mine, first = of[me], canaries(image, told, rollout)
    for host in first:
        if of[host].stage == 'left':
            return Stop(f'{host}, which goes first, was rolled back: {of[host].reason}', back=True)
    if mine.stage in ('ready', 'serves', 'silent'):
        return Go()
    return _stopped(of, me, first, rollout, now) or _held(of, me, first, rollout, now) or Go()


def canaries(image: str, told: Standings, rollout: config.Rollout) -> tuple[str, ...]:
    """The hosts that go first with `image`. Of a number the first by name of those that run it; who
    is away stays one of them only when it had begun to take it: else an image that ends hosts would
    go through all. Where nobody runs it, the first that are there."""
    if isinstance(rollout.canary, str):
        return (rollout.canary,) if rollout.canary in told else ()
    of = {host: one.of(image) for host, one in sorted(told.items())}
    there = [host for host, one in of.items() if one.stage in LIVED
             or (not one.idle and (not one.away or one.stage not in ('waits', 'ready')))]
    there = there or [host for host, one in of.items() if not one.away]
    return tuple(there[:rollout.canary])


def _stopped(
    of: Standings, me: str, first: tuple[str, ...], rollout: config.Rollout, now: float
) -> Stop | None:
    """Why `me`, where it is not live, may not take it any more."""
    mine = of[me]
    if mine.stage in ('refused', 'left'):
        return Stop(mine.reason)
    for host in first:
        if of[host].stage == 'refused':
            return Stop(f'{host}, which goes first, refused it: {of[host].reason}')
    for host, one in sorted(of.items()):
        if one.stage == 'left':
            return Stop(f'{host} was rolled back: {one.reason}')
    if _over(mine, rollout, now):
        held = _held(of, me, first, rollout, now)
        why = f': {held.reason}' if held else ''
        return Stop(f'the deadline of {rollout.deadline} is over{why}')
    return None


def _held(
    of: Standings, me: str, first: tuple[str, ...], rollout: config.Rollout, now: float
) -> Wait | None:
    """What `me` must wait for."""
    for host, one in sorted(of.items()):
        if host != me and one.away and one.stage in ('taking', 'serves', 'silent'):
            return Wait(f'{host} took it and is away')
        if one.stage == 'silent':
            return Wait(f'{host} took it and is silent: {one.reason}')
        if one.stage == 'ended' and not one.away and host != me:
            return Wait(f'{host} took it, and it does not run there any more')
    if me not in first and (wait := _not_proved(of, first, rollout, now)):
        return wait
    taking = [host for host, one in sorted(of.items()) if one.stage == 'taking' and host != me]
    if taking and len(taking) >= rollout.at_once and not all(of[host].image for host in taking):
        return Wait(f'{", ".join(taking)} {"takes" if len(taking) == 1 else "take"} another one')
    if of[me].stage == 'waits':
        order = sorted(of, key=lambda host: (host not in first, host))
        taking += [host for host in order[:order.index(me)]
                   if of[host].image and of[host].stage == 'waits' and not of[host].away
                   and not _over(of[host], rollout, now)]
    if len(taking) >= rollout.at_once:
        return Wait(f'{", ".join(taking)} {"takes" if len(taking) == 1 else "take"} it before')
    return None


def _over(one: Standing, rollout: config.Rollout, now: float) -> bool:
    """Counted from when that host could have taken it: one that comes late follows the others."""
    return now - one.seen >= config.seconds(rollout.deadline)


def _not_proved(
    of: Standings, first: tuple[str, ...], rollout: config.Rollout, now: float
) -> Wait | None:
    if not first:
        return Wait(f'{rollout.canary}, which goes first, is none of the hosts')
    for host in first:
        one = of[host]
        if one.stage == 'ready':
            return Wait(f'{host}, which goes first, has it ready and does not run it')
        if one.stage != 'serves':
            return Wait(f'{host}, which goes first, does not serve it yet')
        if (served := now - one.since) < config.seconds(rollout.after):
            return Wait(f'{host}, which goes first, has served it for {max(0, served):.0f} s '
                        f'of {rollout.after}')
    return None
