"""A named thing that should run, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .acme import Account
from .certificate import Pair
from .fields import Duration, File, Key, Mapping, Name, Target, Version, Wrong, seconds
from .health import Health, unplaced
from .network import Block, Direct, Network, Socket, Static
from .placement import Placement
from .rollout import Rollout
from .watch import Watch

Switch = Annotated[
    Literal['overlap', 'replace'] | None,
    Meta(
        description='overlap: the new release is proved next to the old one, new '
        'connections go to it, established ones stay; replace: the old one is stopped first; '
        'when left out, overlap wherever it is possible (one network on a bridge, static or by '
        'DHCP, or mode: socket with a port; no writable disk)'
    ),
]
TWO_WRITERS = (
    'has switch: overlap and a disk that both releases would write to at once: leave switch out, '
    'or give the disk read_only: true (unix, virtio and Xen)'
)
APART = (
    'has switch: overlap, which wants one network with bridge and no interface, by DHCP or static '
    'with ipv4 or ipv6, such as network: {mode: static, bridge: br0, ipv4: 192.0.2.10/24}; or '
    'mode: socket with a port'
)
ALONE = (
    'has rollout, which is for what runs on several hosts at once: give it placement: {clone: true}'
)
Secrets = Annotated[
    dict[Key, File],
    Meta(description="arguments that nobody may see: --KEY= the text of a file on the host, "
         "outside the repository and not readable by everybody",
         examples=[{'token': '/etc/mirage-hooks/token'}]),
]

Cpu = Annotated[
    Annotated[int, Meta(ge=1, le=6400, examples=[100])] | None,
    Meta(description='percent of one CPU that it may take (Xen, or a host with systemd)'),
]
Watched = Annotated[
    bool | Watch,
    Meta(description='whether it is asked for as long as it runs (its health questions over the '
         'network, or else its port), and how; a mapping says more',
         examples=[{'every': '60s', 'heal': 'restart'}]),
]
Placed = Annotated[
    Literal['pacemaker'] | Placement | None,
    Meta(description='pacemaker: a cluster decides on which of several hosts it runs; a new image '
         'is made ready on all of them, and takes over where it runs; a mapping says more',
         examples=['pacemaker']),
]
Order = Annotated[
    Rollout | None,
    Meta(
        description='who of the hosts that run it takes a new image first, and when the others '
        'follow; every host by itself when left out', examples=[{'canary': 1, 'after': '10m'}],
    ),
]


class Unikernel(Mapping, frozen=True):
    """A named thing that should run."""

    image: Annotated[
        str,
        Meta(
            description='where the image is in the repository: a pointer file such as xen/latest, '
            'which names a folder or file next to it, or the path of the image itself',
            examples=['xen/latest'],
        ),
    ]
    branch: Annotated[
        str, Meta(description="the branch that holds its image, when not the file's own")
    ] = ''
    network: Annotated[
        Network | None, Meta(description='its network, when it has one',
                             examples=[{'mode': 'socket', 'port': 8080}])
    ] = None
    networks: Annotated[
        dict[Name, Network],
        Meta(description='its networks by device name, when it has several',
             examples=[{'service': {'mode': 'direct', 'bridge': 'br0'}}]),
    ] = msgspec.field(default_factory=dict)
    blocks: Annotated[
        dict[Name, Block], Meta(description='its disks by device name',
                                examples=[{'disk': {'path': '/srv/www/disk.img'}}])
    ] = msgspec.field(default_factory=dict)
    target: Annotated[
        Target | None,
        Meta(description='what the image must be built for; read from its bytes when left out'),
    ] = None
    tender: Annotated[
        str, Meta(description='the program that runs it, in place of the one found on PATH; for '
                  'virtio where /dev/kvm is there but does not run the image, a script that calls '
                  'QEMU without it', examples=['/usr/local/bin/solo5-spt'])
    ] = ''
    memory: Annotated[int, Meta(ge=1, le=1048576, description='MB of memory')] = 128
    arguments: Annotated[
        tuple[str, ...], Meta(description="the application's own arguments, as --key=value",
                              examples=[['--message=hello']])
    ] = ()
    secrets: Secrets = msgspec.field(default_factory=dict)
    certificate: Pair = None
    acme: Account = None
    cpu: Cpu = None
    mirage: Annotated[
        Version,
        Meta(description='the MirageOS version that built the image: decides the network flags'),
    ] = '4.11'
    health: Annotated[
        tuple[Annotated[Health, Meta(examples=[{'http': 'http://192.0.2.10/'}])], ...],
        Meta(description='how to tell that it serves, one question or a list of them; a trial is '
             'asked what it can answer itself, the rest is asked after the switch'),
    ] = ()
    watch: Watched = True
    confirm: Annotated[
        Duration, Meta(description='how long a new release is watched after the switch')
    ] = '1s'
    switch: Switch = None
    drain: Annotated[
        Duration,
        Meta(description='overlap: how long established connections may stay with the old release'),
    ] = '30s'
    keep: Annotated[
        int, Meta(ge=1, le=1000, description='how many old releases to keep for rollback')
    ] = 3
    placement: Placed = None
    rollout: Order = None

    def wrong(self) -> Iterator[Wrong]:
        if self.network is not None and self.networks:
            yield Wrong(('networks', 'network'), 'has network and networks: keep one of them, '
                        'networks where it has several')
        elif self.rollout is not None and not (self.placed and self.placed.clone):
            yield Wrong(('rollout', 'placement'), ALONE)
        elif self.switch == 'overlap' and self.writes:
            yield Wrong(('switch', 'blocks'), TWO_WRITERS)
        elif self.switch == 'overlap' and not (self.overlapped or self.leased or self.shares):
            yield Wrong(('switch', 'network', 'networks'), APART)
        if self.certificate is not None:
            yield from self.certificate.twice(self.blocks, given(self))
        yield from self.acme.twice(given(self)) if self.acme else ()
        yield from unplaced(self.health, self.network.server if self.network else '')

    @property
    def interfaces(self) -> dict[str, Network]:
        """Its networks by device name; '' stands for the only one."""
        return {'': self.network} if self.network is not None else self.networks

    @property
    def port(self) -> int | None:
        return self.network.port if isinstance(self.network, Socket) else None

    @property
    def watched(self) -> Watch | None:
        """How it is asked while it runs; None where a person wants that it is not."""
        if isinstance(self.watch, Watch):
            return self.watch
        return Watch() if self.watch else None

    @property
    def placed(self) -> Placement | None:  # None: this host alone decides
        return Placement() if self.placement == 'pacemaker' else self.placement

    @property
    def overlapped(self) -> Static | None:
        """The network on which a new release is proved and runs next to the old one; None when
        one must end before the other begins."""
        return self.alone if self._overlaps else None

    @property
    def leased(self) -> bool:
        """Whether the same may be with an address by DHCP."""
        return self._overlaps and type(self.bridged) is Direct

    @property
    def _overlaps(self) -> bool:
        # Never with a disk to write to: one disk has one writer.
        return self.switch != 'replace' and not self.writes

    @property
    def shares(self) -> bool:
        """Whether two releases may listen on its port at once."""
        return self.port is not None and self._overlaps

    @property
    def writes(self) -> bool:
        return any(not block.read_only for block in self.blocks.values())

    @property
    def alone(self) -> Static | None:
        """Its only network, where two can live side by side on it with static addresses."""
        own = self.bridged
        return own if isinstance(own, Static) and (own.ipv4 or own.ipv6) else None

    @property
    def bridged(self) -> Direct | None:
        """Its only network, where each release joins a bridge with a tap of its own."""
        own = list(self.interfaces.values())
        if len(own) != 1 or isinstance(own[0], Socket):
            return None
        return own[0] if own[0].bridge and not own[0].interface else None

    @property
    def fingerprint(self) -> str:
        """Changes when the unikernel would have to be started differently."""
        started = msgspec.structs.replace(
            self, image='', branch='', health=(), confirm='1s', keep=3, switch=None, drain='30s',
            watch=True, placement=None, rollout=None)
        return hashlib.sha256(msgspec.json.encode(started, order='sorted')).hexdigest()[:16]


def serving(wanted: Unikernel) -> float:
    """Seconds that it may take until it serves, once it is started: its questions are asked one
    after the other, a name server's by UDP and by TCP."""
    asked = wanted.health or (Health(alive='30s'),)  # as long as any question has
    times = (seconds(one.alive or one.within) * (2 if one.dns else 1) for one in asked)
    return sum(times) + seconds(wanted.confirm)


def given(wanted: Unikernel) -> set[str]:
    """The options of the application that a person gives it, by their names."""
    return {*(f'--{key}' for key in wanted.secrets),
            *(one.partition('=')[0] for one in wanted.arguments)}
