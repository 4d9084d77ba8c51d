"""A trial: the new image serves, or does not, while nothing of what serves is touched: neither its
port, nor its address, nor its disks."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from .. import config, targets
from ..host import disks
from ..messages import errors
from ..state import model
from ..state.releases import Releases
from ..switching import asked, certified, leasing, overlap, switch
from .context import Context

SHARING = ('unix', 'virtio', 'xen')  # what opens a disk that is `read_only` for reading alone


def held(
    context: Context, releases: Releases, wanted: config.Unikernel, new: model.Release,
    request: targets.Request, judge: asked.Judge | None = None,
) -> bool:
    """Try `new`, planned from `request`, on a spare port, or at its own address on a stage; False
    where neither can be. Raises Refused when it does not serve there, or `judge` does."""
    say, lease = context.say(new.unikernel), None
    wanted = certified.starting(wanted, releases, new)
    spare = switch.spare_port() if wanted.port is not None else None
    if leasing.concerns(wanted):
        try:
            serving = context.state.of(new.unikernel).current()
            new, lease = leasing.apart(context.owner, new, serving)
        except leasing.Lost as lost:
            say(f'not tried: {lost.reason}')
            return False
    elif spare is None and not overlap.possible(None, new, wanted):
        return False
    request, ports = _moved(request, spare)
    apart, copies = _apart(request, spare)
    with contextlib.ExitStack() as kept:
        try:
            plan = targets.plan(apart)
            kept.enter_context(disks.copied(copies, targets.user(request)))
        except errors.Refused as refused:
            if not copies:
                raise
            say(f'not tried, for a trial must not write to its disks: {refused.reason}')
            return False
        if spare is not None:
            switch.rehearse(
                releases, new, plan, asked.on_port(wanted, spare, ports), spare, say, judge)
        else:
            tried = msgspec.structs.replace(new, plan=plan)
            overlap.rehearse(releases, context.owner, tried, wanted, say, lease, judge)
    return True


def needed(wanted: config.Unikernel, next_to: bool) -> bool:
    """Whether a new release is to be tried: `next_to` what serves it proves itself on its way, but
    with the disks that it would then write to."""
    return not next_to or any(not block.read_only for block in wanted.blocks.values())


def _moved(
    request: targets.Request, spare: int | None
) -> tuple[targets.Request, dict[int, int]]:
    """`request` with a spare port for HTTPS, too, and which ports stand for those that it has: the
    release that serves has these."""
    if spare is None or request.wanted.port is None:
        return request, {}
    ports, secure = {request.wanted.port: spare}, certified.port(request.wanted)
    if secure is None or secure in ports:
        return request, ports
    ports[secure] = switch.spare_port(spare)
    wanted = certified.moved(request.wanted, ports[secure])
    return msgspec.structs.replace(request, wanted=wanted), ports


def _apart(
    request: targets.Request, spare: int | None
) -> tuple[targets.Request, dict[Path, Path]]:
    """`request` on the `spare` port with disks of its own, and of what they are the copies. systemd
    would start what ends again, and a trial is to be seen ending."""
    host = msgspec.structs.replace(request.host, systemd='')
    blocks, copies = dict(request.wanted.blocks), {}
    for device, block in blocks.items():
        if not (block.read_only and request.target in SHARING):
            copy = Path(request.folder) / f'disk-{device}'
            blocks[device] = msgspec.structs.replace(block, path=str(copy))
            copies[copy] = Path(block.path)
    wanted = msgspec.structs.replace(request.wanted, blocks=blocks)
    if spare is not None and isinstance(wanted.network, config.Socket):
        own = msgspec.structs.replace(wanted.network, port=spare)
        wanted = msgspec.structs.replace(wanted, network=own)
    return msgspec.structs.replace(request, wanted=wanted, host=host), copies
