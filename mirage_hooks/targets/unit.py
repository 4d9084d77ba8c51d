"""systemd keeps a release alive: its process becomes a transient unit."""

from __future__ import annotations

import msgspec

from ..state import model
from . import sandbox
from .request import Request

# The tender's own errors, cmdliner's, and that of a wrong configuration (78, EX_CONFIG): the same
# image would end so again.
FOR_GOOD = (1, 60, 61, 62, 63, 64, 78)
QEMU = 512  # MB that QEMU takes next to its guest's memory
MARK = 'MIRAGE_HOOKS_RELEASE'


def kept(request: Request, plan: model.Plan) -> model.Plan:
    """`plan` under systemd where the host has one, else in a group of its own where it can be.
    Xen's domains are Xen's to keep."""
    if plan.domain:
        return plan
    if not request.host.systemd:
        return msgspec.structs.replace(plan, group=_group(request))
    unit = f'mirage-hooks-{request.seed}-{request.unikernel}-{request.number}.service'
    properties = (
        'Type=exec', 'Restart=on-failure', 'RestartSec=2',
        # ten times in ten minutes, then converge goes on with longer pauses
        'StartLimitIntervalSec=600', 'StartLimitBurst=10',
        f'RestartPreventExitStatus={" ".join(map(str, FOR_GOOD))}',
        'TimeoutStopSec=5', f'TasksMax={sandbox.TASKS}',
        f'MemoryMax={_memory(request)}M', 'MemorySwapMax=0',
        *((f'CPUQuota={request.wanted.cpu}%',) if request.wanted.cpu else ()),
        f'StandardOutput=append:{request.folder}/console.log',
        f'StandardError=append:{request.folder}/console.log',
    )
    return msgspec.structs.replace(plan, unit=unit, command=(
        'systemd-run', *(('--user',) if request.host.systemd == 'user' else ()), '--quiet',
        f'--unit={unit}', f'--description=unikernel {request.unikernel}',
        f'--setenv={MARK}={request.folder}', *(f'--property={one}' for one in properties), '--',
        # systemd puts variables in the place of $NAME, and $ in the place of $$.
        *(word.replace('$', '$$') for word in plan.command),
    ))


def _group(request: Request) -> model.Group | None:
    if not request.host.cgroups:
        return None
    name = f'mirage-hooks-{request.seed}-{request.unikernel}-{request.number}'
    return model.Group(name, _memory(request), sandbox.TASKS)


def _memory(request: Request) -> int:
    """MB of everything: what the unikernel has, and what its process takes next to it."""
    over = QEMU if request.target == 'virtio' else sandbox.OVERHEAD
    return request.wanted.memory + over
