"""Who takes a new image when: by a table, and by hosts that hypothesis has act in any order, each
between any two lines of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_hooks import config
from mirage_hooks.deploying import rollout as rollouts
from mirage_hooks.deploying.rollout import Decision, Go, Stage, Standing, Stop, Wait

T = 1_000_000_000.0
RULE = config.Rollout()
AFTER, DEADLINE = 600.0, 1800.0  # of RULE
WHY = 'http://a/ did not answer'


def told(
    stage: Stage = 'waits', ago: float = 0, seen: float = 60, away: bool = False, idle: bool = False
) -> Standing:
    """A host that is so with the image since `ago` seconds, and saw it `seen` seconds ago."""
    why = WHY if stage not in ('waits', 'ready', 'ended') else ''
    return Standing('new', stage, T - ago, T - seen, why, away, idle)


NONE = Standing('old', 'serves', T - 9e6, T - 9e6)
GOOD = told('serves', AFTER, AFTER)
BANNED = told('ready', 9, AFTER, idle=True)
OTHER = Standing('other', 'taking', T, T)


@pytest.mark.parametrize(('hosts', 'may'), [
    ({'a': told(), 'b': told(), 'c': told()},
     (Go(), Wait('a, which goes first, does not serve it yet'),
      Wait('a, which goes first, does not serve it yet'))),
    ({'a': told('taking'), 'b': told()},
     (Go(), Wait('a, which goes first, does not serve it yet'))),
    ({'a': told('serves', 599), 'b': told()},
     (Go(), Wait('a, which goes first, has served it for 599 s of 10m'))),
    ({'a': GOOD, 'b': told(), 'c': told()}, (Go(), Go(), Wait('b takes it before'))),
    ({'a': GOOD, 'b': NONE, 'c': told()}, (Go(), None, Go())),
    ({'a': GOOD, 'b': told(), 'c': told('taking')}, (Go(), Wait('c takes it before'), Go())),
    ({'a': GOOD, 'b': told('taking'), 'c': told('taking')},
     (Go(), Wait('c takes it before'), Wait('b takes it before'))),
    ({'a': told('refused'), 'b': told()},
     (Stop(WHY), Stop(f'a, which goes first, refused it: {WHY}'))),
    ({'a': told('silent'), 'b': told('serves'), 'c': told()},
     (Go(), Go(), Wait(f'a took it and is silent: {WHY}'))),
    ({'a': told('left'), 'b': told('serves'), 'c': told()},
     (Stop(f'a, which goes first, was rolled back: {WHY}', back=True),) * 3),
    ({'a': GOOD, 'b': told('refused'), 'c': told()}, (Go(), Stop(WHY), Go())),
    ({'a': GOOD, 'b': told('left'), 'c': told()},
     (Go(), Stop(WHY), Stop(f'b was rolled back: {WHY}'))),
    ({'a': GOOD, 'b': told('silent'), 'c': told()},
     (Go(), Go(), Wait(f'b took it and is silent: {WHY}'))),
    ({'a': told('serves', 9, away=True), 'b': told()},
     (Go(), Wait('a took it and is away'))),
    ({'a': told(away=True), 'b': told(), 'c': told()},
     (None, Go(), Wait('b, which goes first, does not serve it yet'))),
    ({'a': told('serves', 9), 'b': told(seen=DEADLINE)},
     (Go(), Stop('the deadline of 30m is over: a, which goes first, has served it for 9 s of '
                 '10m'))),
    ({'a': GOOD, 'b': told(seen=DEADLINE), 'c': told()},
     (Go(), Stop('the deadline of 30m is over'), Go())),
    ({'a': told('serves', 9e6, 9e6), 'b': told(seen=0)}, (Go(), Go())),
    ({'a': GOOD, 'b': BANNED, 'c': told()}, (Go(), None, Go())),
    ({'a': GOOD, 'b': told(idle=True), 'c': told()}, (Go(), Go(), Wait('b takes it before'))),
    ({'a': told(idle=True), 'b': told(), 'c': told()},
     (Wait('b, which goes first, does not serve it yet'), Go(),
      Wait('b, which goes first, does not serve it yet'))),
    ({'a': BANNED, 'b': GOOD, 'c': told()}, (Go(), Go(), Go())),
    ({'a': told('refused', idle=True), 'b': GOOD, 'c': told()}, (Stop(WHY), Go(), Go())),
    ({'a': told('ended', idle=True), 'b': told(), 'c': told()},
     (None, Wait('a took it, and it does not run there any more'),
      Wait('a took it, and it does not run there any more'))),
    ({'a': GOOD, 'b': told('ended', idle=True), 'c': told()},
     (Go(), None, Wait('b took it, and it does not run there any more'))),
    ({'a': GOOD, 'b': told('ended', away=True, idle=True), 'c': told()}, (Go(), None, Go())),
    ({'a': BANNED, 'b': told(idle=True)},
     (Go(), Wait('a, which goes first, has it ready and does not run it'))),
    ({'a': GOOD, 'b': OTHER, 'c': told()}, (Go(), None, Wait('b takes another one'))),
    ({'a': OTHER, 'b': told()}, (None, Wait('a, which goes first, does not serve it yet'))),
    ({'a': told(), 'b': OTHER}, (Wait('b takes another one'), None)),
    ({'a': GOOD, 'b': msgspec.structs.replace(OTHER, away=True), 'c': told()}, (Go(), None, Go())),
    ({'a': GOOD, 'b': Standing('other', 'silent', T, T), 'c': told()}, (Go(), None, Go())),
], ids=[
    'the first by name goes first', 'it begins', 'not long enough', 'then one at a time',
    'who has not seen it holds up nobody', 'whoever claimed is waited for',
    'two that claimed at once',
    'refused by the canary', 'silent there', 'rolled back there', 'refused elsewhere',
    'rolled back elsewhere', 'silent elsewhere', 'gone with it', 'away before it took it',
    'over before it was proved', 'over', 'a host that comes late follows',
    'who only has it ready holds up nobody', 'nor is it passed over', 'nor does it go first',
    'whether or not it has it ready', 'what it refuses is its own', 'unless it ended there',
    'ended elsewhere', 'ended by a person, who put it in standby', 'nobody runs it',
    'another image is taken elsewhere', 'where it is to go first', 'before the first takes it',
    'another was taken by who is away', 'another is silent, which this one may mend',
])
def test_what_is_told_decides(
    hosts: dict[str, Standing], may: tuple[Decision | None, ...]
) -> None:
    for host, wanted in zip(hosts, may, strict=True):
        assert wanted in (None, rollouts.may('new', host, hosts, RULE, T)), host


def test_a_canary_that_is_named_goes_first() -> None:
    rule = config.Rollout(canary='c')
    hosts = {'a': told(), 'b': told(), 'c': told()}
    assert rollouts.may('new', 'c', hosts, rule, T) == Go()
    assert rollouts.may('new', 'a', hosts, rule, T) == Wait(
        'c, which goes first, does not serve it yet')
    hosts['c'] = BANNED
    assert rollouts.may('new', 'a', hosts, rule, T) == Wait(
        'c, which goes first, has it ready and does not run it')
    del hosts['c']
    assert rollouts.may('new', 'a', hosts, rule, T) == Wait(
        'c, which goes first, is none of the hosts')


NAMES = ('a', 'b', 'c', 'd')
rules = st.builds(
    config.Rollout, canary=st.sampled_from([1, 2, 4, 'b', 'c']),
    at_once=st.integers(1, 3), after=st.just('10m'), deadline=st.sampled_from(['11m', '30m']))


class Fleet:
    """Hosts that tell each other, as a cluster's attributes do: each reads what was written."""

    def __init__(
        self, rule: config.Rollout, bad: dict[str, Stage], behind: Sequence[str] = ()
    ) -> None:
        self.rule, self.bad, self.now, self.behind = rule, bad, T, behind
        self.told = dict.fromkeys(NAMES, NONE)
        self.acts = {host: self.act(host) for host in NAMES}
        self.switching: set[str] = set()
        self.began: dict[str, float] = {}

    def image(self, host: str) -> str:
        return 'other' if host in self.behind else 'new'

    def tell(self, host: str, stage: Stage) -> None:
        image = self.image(host)
        seen = self.told[host].seen if self.told[host].image == image else self.now
        self.told[host] = Standing(image, stage, self.now, seen, WHY)

    def may(self, host: str) -> Decision:
        return rollouts.may(self.image(host), host, self.told, self.rule, self.now)

    def act(self, host: str) -> Iterator[None]:
        """All that a host does; between two yields others act."""
        self.tell(host, 'waits')
        yield
        while True:
            if self.may(host) == Go():
                yield  # what it read is old by now
                self.tell(host, 'taking')
                yield
                if self.may(host) == Go():
                    break
                self.tell(host, 'waits')
            yield
        self.switching.add(host)
        self.began[host] = self.now
        yield
        self.switching.remove(host)
        for stage in ('refused',) if self.bad.get(host) == 'refused' else ('serves', 'silent'):
            self.tell(host, stage)  # type: ignore[arg-type]
            if host not in self.bad:
                break
            yield
        if self.bad.get(host) == 'left':
            self.tell(host, 'left')
        while True:
            yield

    def seen(self, host: str) -> float:
        return self.told[host].seen


