"""A named thing that should run, and how."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .fields import Duration, Mapping, Name, Target
from .health import Health
from .network import Block, Network, Socket, Static


class Unikernel(Mapping, frozen=True):
    """A named thing that should run."""

    image: Annotated[
        str,
        Meta(
            description='where the image is in the repository: a pointer file such as xen/latest, '
            'which names a folder or file next to it, or the path of the image itself'
        ),
    ]
    branch: Annotated[
        str, Meta(description="the branch that holds its image, when not the file's own")
    ] = ''
    network: Annotated[
        Network | None, Meta(description='its network, when it has one')
    ] = None
    networks: Annotated[
        dict[Name, Network],
        Meta(description='its networks by device name, when it has several'),
    ] = msgspec.field(default_factory=dict)
    blocks: Annotated[
        dict[Name, Block], Meta(description='its disks by device name')
    ] = msgspec.field(default_factory=dict)
    target: Annotated[
        Target | None,
        Meta(description='what the image must be built for; read from its bytes when left out'),
    ] = None
    tender: Annotated[
        str, Meta(description='the program that runs it, in place of the one found on PATH; for '
                  'virtio where /dev/kvm is there but does not run the image, a script that calls '
                  'QEMU without it')
    ] = ''
    memory: Annotated[int, Meta(ge=1, le=1048576, description='MB of memory')] = 128
    arguments: Annotated[
        tuple[str, ...], Meta(description="the application's own arguments, as --key=value")
    ] = ()
    secrets: Annotated[
        dict[Annotated[str, Meta(pattern=r'^[a-z][a-z0-9-]*$(?!\n)')],
             Annotated[str, Meta(pattern='^/')]],
        Meta(description="arguments that nobody may see: --KEY= the text of a file on the host, "
             "outside the repository and not readable by everybody"),
    ] = msgspec.field(default_factory=dict)
    cpu: Annotated[
        Annotated[int, Meta(ge=1, le=6400)] | None,
        Meta(description='percent of one CPU that it may take (Xen, or a host with systemd)'),
    ] = None
    mirage: Annotated[
        str,
        Meta(
            pattern=r'^[0-9]+(\.[0-9]+){0,2}$',
            description='the MirageOS version that built the image: decides the network flags',
        ),
    ] = '4.11'
    health: Annotated[
        tuple[Health, ...],
        Meta(description='how to tell that it serves, one question or a list of them; a trial is '
             'asked what it can answer itself, the rest is asked after the switch'),
    ] = ()
    confirm: Annotated[
        Duration, Meta(description='how long a new release is watched after the switch')
    ] = '1s'
    switch: Annotated[
        Literal['overlap', 'replace'] | None,
        Meta(
            description='overlap: the new release is proved next to the old one, new '
            'connections go to it, established ones stay; replace: the old one is stopped first; '
            'when left out, overlap wherever it is possible (one static network on a bridge, no '
            'writable disk)'
        ),
    ] = None
    drain: Annotated[
        Duration,
        Meta(description='overlap: how long established connections may stay with the old release'),
    ] = '30s'
    keep: Annotated[
        int, Meta(ge=1, le=1000, description='how many old releases to keep for rollback')
    ] = 3

    def __post_init__(self) -> None:
        if self.network is not None and self.networks:
            raise ValueError('give network or networks, not both')
        if self.switch == 'overlap' and self.alone is None:
            raise ValueError(
                '`switch: overlap` wants one static network with `bridge` and `ipv4` or `ipv6`, '
                'and no `interface`'
            )

    @property
    def interfaces(self) -> dict[str, Network]:
        """Its networks by device name; '' stands for the only one."""
        return {'': self.network} if self.network is not None else self.networks

    @property
    def port(self) -> int | None:
        return self.network.port if isinstance(self.network, Socket) else None

    @property
    def overlapped(self) -> Static | None:
        """The network on which a new release is proved and runs next to the old one; None when
        one must end before the other begins."""
        writable = any(not block.read_only for block in self.blocks.values())
        if self.switch == 'replace' or (writable and self.switch is None):
            return None
        return self.alone

    @property
    def alone(self) -> Static | None:
        """Its only network, where two can live side by side on it."""
        own = list(self.interfaces.values())
        if len(own) != 1 or not isinstance(own[0], Static):
            return None
        addressed = own[0].ipv4 or own[0].ipv6
        return own[0] if own[0].bridge and addressed and not own[0].interface else None

    @property
    def fingerprint(self) -> str:
        """Changes when the unikernel would have to be started differently."""
        started = msgspec.structs.replace(
            self, image='', branch='', health=(), confirm='1s', keep=3, switch=None, drain='30s'
        )
        return hashlib.sha256(msgspec.json.encode(started, order='sorted')).hexdigest()[:16]
