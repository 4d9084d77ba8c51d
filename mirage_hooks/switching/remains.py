"""What is left on this host of a unikernel that does not serve: Pacemaker starts it elsewhere only
where nothing is."""

from __future__ import annotations

import os
from pathlib import Path

from ..host import facts, processes, programs, supervisor, xen
from ..state.releases import Releases

STATES = ('.git/mirage-hooks', 'mirage-hooks')  # of a clone, of a bare repository


def of(releases: Releases) -> str:
    """What lives of what is live, or of what was being started when somebody was killed; '' for
    nothing. What is on trial is apart from all wires, and is not told."""
    numbers = [one.number for one in releases.wanted()]
    if releases.changing() is not None:
        numbers = releases.numbers()
    known = [one for one in map(releases.release, numbers) if one is not None]
    folders = {releases.folder(number) for number in numbers}
    for mark, process in processes.marked(releases.root):
        if mark in folders:
            return f'process {process.pid} of release {mark.name}'
    for plan in supervisor.units([one.plan for one in known]):
        return f'the unit {plan.unit}'
    domains = [one.plan.domain for one in known if one.plan.domain]
    there = xen.domains() if domains else {}
    return next((f'the domain {one}' for one in domains if one in there), '')


def without(folder: Path, name: str) -> str:
    """What is left of the unikernel `name` of the repository at `folder`, which is gone: known by
    the marks of processes, and the names of units and domains."""
    places = {folder, Path(os.path.realpath(folder))}
    for place in places:
        for mark in processes.claimed(place):
            if mark.parent.name == 'releases' and mark.parent.parent.name == name:
                return f'a process of {mark}'
    if facts.SYSTEMD.is_dir():
        owners = {facts.owner(place / state) for place in places for state in STATES}
        units = programs.run(
            'systemctl', 'list-units', '--plain', '--no-legend',
            *(f'mirage-hooks-{owner}-{name}-*' for owner in sorted(owners)))
        if units.strip():
            return f'the unit {units.split()[0]}'
    for domain in xen.domains() if programs.find('xl') else ():
        if domain.rpartition('-')[0] == name and domain.rpartition('-')[2].isdigit():
            return f'the domain {domain}'
    return ''