Steps = list[tuple[str, float]]
steps = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([0.0, 0.0, 1.0, 300.0])),
                 max_size=150)
bads = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(['refused', 'silent', 'left']))


@given(rule=rules, bad=bads, acts=steps)
def test_hosts_that_act_in_any_order_keep_to_the_rollout(
    rule: config.Rollout, bad: dict[str, Stage], acts: Steps
) -> None:
    fleet = Fleet(rule, bad)
    first = rollouts.canaries('new', fleet.told, rule)
    for host, passed in acts:
        fleet.now += passed
        before = set(fleet.began)
        next(fleet.acts[host])
        assert len(fleet.switching) <= rule.at_once
        for new in set(fleet.began) - before:
            assert fleet.now - fleet.seen(new) < config.seconds(rule.deadline)
            assert new in first or all(fleet.told[one].stage == 'serves' and
                                       fleet.now - fleet.told[one].since >= AFTER for one in first)
    if any(fleet.told[one].stage == 'left' for one in first):
        assert all(fleet.may(one) == Stop(fleet.may(one)[0], back=True)  # type: ignore[misc]
                   for one in NAMES if fleet.told[one].image == 'new')


@given(rule=rules, behind=st.lists(st.sampled_from(NAMES)), acts=steps)
def test_hosts_that_take_two_images_keep_to_at_once(
    rule: config.Rollout, behind: list[str], acts: Steps
) -> None:
    fleet = Fleet(rule, {}, behind)
    for host, passed in acts:
        fleet.now += passed
        next(fleet.acts[host])
        assert len(fleet.switching) <= rule.at_once


