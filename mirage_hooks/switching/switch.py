"""Puts a new release in the place of the old one: prove first, touch what serves last."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from .. import config
from ..host import interruption, link, listeners, neighbours, ports, xen
from ..messages import errors
from ..state import files, model
from ..state.releases import Releases
from . import asked, consoles, ended, health, launcher

EPHEMERAL = Path('/proc/sys/net/ipv4/ip_local_port_range')
LOW = 10_000  # below are the ports that people choose
NUMBERED = Path('/proc/self/ns/pid')  # containers on one network number their processes alike
FAR = 7919  # a prime: ports between the first processes of two such
HEARD = 3.0  # seconds in which a release on a bridge should be heard

Say = Callable[[str], None]


def spare_port(but: int = 0) -> int:
    """A TCP port of this host that is free now, another one than `but`, and that the kernel gives
    to no connection meanwhile; where there is none of these, any. The image takes it some time
    later: what else seeks one now has another process number, and so finds another."""
    import socket

    lowest = int(EPHEMERAL.read_text().split()[0])
    below = range(LOW, lowest)
    first = os.getpid() + FAR * NUMBERED.stat().st_ino
    own = [below[(first + step) % len(below)] for step in range(0, 50_000, 1000) if below]
    for port in (*(one for one in own if one != but), 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(('127.0.0.1', port))
            return int(probe.getsockname()[1])
    raise errors.Unavailable('no TCP port of 127.0.0.1 is free')


def rehearse(
    releases: Releases, release: model.Release, plan: model.Plan,
    questions: asked.Asked, spare: int, say: Say, judge: asked.Judge | None = None,
) -> None:
    """Run `plan`, the release on the port `spare`, and end it again; raises Refused when it does
    not serve there, or `judge` does. What serves is not touched."""
    folder = releases.folder(release.number)
    say(f'trying release {release.number} on a spare port')
    for text in questions.said:
        say(text)
    try:
        printed = consoles.printing(lambda: folder / files.CONSOLE)
        launcher.spawn(folder, plan)
        tried = msgspec.structs.replace(release, plan=plan)
        health.prove(questions.now, printed, _tried(releases, tried), questions.own)
        over_tcp = any(one.http or one.tcp or one.dns for one in questions.now)
        if over_tcp and not launcher.listens(folder, spare):
            raise errors.Unavailable(
                f'port {spare}, on which it was tried, is held by another program',
                hint='try again: mirage-hooks deploy, or push again',
            )
        if judge is not None:
            judge(questions.own[0], spare)
    finally:
        launcher.end(folder)
    consoles.set_apart(releases, release)


def replace(
    releases: Releases, owner: str, old: model.Release | None, new: model.Release,
    wanted: config.Unikernel, say: Say,
) -> None:
    """Stop `old`, start `new`, prove it, point to it. When `new` fails, `old` is started again and
    Refused says why."""
    if old is not None:
        asked.require_in_front(wanted)
    try:
        if old is not None:
            say(f'stopping release {old.number}')
            launcher.stop(releases, old)
        begin(releases, owner, new, wanted, say)
        with interruption.held():
            releases.point(new.number)
    except BaseException:  # also when a person interrupts it: nothing serves now
        with interruption.held():
            if is_live(releases, new):
                raise
            launcher.stop(releases, new)
            if old is not None and not launcher.alive(releases, old):
                say(f'starting release {old.number} again')
                with contextlib.suppress(errors.Refused):  # the caller tries again, and says so
                    launcher.start(releases, old, owner)
        raise


def is_live(releases: Releases, release: model.Release) -> bool:
    """Whether it is the one that is pointed to."""
    current = releases.current()
    return current is not None and current.number == release.number


def begin(
    releases: Releases, owner: str, release: model.Release, wanted: config.Unikernel, say: Say
) -> None:
    """Start `release` and wait until it serves; raises Refused when it does not."""
    if isinstance(wanted.network, config.Socket) and wanted.network.port is not None:
        ports.require_free(wanted.network.address, wanted.network.port)
    say(f'starting release {release.number}')
    shares = wanted.shares and not release.plan.unit
    printed = launcher.start(releases, release, owner,
                             listeners.Ports(datagrams=wanted.port or 0) if shares else None)
    gone = dead(releases, release)
    _introduce(release, gone)
    health.prove(health.questions(wanted), printed, gone)
    health.watch(config.seconds(wanted.confirm), gone)
    # Not before: who answers on its first port may be about to listen on its second.
    launcher.let_go(releases, release)


def _introduce(release: model.Release, gone: health.Dead) -> None:
    """Tell the neighbours where `release` is now. unix/direct takes another hardware address at
    each start, and what it says of it then is lost: its port of the bridge comes up when the
    kernel has seen that its tap was opened, which may take a second."""
    if release.plan.target != 'unix' or release.network is None or os.geteuid() != 0:
        return
    address, bridge = link.addresses(release.network)[0], release.plan.taps[0].bridge
    limit = time.monotonic() + HEARD
    while not gone() and time.monotonic() < limit:
        if mac := neighbours.ask(bridge, address, within=0.2):
            return link.announce(release, mac)


def dead(releases: Releases, release: model.Release) -> health.Dead:
    """Why `release` no longer runs, whenever asked. What systemd starts again has ended."""
    def refusal() -> errors.Refused | None:
        xen.forget()
        again = release.plan.unit and launcher.ended(releases, release) is not None
        if launcher.alive(releases, release) and not again:
            return None
        return ended.how(releases, release, launcher.ended(releases, release)).refusal

    return refusal


def _tried(releases: Releases, release: model.Release) -> health.Dead:
    """The same of a trial, which is a child of ours."""
    def refusal() -> errors.Refused | None:
        code = launcher.exited(releases.folder(release.number))
        return None if code is None else ended.how(releases, release, code).refusal

    return refusal
