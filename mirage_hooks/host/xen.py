"""Xen's domains, through `xl`: listed, created, destroyed."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import msgspec

from ..messages import errors
from ..state import model
from . import programs

# xenconsoled's own default, and what some distributions tell it.
CONSOLES = (Path('/var/log/xen/console'), Path('/var/log/xen'))
XL_LOGS = Path('/var/log/xen')  # where each domain's own xl, which waits for its end, writes
WORDS = 10  # lines
SILENT = (
    'it left no console: let xenconsoled log it (Debian: XENCONSOLED_ARGS=--log=guest in '
    '/etc/default/xen, then restart xenconsoled), and look at `xl dmesg`'
)
BOOTED = Path('/sys/hypervisor/type')  # there under Xen
SAME = 1.0  # seconds
PATIENCE = 5.0  # seconds that a dying domain may take

_said: dict[str, tuple[float, dict[str, bool]]] = {}
"""When Xen was asked last, by the monotonic clock, and what it said."""


def domains() -> dict[str, bool]:
    """Every domain's name and whether it runs: `xl list` shows s, c or d for one that does not.
    None where this host was not booted into Xen."""
    try:
        listed = programs.run('xl', 'list')
    except errors.Unavailable:
        if BOOTED.exists():
            raise
        return {}
    found = {}
    for line in listed.splitlines()[1:]:
        name, _, _, _, state, _ = line.rsplit(None, 5)
        found[name] = not set(state) & set('scd')
    return found


def runs(domain: str) -> bool:
    """Whether `domain` runs, as Xen said at most SAME seconds ago: one deployment asks this many
    times."""
    at, found = _said.get('', (0.0, {}))
    if time.monotonic() > at + SAME:
        found = domains()
        _said[''] = (time.monotonic(), found)
    return found.get(domain, False)


def forget() -> None:
    """Have Xen asked anew: it matters whether a domain runs just now."""
    _said.clear()


class Domain(msgspec.Struct, frozen=True):
    """A domain that runs, with the hardware addresses of its interfaces, in small letters, as far
    as xl tells them."""

    name: str
    macs: tuple[str, ...] = ()


def described() -> list[Domain]:
    """The domains that run, and their interfaces."""
    running = [name for name, runs in domains().items() if runs and name != 'Domain-0']
    listed = programs.run('xl', 'list', '-l') if running else '[]'
    try:
        known = msgspec.json.decode(listed, type=list[_Listed])
    except msgspec.DecodeError:  # before Xen 4.5 it was no JSON
        known = []
    macs = {one.config.c_info.name: tuple(nic.mac.lower() for nic in one.config.nics)
            for one in known}
    return [Domain(name, macs.get(name, ())) for name in running]


class _Nic(msgspec.Struct):
    mac: str = ''


class _Named(msgspec.Struct):
    name: str = ''


class _Config(msgspec.Struct):
    c_info: _Named = msgspec.field(default_factory=_Named)
    nics: list[_Nic] = []


class _Listed(msgspec.Struct):
    """One domain in what `xl list -l` prints."""

    config: _Config = msgspec.field(default_factory=_Config)


def create(plan: model.Plan) -> None:
    """Create `plan`'s domain, anew when one of its name is left over."""
    destroy(plan.domain)
    _said.clear()
    try:
        programs.run(*plan.command)
    except errors.Unavailable as error:
        if 'memory' not in error.reason.lower():
            raise
        raise errors.Unavailable(error.reason, hint=(
            'Xen has too little memory for it: lower `memory:`, or, where two do not fit next to '
            'each other, say `switch: replace` in mirage.yml'
        )) from None


def destroy(domain: str) -> None:
    """Destroy `domain`, if it is there. One that has crashed may refuse to go (rc -15): it serves
    nothing, so it is renamed to leave its name free; raises Unavailable for one that runs on."""
    _said.clear()
    limit = time.monotonic() + PATIENCE
    while (known := domains()) and domain in known:
        try:
            programs.run('xl', 'destroy', domain)
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


def last_words(domain: str) -> tuple[str, ...]:
    """What xl and Xen itself say of the last `domain` of this name, which ended without a console:
    why it was shut down, and what the hypervisor logged of it."""
    try:
        lines = (XL_LOGS / f'xl-{domain}.log').read_text(errors='replace').splitlines()
    except OSError:
        return ()
    number = next((found[1] for line in reversed(lines)
                   if (found := re.search(r'(?:\(domid |^Domain )(\d+)', line))), None)
    logged = []
    if number is not None:
        with contextlib.suppress(errors.Unavailable):  # an ordinary user may not ask
            logged = [line for line in programs.run('xl', 'dmesg').splitlines()
                      if re.match(rf'\(XEN\) .*\bd{number}(v\d+)?\b|\(d{number}\) ', line)]
    return tuple([*logged, *(line for line in lines if line.startswith('Domain '))][-WORDS:])


def _put_aside(domain: str) -> None:
    try:
        number = programs.run('xl', 'domid', domain).strip()
        programs.run('xl', 'rename', domain, f'dead-{number}-{domain}')
    except errors.Unavailable:
        if domain in domains():  # else it went after all
            raise
