"""Does it answer now? One question and a yes or no, for whoever moves an address away from a host
where it does not: keepalived's `vrrp_script`, a balancer's check."""

from __future__ import annotations

import time

from ..git.repository import Repository
from ..state import store
from ..state.releases import as_wanted
from ..switching import asked, asking, launcher


def trouble(repository: Repository, name: str, within: float) -> str:
    """What keeps `name`, which mirage.yml has, from serving, '' for nothing, in `within` seconds
    for all its questions."""
    end = time.monotonic() + within
    state = store.opened(repository.state)
    settings = store.settings(repository.config_path(), state.root)
    wanted, releases = settings.unikernels[name], state.of(name)
    release = releases.current()
    if release is None:
        return 'it is ready here, and does not run' if releases.ready() else 'it was never deployed'
    if releases.stopped():
        return 'it is stopped by hand'
    if not launcher.alive(releases, release):
        return f'release {release.number} is down'
    # What mirage.yml asks now may be for another than the one that runs.
    for question in asked.lasting(wanted, release) if as_wanted(wanted, release) else ():
        left = max(0.0, end - time.monotonic())
        if wrong := asking.ask(question, lambda: '', left, (), lambda: None):
            return f'release {release.number}: {wrong}'
    return ''
