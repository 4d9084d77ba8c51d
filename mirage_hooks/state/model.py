"""What is written down of a deployment, as frozen data: how a release is run, what became of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from .. import config

Slot = Literal['blue', 'green']


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


Encoding = Literal['plain', 'line', 'xl', 'tar']


class Secret(msgspec.Struct, frozen=True):
    """The file whose text is an argument's value, and how that value is to be written."""

    file: str
    encoding: Encoding


class Certificate(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the certificate of a plan is taken from just before each start: the files of its chain
    and its key, and how the image takes them ('': PEM, or DER where that is too long). The disk
    with both is user number `user`'s (None: the one's who starts it)."""

    chain: str
    key: str
    form: Literal['', 'pem', 'der', 'disk'] = ''
    user: int | None = None


class Served(msgspec.Struct, frozen=True, omit_defaults=True):
    """The certificate that a release was started with, and nothing of its key: `digest` changes
    with any certificate of the chain, of which `chain` holds the SHA-256 of each, in hex, the
    release's own first; `names` are hosts and addresses, `begins` and `ends` seconds since 1970.
    Without a digest it was started without one, for `reason`."""

    digest: str = ''
    reason: str = ''
    chain: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    issuer: str = ''
    serial: str = ''
    begins: float = 0
    ends: float = 0


class Group(msgspec.Struct, frozen=True):
    """The control group of a release: the most memory (MB) and processes that all in it take."""

    name: str
    memory: int
    tasks: int


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a release is run, as data. `domain` is set where Xen runs it: `command` then creates it;
    else `command` is the process that lives as long as the unikernel, under the systemd unit
    `unit` where there is one. \\0KEY\\0 in command and files stands for the secret KEY, or +chain,
    +key and +disk of the `certificate`; what they stand for may take `room` bytes of the command
    line (None: any number). `nodes` are the device nodes that are made for it: device and node;
    `group` is set where no unit and no domain limits it; `filtered`, where it runs under the filter
    of `host.filters`."""

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
    certificate: Certificate | None = None
    room: int | None = None


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
    network: config.Static | None = None  # set where it can be proved and run next to another one
    memory: int = 0
    leased: bool = False  # whether its network was so by DHCP at the last switch, and may change

    @property
    def fixed(self) -> config.Static | None:
        """Its network, as long as nobody but mirage.yml can change it."""
        return None if self.leased else self.network


class Side(msgspec.Struct, frozen=True, omit_defaults=True):
    """A release on the bridge next to another one: its interface, its hardware address, and when
    (seconds since boot, see `clock`) it has to end; 0 while it is live."""

    release: int
    device: str
    mac: str
    until: float = 0


class Overlap(msgspec.Struct, frozen=True, omit_defaults=True):
    """Releases that serve side by side; what belongs to no known flow is the `base` release's.
    `over` is set when one is alone again: when (seconds since boot) no rule is needed any more.
    Without a bridge they share ports of this host: `places` are these, each with the releases that
    listen there, as the kernel numbers them (see host.listeners)."""

    unikernel: str
    bridge: str
    addresses: tuple[str, ...]
    base: int
    sides: tuple[Side, ...]
    over: float = 0
    places: dict[str, tuple[int, ...]] = {}


class Shared(msgspec.Struct, frozen=True, omit_defaults=True):
    """The places at which a release listens so that the next one can listen next to it, and what
    hinders that, if anything does."""

    places: tuple[str, ...] = ()
    hindrance: str = ''


class Run(msgspec.Struct, frozen=True):
    """The process of a release: its number, its start in clock ticks since boot, and the boot."""

    pid: int
    started: int
    boot: str


Kind = Literal[
    'unchanged', 'deployed', 'restarted', 'stopped', 'pinned', 'removed', 'refused', 'remembered',
    'silent', 'unasked', 'ready', 'held',
]


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a converge did to one unikernel, and what runs now. `ended` says that what goes on
    running had ended, `logs` which command shows the whole of `console`, `waits` the commit of a
    newer image that was left alone; `silent` and `unasked` are the watcher's: it does not answer,
    or cannot be asked. `ready` is what Pacemaker may start here, where nothing runs."""

    unikernel: str
    kind: Kind
    running: Release | None = None
    reason: str = ''
    hint: str = ''
    console: tuple[str, ...] = ()
    ended: str = ''
    logs: str = ''
    waits: str = ''
    ready: Release | None = None

    @property
    def failed(self) -> bool:
        return self.kind in ('refused', 'remembered', 'silent', 'unasked')
