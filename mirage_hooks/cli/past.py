"""What happened, for people and programs."""

from __future__ import annotations

import time
from collections import deque

from ..git.repository import Repository
from ..messages import nearest
from ..messages.report import encoded, plain, table
from ..messages.terminal import fitted, green, red
from ..state import journal, store
from . import names


def history(repository: Repository, name: str, lines: int, as_json: bool) -> None:
    """Print the last `lines` events, of `name` or of all."""
    state = store.opened(repository.state)
    nearest.require(name, names.known(repository, state))
    found = (one for one in journal.entries(state.history) if name in ('', one.unikernel))
    last = deque(found, maxlen=lines)
    if as_json:
        return print(encoded(list(last)), flush=True)
    for text in table([_event(entry) for entry in last]):
        print(fitted(text))
    if lines and not last:
        print('nothing happened yet')


def _event(entry: journal.Entry) -> list[str]:
    when = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(entry.at))
    release = f'release {entry.release}' if entry.release else ''
    took = f'in {entry.took:.2f} s' if entry.took else ''
    what = plain(entry.reason) or ' '.join(filter(None, [entry.commit[:12], took]))
    colour = {'refused': red, 'deployed': green}.get(entry.event, str)
    event = colour(plain(entry.event))
    return [when, entry.unikernel, event, release, what, f'({plain(entry.trigger)})']
