"""How a release is asked for as long as it runs, and what is done about its silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from .fields import Duration, Mapping, Wrong, seconds

SHORTEST = 1.0  # seconds between two questions


class Watch(Mapping, frozen=True):
    """How it is asked for as long as it runs, and what is done when it is silent; `watch: true`
    stands for all defaults, `watch: false` for not at all."""

    every: Annotated[Duration, Meta(description='how often it is asked')] = '60s'
    timeout: Annotated[Duration, Meta(description='how long an answer may take')] = '5s'
    doubt: Annotated[
        Duration, Meta(description='how often it is asked after an answer that did not come')
    ] = '10s'
    misses: Annotated[
        int, Meta(ge=1, le=100, description='answers missing in a row that make a silence')
    ] = 3
    answers: Annotated[
        int, Meta(ge=1, le=100, description='answers in a row that end a silence')
    ] = 2
    heal: Annotated[
        Literal['rollback', 'restart', 'never'],
        Meta(
            description='rollback: a silent release is restarted; when it is silent again, younger '
            'than 24 h, and the one before served for 24 h, that one comes back and the image is '
            'refused; restart: it is only restarted; never: it is only told'
        ),
    ] = 'rollback'

    def wrong(self) -> Iterator[Wrong]:
        for key in ('every', 'doubt'):
            if seconds(getattr(self, key)) < SHORTEST:
                such = '60s' if key == 'every' else '10s'
                yield Wrong((key,), f'is {getattr(self, key)!r}: it takes a second or more, such '
                            f'as {such}')
        if not seconds(self.timeout):
            yield Wrong(('timeout',), f"is '{self.timeout}', in which nothing can answer: it takes "
                        'some time, such as 5s')
        elif seconds(self.timeout) > max(seconds(self.every), SHORTEST):
            yield Wrong(('timeout', 'every'), f'has timeout: {self.timeout}, which is longer than '
                        f'every: {self.every}: make timeout shorter, such as timeout: 5s')
