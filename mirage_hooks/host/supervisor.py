"""Releases under systemd: started, asked and ended through its commands."""

from __future__ import annotations

import msgspec

from ..messages import errors
from ..state import model
from . import programs


class State(msgspec.Struct, frozen=True):
    """What systemd knows of a unit; `code` is how its process last ended, None before it did, and
    `lived` for how many seconds it had run then; `starved`, whether the kernel killed it because it
    had used up its memory; `restarts`, how often systemd has started it again."""

    active: bool = False
    pid: int = 0
    code: int | None = None
    lived: float | None = None
    starved: bool = False
    restarts: int = 0


def start(plan: model.Plan) -> int:
    """Run `plan`'s unit; its process. Raises Refused when it does not even start."""
    stop(plan)  # a failed unit of the same name would be in the way
    try:
        programs.run(*plan.command, shown=1)
    except errors.Unavailable as error:
        raise errors.Unavailable(
            error.reason, hint=f'`{" ".join(_systemctl(plan))} status {plan.unit}` tells more'
        ) from None
    return state(plan).pid


def state(plan: model.Plan) -> State:
    """`plan`'s unit now; a unit that systemd does not know is not active."""
    said = programs.run(
        *_systemctl(plan), 'show', '--property=ActiveState,MainPID,ExecMainCode,ExecMainStatus,'
        'NRestarts,Result,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic', plan.unit
    )
    found = dict(line.split('=', 1) for line in said.splitlines() if '=' in line)
    active = found['ActiveState'] in ('active', 'activating')
    killed = found['ExecMainCode'] in ('2', '3')  # CLD_KILLED, CLD_DUMPED
    code = int(found['ExecMainStatus']) + (128 if killed else 0)
    ended = found['ExecMainCode'] != '0' or found['NRestarts'] != '0'
    began, end = (int(found.get(f'ExecMain{moment}TimestampMonotonic') or 0)
                  for moment in ('Start', 'Exit'))
    lived = (end - began) / 1e6 if end >= began > 0 else None
    return State(
        active, int(found['MainPID']), code if ended else None, lived,
        found.get('Result') == 'oom-kill', int(found['NRestarts']),
    )


def stop(plan: model.Plan) -> None:
    """End `plan`'s unit, and let systemd forget how it ended."""
    command = _systemctl(plan)
    known = programs.run(*command, 'list-units', '--all', '--plain', '--no-legend', plan.unit)
    if known.strip():
        programs.run(*command, 'stop', plan.unit)
    if programs.run(*command, 'list-units', '--all', '--plain', '--no-legend', plan.unit).strip():
        programs.run(*command, 'reset-failed', plan.unit)


def units(plans: list[model.Plan]) -> list[model.Plan]:
    """Those of `plans` whose units systemd still runs."""
    return [plan for plan in plans if plan.unit and state(plan).active]


def _systemctl(plan: model.Plan) -> tuple[str, ...]:
    return ('systemctl', '--user') if plan.command[1] == '--user' else ('systemctl',)
