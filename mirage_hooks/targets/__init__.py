"""What an image can run on: each target turns unikernel + image + slot into a Plan, purely. Knows
what its Request says of this host, and touches nothing: no file, no process, no network."""

from __future__ import annotations

from collections.abc import Callable

from ..state import model
from . import arguments, qemu, sandbox, solo5, unit, unix, xen
from .request import Request, tender
from .sandbox import FIRST_USER, user

__all__ = ['FIRST_USER', 'TABLE', 'Request', 'plan', 'question', 'tender', 'user', 'write']

TABLE: dict[str, Callable[[Request], model.Plan]] = {
    'unix': unix.plan,
    'spt': solo5.plan,
    'hvt': solo5.plan,
    'virtio': qemu.plan,
    'xen': xen.plan,
}


def plan(request: Request) -> model.Plan:
    """How to run the image; raises Refused when the configuration does not fit it."""
    return unit.kept(request, TABLE[request.target](request))


def question(request: Request) -> tuple[str, ...]:
    """The command that asks a unix image for its options, in its sandbox and without a network."""
    command = (sandbox.image(request), '--help=plain')
    walled = sandbox.walled(request, command, sandbox.Needs())
    if walled[0] != 'bwrap':
        return walled
    return (walled[0], '--unshare-net', '--die-with-parent', *walled[1:])


def write(encoding: model.Encoding, text: str) -> str:
    """A secret's `text` as its place in a plan wants it."""
    if encoding == 'plain':
        return text
    line = arguments.escaped(text)
    return line if encoding == 'line' else xen.quoted(line)[1:-1]
