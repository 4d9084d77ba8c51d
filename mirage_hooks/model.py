"""The words of the project, as frozen data: what should run, what an image is, what was started."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import time
import urllib.parse
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# `$` alone would let a line end through.
Name = Annotated[str, Meta(pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$(?!\n)')]
# A Linux interface name: at most 15 characters.
Interface = Annotated[str, Meta(pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$(?!\n)')]
Duration = Annotated[str, Meta(pattern=r'^[0-9]+(ms|s|m|h)$(?!\n)')]
Url = Annotated[str, Meta(pattern='^https?://')]
Endpoint = Annotated[str, Meta(pattern=r'^.+:[0-9]+$(?!\n)')]
Mac = Annotated[str, Meta(pattern=r'^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$(?!\n)')]
File = Annotated[str, Meta(pattern='^/')]  # an absolute path
Port = Annotated[int, Meta(ge=1, le=65535)]

Slot = Literal['blue', 'green']
Target = Literal['unix', 'spt', 'hvt', 'virtio', 'xen']


class _Settings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """What stands in mirage.yml: unknown keys are errors, defaults are left out when written."""



class Socket(_Settings, frozen=True, tag='socket', tag_field='mode'):
    """An ordinary process on the host's own sockets (unix): no root, no tap."""

    port: Annotated[
        Port | None,
        Meta(description='passed as --port; also where the unikernel is expected to answer'),
    ] = None
    ipv4: Annotated[
        str | None, Meta(description='the host address to listen on, as ADDRESS/PREFIX')
    ] = None

    def __post_init__(self) -> None:
        _require_cidr(self.ipv4, 4)

    @property
    def address(self) -> str:
        """Where it listens; the loopback address when that is not said."""
        return (self.ipv4 or '127.0.0.1').partition('/')[0]


class Direct(_Settings, frozen=True, tag='direct', tag_field='mode'):
    """Its own network stack, its address by DHCP (unix: from another MAC at each start)."""

    bridge: Annotated[
        Interface | None, Meta(description='the bridge that its tap or vif joins')
    ] = None
    interface: Annotated[
        Interface | None,
        Meta(description='a tap that is ready and up; without it one is made for each release'),
    ] = None
    mac: Annotated[
        Mac | None, Meta(description='its hardware address; without it a stable one is derived')
    ] = None
    group: Annotated[
        str, Meta(description='the prefix of its flags, for an image with several stacks')
    ] = ''


class Static(Direct, frozen=True, tag='static', tag_field='mode'):
    """Its own network stack, its address from here."""

    ipv4: Annotated[
        str | None, Meta(description='its address, as ADDRESS/PREFIX')
    ] = None
    gateway: Annotated[str | None, Meta(description='its IPv4 gateway')] = None
    ipv6: Annotated[str | None, Meta(description='its IPv6 address, as ADDRESS/PREFIX')] = None
    ipv6_gateway: Annotated[str | None, Meta(description='its IPv6 gateway')] = None
    compiled_in: Annotated[
        bool, Meta(description='the image has its addresses already: nothing of them is passed')
    ] = False
    ipv4_only: Annotated[
        bool,
        Meta(description='without `ipv6` (or without `ipv4`), MirageOS from 3.10 on: tell its dual '
             'stack so, by --ipv4-only (--ipv6-only); false for an image whose stack is for one of '
             'them alone, and does not know the flag'),
    ] = True

    def __post_init__(self) -> None:
        _require_cidr(self.ipv4, 4)
        _require_cidr(self.ipv6, 6)
        for gateway in (self.gateway, self.ipv6_gateway):
            if gateway is not None:
                ipaddress.ip_address(gateway)


Network = Socket | Direct | Static


class Block(_Settings, frozen=True):
    """A file on the host that the unikernel sees as a disk."""

    path: Annotated[
        str,
        Meta(pattern='^/',
             description='an absolute path outside the repository; a trial gets a copy'),
    ]
    sector: Annotated[int, Meta(ge=512, description='bytes to a sector')] = 512
    read_only: Annotated[bool, Meta(description='unix, virtio and Xen')] = False
    vdev: Annotated[
        str, Meta(pattern=r'^[a-z0-9]*$', description='Xen only: the virtual device, as xvda')
    ] = ''


