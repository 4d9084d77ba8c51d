"""Xen's domains, through `xl`: listed, created, destroyed."""

from __future__ import annotations

import re
import time
from pathlib import Path

from .. import errors, model
from . import system

# xenconsoled's own default, and what some distributions tell it.
CONSOLES = (Path('/var/log/xen/console'), Path('/var/log/xen'))
PATIENCE = 5.0  # seconds that a dying domain may take


def domains() -> dict[str, bool]:
    """Every domain's name and whether it runs: `xl list` shows s, c or d for one that does not."""
    found = {}
    for line in system.run('xl', 'list').splitlines()[1:]:
        name, _, _, _, state, _ = line.rsplit(None, 5)
        found[name] = not set(state) & set('scd')
    return found


def require_alone(unikernel: str) -> None:
    """Raise Unavailable while a domain of the unikernel's own name runs, as the scripts before us
    made it. Ours end in the release's number: where the name ends so too, it may be ours."""
    if not re.search(r'-[0-9]+$', unikernel) and domains().get(unikernel, False):
        raise errors.Unavailable(
            f'the domain {unikernel} runs and is not ours: it may hold the address',
            hint=f'xl destroy {unikernel}, then mirage-hooks deploy',
        )


def create(plan: model.Plan) -> None:
    """Create `plan`'s domain, anew when one of its name is left over."""
    destroy(plan.domain)
    try:
        system.run(*plan.command)
    except errors.Unavailable as error:
        if 'memory' not in error.reason.lower():
            raise
        raise errors.Unavailable(error.reason, hint=(
            'Xen has too little memory for it: lower `memory:`, or, where two do not fit beside '
            'each other, say `switch: replace` in mirage.yml'
        )) from None


def destroy(domain: str) -> None:
    """Destroy `domain`, if it is there. One that has crashed may refuse to go (rc -15): it serves
    nothing, so it is renamed to leave its name free; raises Unavailable for one that runs on."""
    limit = time.monotonic() + PATIENCE
    while (known := domains()) and domain in known:
        try:
            system.run('xl', 'destroy', domain)
        except errors.Unavailable:
            if time.monotonic() > limit:
                if domains().get(domain, False):
                    raise
                return _put_aside(domain)
        time.sleep(0.05)
        if time.monotonic() > limit + PATIENCE:
            return _put_aside(domain)


def console(domain: str) -> Path:
    """Where xenconsoled logs the console of `domain`, when it is told to log."""
    paths = [folder / f'guest-{domain}.log' for folder in CONSOLES]
    return next((path for path in paths if path.exists()), paths[0])


def _put_aside(domain: str) -> None:
    try:
        number = system.run('xl', 'domid', domain).strip()
        system.run('xl', 'rename', domain, f'dead-{number}-{domain}')
    except errors.Unavailable:
        if domain in domains():  # else it went after all
            raise
