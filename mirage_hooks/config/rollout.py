"""In which order, and how far apart, the hosts of one unikernel take a new image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from .fields import Duration, Mapping, Wrong, seconds

# A host's name (RFC 1123), as `uname -n` says it.
Host = Annotated[str, Meta(
    pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$(?!\n)', examples=[1],
    description='a host as `uname -n` calls it, or how many go first, a whole number from 1 to '
    '1000',
)]


class Rollout(Mapping, frozen=True):
    """Who of several hosts takes a new image first, and when the others follow."""

    canary: Annotated[
        Host | Annotated[int, Meta(ge=1, le=1000)],
        Meta(description='who goes first: a host as `uname -n` calls it, or how many, the first '
             'by name'),
    ] = 1
    after: Annotated[
        Duration, Meta(description='how long it must have served there before the others follow')
    ] = '10m'
    at_once: Annotated[
        int, Meta(ge=1, le=1000, description='how many hosts take it at a time')
    ] = 1
    deadline: Annotated[
        Duration,
        Meta(description='how long after a host has seen an image it may still take it; then it '
             'stays with what it has, and says so'),
    ] = '30m'

    def wrong(self) -> Iterator[Wrong]:
        if seconds(self.deadline) <= seconds(self.after):
            yield Wrong(('deadline', 'after'), f'has deadline: {self.deadline}, when nobody but '
                        f'the canary can have it after: {self.after}: make deadline longer, such '
                        'as deadline: 30m')