class Health(_Settings, frozen=True):
    """One question that a release must answer before it counts as serving; give one of
    http, tcp, ping, console or alive."""

    http: Annotated[Url | None, Meta(description='a URL that must answer')] = None
    status: Annotated[int, Meta(ge=100, le=599, description='http: the status wanted')] = 200
    contains: Annotated[str, Meta(description='http: text that the page must contain')] = ''
    host: Annotated[str, Meta(description='http: the Host header to send')] = ''
    insecure: Annotated[
        bool, Meta(description='https: accept any certificate, as of a test image')
    ] = False
    tcp: Annotated[
        Endpoint | None, Meta(description='ADDRESS:PORT that must accept a connection')
    ] = None
    ping: Annotated[str | None, Meta(description='an address that must answer a ping')] = None
    console: Annotated[
        str | None, Meta(description='a regular expression that the console must come to match')
    ] = None
    alive: Annotated[
        Duration | None, Meta(description='how long it must stay up, as 2s')
    ] = None
    within: Annotated[
        Duration, Meta(description='how long it may take: ms, s, m or h')
    ] = '30s'

    def __post_init__(self) -> None:
        given = [k for k in ('http', 'tcp', 'ping', 'console', 'alive') if getattr(self, k)]
        if len(given) != 1:
            raise ValueError(f'give one of http, tcp, ping, console, alive; got {given or "none"}')
        for place in (self.http, self.tcp and f'//{self.tcp}'):
            if place:
                _require_place(place)
        if self.console is not None:
            try:
                re.compile(self.console)
            except re.error as error:
                raise ValueError(f'console: not a regular expression: {error}') from None


class Unikernel(_Settings, frozen=True):
    """A named thing that should run."""

    image: Annotated[
        str,
        Meta(
            description='where the image is in the repository: a pointer file such as xen/latest, '
            'which names a folder or file beside it, or the path of the image itself'
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
    ] = {}
    blocks: Annotated[dict[Name, Block], Meta(description='its disks by device name')] = {}
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
    ] = {}
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
            description='overlap: the new release is proved beside the old one, new connections go '
            'to it, established ones stay; replace: the old one is stopped first; when left out, '
            'overlap wherever it is possible (one static network on a bridge, no writable disk)'
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
        """The network on which a new release is proved and runs beside the old one; None when
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


class Trust(_Settings, frozen=True):
    """Whose commits may be deployed: every one must be signed by a key that stands here."""

    signers: Annotated[
        File | None, Meta(description='for SSH signatures: an allowed_signers file, ssh-keygen(1)')
    ] = None
    revoked: Annotated[
        File | None,
        Meta(description='SSH keys that count no more: public keys, one to a line, or a KRL'),
    ] = None
    keyring: Annotated[
        File | None,
        Meta(description='for GPG signatures: a GNUPGHOME folder; every key in it may deploy'),
    ] = None

    def __post_init__(self) -> None:
        if self.signers is None and self.keyring is None:
            raise ValueError('give signers, keyring or both')


class Notify(_Settings, frozen=True):
    """Who is told, in JSON, when something changed or failed."""

    command: Annotated[
        tuple[str, ...],
        Meta(description='a program and its arguments; reads the JSON from its standard input'),
    ] = ()
    webhook: Annotated[Url | None, Meta(description='a URL that gets the JSON by POST')] = None

    def __post_init__(self) -> None:
        if not self.command and self.webhook is None:
            raise ValueError('give command, webhook or both')


class Settings(_Settings, frozen=True):
    """The host's mirage.yml."""

    unikernels: Annotated[
        dict[Name, Unikernel], Meta(description='what should run, by name')
    ]
    branch: Annotated[
        str, Meta(description="the branch that is deployed; the repository's own when left out")
    ] = ''
    rewound: Annotated[
        Literal['follow', 'refuse'],
        Meta(description='what cron does when the remote branch was force-pushed'),
    ] = 'refuse'
    trust: Annotated[
        Trust | None, Meta(description='whose commits may be deployed; anyone when left out')
    ] = None
    gate: Annotated[
        bool, Meta(description='refuse a push whose image would not serve, before it is accepted')
    ] = False
    notify: Annotated[
        Notify | None, Meta(description='who is told of changes and failures')
    ] = None
    unpacked_limit: Annotated[
        int, Meta(ge=1, le=65536, description='MB that an image may take when unpacked')
    ] = 512


class Device(msgspec.Struct, frozen=True):
    """A device that an image's manifest names."""

    name: str
    kind: Literal['net', 'block']


class Found(msgspec.Struct, frozen=True):
    """Where the wanted image is in a commit's tree; `read` are the tree entries that say so."""

    commit: str
    path: str
    blob: str
    read: tuple[str, ...]
    notice: str = ''


class Host(msgspec.Struct, frozen=True):
    """What a plan must know of this host: whether we are root here, whether bubblewrap works,
    which systemd may keep a release alive, the node that a release opens for a device, where that
    is not the host's own; whether cgroups of ours can limit it, whether the kernel counts the
    processes of each release apart, whether bubblewrap can forbid further user namespaces, and
    whether we have a seccomp filter for its processor."""

    root: bool = False
    sandbox: bool = False
    systemd: Literal['', 'system', 'user'] = ''
    nodes: dict[str, str] = {}
    cgroups: bool = False
    counted: bool = False
    sealed: bool = False
    filters: bool = False


class Tap(msgspec.Struct, frozen=True, omit_defaults=True):
    """A network interface of a release; `ours` ones are made for it and removed with it. `user`
    is the number of the one who may open it (None: whoever makes it)."""

    name: str
    bridge: str = ''
    mac: str = ''
    ours: bool = True
    user: int | None = None


Encoding = Literal['plain', 'line', 'xl']


