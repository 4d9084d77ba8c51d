"""Where a unikernel runs that several hosts know: who decides, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from .fields import Duration, Mapping, Wrong, seconds

Resource = Annotated[str, Meta(
    pattern=r'^[A-Za-z_][A-Za-z0-9._-]{0,59}$(?!\n)', examples=['www'],
    description='at most 60 letters, digits, dots, dashes and underscores, a letter first',
)]
Node = Annotated[str, Meta(
    pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$(?!\n)', examples=['alpha'],
    description='the name of a host, as `crm_node -n` prints it',
)]


class Placement(Mapping, frozen=True):
    """That Pacemaker decides on which host it runs, and what `install --pacemaker` tells it;
    `placement: pacemaker` stands for all defaults."""

    resource: Annotated[
        Resource | None, Meta(description="what Pacemaker calls it; the unikernel's name when left "
                              'out', examples=['www'])
    ] = None
    clone: Annotated[
        bool, Meta(description='whether it runs on every host at once, each with an address of its '
                   'own in its own mirage.yml; `rollout` then says who takes a new image first')
    ] = False
    monitor: Annotated[
        Duration, Meta(description='how often Pacemaker looks whether it runs')
    ] = '10s'
    prefer: Annotated[
        tuple[Node, ...], Meta(description='the hosts on which it would rather run, the first most',
                               examples=[['alpha', 'beta']])
    ] = ()
    after: Annotated[
        tuple[Resource, ...],
        Meta(description="Pacemaker's resources that must run first, such as a cloned bridge",
             examples=[['bridge-clone']]),
    ] = ()
    together: Annotated[
        tuple[Resource, ...],
        Meta(description="Pacemaker's resources on whose host it runs, such as its disk",
             examples=[['disk']]),
    ] = ()

    def called(self, name: str) -> str:
        """What Pacemaker calls the unikernel `name`: an XML name, which begins with no digit."""
        return self.resource or (f'u-{name}' if name[0].isdigit() else name)

    def wrong(self) -> Iterator[Wrong]:
        if seconds(self.monitor) < 1:
            yield Wrong(('monitor',), f'is {self.monitor!r}: it takes a second or more, such as '
                        '10s')