@given(rule=rules.filter(lambda rule: rule.deadline == '30m'), acts=steps,
       order=st.permutations(NAMES))
def test_a_good_image_reaches_everybody(
    rule: config.Rollout, acts: Steps, order: list[str]
) -> None:
    """Whatever came first, hosts that go on looking every ten seconds end in time."""
    fleet = Fleet(rule, {})
    for host, _ in acts:
        next(fleet.acts[host])
    for _ in range(150):
        for host in order:
            next(fleet.acts[host])
        fleet.now += 10
    assert {one.stage for one in fleet.told.values()} == {'serves'}


@given(rule=rules, bad=bads.filter(bool), order=st.permutations(NAMES))
def test_a_bad_image_is_taken_by_canaries_alone(
    rule: config.Rollout, bad: dict[str, Stage], order: list[str]
) -> None:
    fleet = Fleet(rule, dict.fromkeys(NAMES, next(iter(bad.values()))))
    for _ in range(400):
        for host in order:
            next(fleet.acts[host])
        fleet.now += 10
    first = rollouts.canaries('new', fleet.told, rule)
    assert set(fleet.began) <= set(first)
    assert len(fleet.began) <= max(1, min(rule.at_once, len(first)))


standings = st.fixed_dictionaries({host: st.builds(
    Standing, image=st.sampled_from(['new', 'new', 'old']),
    stage=st.sampled_from(['waits', 'waits', 'taking', 'ready', 'serves', 'silent', 'ended',
                           'refused', 'left']),
    since=st.floats(T - 2000, T), seen=st.floats(T - 2000, T), reason=st.just(WHY),
    away=st.booleans(), idle=st.booleans()) for host in NAMES})


@given(rule=rules, hosts=standings, later=st.floats(0, 4000))
def test_time_alone_takes_no_turn_back_before_the_deadline(
    rule: config.Rollout, hosts: dict[str, Standing], later: float
) -> None:
    hosts['a'] = Standing('new', 'waits', T, T)
    now, then = (rollouts.may('new', 'a', hosts, rule, at) for at in (T, T + later))
    if isinstance(now, Stop):
        assert then == now
    if isinstance(now, Go):
        assert then == (Go() if later < config.seconds(rule.deadline) else Stop(
            f'the deadline of {rule.deadline} is over'))