class Secret(msgspec.Struct, frozen=True):
    """The file whose text is an argument's value, and how that value is to be written."""

    file: str
    encoding: Encoding


class Group(msgspec.Struct, frozen=True):
    """The control group of a release: the most memory (MB) and processes that all in it take."""

    name: str
    memory: int
    tasks: int


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a release is run, as data. `domain` is set where Xen runs it: `command` then creates it;
    else `command` is the process that lives as long as the unikernel, under the systemd unit
    `unit` where there is one. \\0KEY\\0 in command and files stands for the secret KEY. `nodes`
    are the device nodes that are made for it: device and node; `group` is set where no unit and no
    domain limits it; `filtered`, where it runs under the filter of `host.filters`."""

    target: str
    command: tuple[str, ...]
    domain: str = ''
    taps: tuple[Tap, ...] = ()
    files: dict[str, str] = {}
    secrets: dict[str, Secret] = {}
    unit: str = ''
    nodes: dict[str, str] = {}
    group: Group | None = None
    filtered: bool = False


class Release(msgspec.Struct, frozen=True, omit_defaults=True):
    """One image with everything it is started with; `digest` is the sha256 of its unpacked bytes,
    `size` their number, `memory` the MB that it has (0: written down before that was)."""

    unikernel: str
    number: int
    commit: str
    path: str
    blob: str
    digest: str
    size: int
    description: str
    fingerprint: str
    slot: Slot
    created: float
    plan: Plan
    network: Static | None = None  # set where it can be proved and run beside another one
    memory: int = 0


class Side(msgspec.Struct, frozen=True, omit_defaults=True):
    """A release on the bridge next to another one: its interface, its hardware address, and when
    (seconds since boot, see `clock`) it has to end; 0 while it is live."""

    release: int
    device: str
    mac: str
    until: float = 0


class Overlap(msgspec.Struct, frozen=True, omit_defaults=True):
    """Releases that serve side by side; what belongs to no known flow is the `base` release's.
    `over` is set when one is alone again: when (seconds since boot) no rule is needed any more."""

    unikernel: str
    bridge: str
    addresses: tuple[str, ...]
    base: int
    sides: tuple[Side, ...]
    over: float = 0


class Run(msgspec.Struct, frozen=True):
    """The process of a release: its number, its start in clock ticks since boot, and the boot."""

    pid: int
    started: int
    boot: str


class Crashes(msgspec.Struct, frozen=True):
    """A release that ends by itself: how often it was brought back and when last (seconds since
    1970); `code` is how it ended, where that is known, `reason` and `hint` say so in words;
    `told`, whether people know; `final`, that it is not started again."""

    release: int
    count: int
    at: float
    boot: str
    code: int | None = None
    told: bool = False
    reason: str = ''
    hint: str = ''
    final: bool = False


class Pin(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person decided, which holds until the tree's image is no longer `blob`
    (a stop: until start)."""

    stopped: bool = False
    release: int = 0
    blob: str = ''


class Floor(msgspec.Struct, frozen=True):
    """The commit of `branch` that was last deployed and trusted: what comes must contain it."""

    branch: str
    commit: str


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A bad image, remembered: not tried again while blob and fingerprint stay the same.
    `retry` is when (seconds since 1970) to try all the same, 0 for never."""

    blob: str
    fingerprint: str
    reason: str
    at: float
    hint: str = ''
    count: int = 1
    retry: float = 0


Kind = Literal[
    'unchanged', 'deployed', 'restarted', 'stopped', 'pinned', 'removed', 'refused', 'remembered'
]


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a converge did to one unikernel, and what runs now."""

    unikernel: str
    kind: Kind
    running: Release | None = None
    reason: str = ''
    hint: str = ''
    console: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return self.kind in ('refused', 'remembered')


def clock() -> float:
    """Seconds since boot: nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def seconds(duration: str) -> float:
    """`duration` ('500ms', '30s', '5m', '1h') in seconds."""
    number, unit = re.fullmatch(r'([0-9]+)(ms|s|m|h)', duration).groups()  # type: ignore[union-attr]
    return int(number) * {'ms': 0.001, 's': 1.0, 'm': 60.0, 'h': 3600.0}[unit]


def _require_place(url: str) -> None:
    """Raise ValueError when the host or the port of `url` can never be asked."""
    shown = url.removeprefix('//')
    try:
        found = urllib.parse.urlsplit(url)
        named = found.port != 0 and (found.hostname or '').encode('idna')
    except UnicodeError:
        raise ValueError(f'{shown} cannot be asked: its host is no name') from None
    except ValueError as error:
        raise ValueError(f'{shown} cannot be asked: {error}') from None
    if not named:
        raise ValueError(f'{shown} cannot be asked: it names no host, or port 0')


def _require_cidr(text: str | None, version: int) -> None:
    if text is None:
        return
    if '/' not in text:
        raise ValueError(f'{text!r} wants a prefix length, as {text}/24')
    if ipaddress.ip_interface(text).version != version:
        raise ValueError(f'{text!r} is not an IPv{version} address')
