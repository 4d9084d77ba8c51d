"""The walls around every process that is run for an image: bubblewrap, prlimit and setpriv.

Bubblewrap, because it alone gives the image a file system of its own (this host's /usr, the image,
its disks, nothing else), works alike under systemd, under cron and for an ordinary user, and is a
plain command that a plan can show. setpriv alone would leave every world-readable file in sight;
systemd's sandbox needs systemd. Bubblewrap also reports how the image ended."""

from __future__ import annotations

import hashlib

import msgspec

from ..messages import errors
from ..state import model, pair
from .request import Request

FIRST_USER = 1879048192
"""The first of 2 ** 28 user numbers that neither accounts nor containers use
(systemd's UIDS-GIDS document)."""

SYSTEM = ('/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/nix/store')
# What name resolution, TLS and the loader read.
ETC = ('ld.so.cache', 'resolv.conf', 'hosts', 'nsswitch.conf', 'ssl', 'localtime', 'alternatives')
INSIDE = '/image'

CONSOLE_LIMIT = 64 << 20  # bytes that a console may grow to between two converges
OVERHEAD = 128  # MB that a process may take next to the memory of its unikernel
TASKS = 1100  # processes and threads of a release: Lwt alone starts up to 1000 threads
# Where nothing counts the memory that is really used, the data segment is bounded, and stacks count
# there in full. 2 MB is a quarter of the usual size, also for the main thread (OCaml 4 runs on it).
STACK = 2  # MB
STACKS = 256  # threads whose stacks fit


class Needs(msgspec.Struct, frozen=True):
    """What a command reaches: files to read; files to see and to write, by their names inside;
    devices; whether it may bind ports below 1024; whether its data segment can be bounded, and
    whether it runs threads of its own."""

    reads: tuple[str, ...] = ()
    shows: dict[str, str] = {}
    writes: dict[str, str] = {}
    devices: tuple[str, ...] = ()
    low_port: bool = False
    bounded: bool = True
    threads: bool = False


def image(request: Request) -> str:
    """Where the command finds the image."""
    return INSIDE if request.host.sandbox else request.image


def user(request: Request) -> int | None:
    """The number of the user that the unikernel runs as: one of its own where root starts it, the
    same on every start; None for the user who starts it."""
    if not request.host.root:
        return None
    digest = hashlib.sha256(f'{request.seed}/{request.unikernel}'.encode()).hexdigest()
    return FIRST_USER + int(digest[:7], 16)


def certificate(request: Request) -> model.Certificate | None:
    """Where its certificate comes from; a disk with it is open to the unikernel's user."""
    own = request.wanted.certificate
    return pair.as_kept(own, user(request)) if own is not None else None


def owned(request: Request, taps: dict[str, model.Tap]) -> tuple[model.Tap, ...]:
    """`taps`, open to the unikernel's user."""
    number = user(request)
    return tuple(msgspec.structs.replace(tap, user=number) for tap in taps.values())


def nodes(request: Request, needs: Needs) -> dict[str, str]:
    """The nodes of ours that stand for the devices of `needs` in the sandbox."""
    own = request.host.nodes if request.host.sandbox else {}
    return {device: own[device] for device in needs.devices if device in own}


def program(request: Request) -> tuple[str, ...]:
    """The tender, where it is not part of the system that every sandbox shows."""
    inside = request.tender.startswith(tuple(f'{path}/' for path in SYSTEM))
    return (request.tender,) if request.tender.startswith('/') and not inside else ()


def walled(request: Request, command: tuple[str, ...], needs: Needs) -> tuple[str, ...]:
    """`command` with no more rights than it `needs`; raises Refused where root has no walls."""
    limited = (*_limits(request, needs), *command)
    if request.host.sandbox:
        return (*_bubble(request, needs), *_dropped(request, needs), *limited)
    if request.host.root:
        raise errors.Refused(
            f'{request.unikernel} would run as root: bubblewrap is missing, which keeps an image '
            'away from the rest of this host',
            hint='apt install bubblewrap',
        )
    return limited


def _bubble(request: Request, needs: Needs) -> tuple[str, ...]:
    found = ['bwrap', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try']
    if not request.host.root:
        found.append('--unshare-user')
        found += ['--disable-userns'] if request.host.sealed else []
    for path in SYSTEM:
        found += ['--ro-bind-try', path, path]
    for path in _folders(('/etc/hosts', *needs.reads, *needs.shows, *needs.writes)):
        found += ['--dir', path]  # else bubblewrap makes it for root's eyes alone
    for name in ETC:
        found += ['--ro-bind-try', f'/etc/{name}', f'/etc/{name}']
    found += ['--proc', '/proc', '--dev', '/dev']
    for path in _folders(needs.devices, ('/dev',)):
        found += ['--dir', path]
    for path in needs.devices:
        found += ['--dev-bind-try', request.host.nodes.get(path, path), path]
    for path in needs.reads:
        found += ['--ro-bind', path, path]
    for inside, path in needs.shows.items():
        found += ['--ro-bind', path, inside]
    for inside, path in needs.writes.items():
        found += ['--bind', path, inside]
    # What is written into a tmpfs, /dev/shm too, is memory that no limit of a process counts.
    found += ['--ro-bind', request.image, INSIDE, '--remount-ro', '/dev', '--remount-ro', '/',
              '--chdir', '/', '--']
    return tuple(found)


def _folders(paths: tuple[str, ...], there: tuple[str, ...] = ()) -> list[str]:
    """Every folder above `paths` that the sandbox does not have yet, the highest first."""
    cuts = [(path.split('/'), end) for path in paths for end in range(2, path.count('/') + 1)]
    above = {'/'.join(words[:end]) for words, end in cuts}
    inside = tuple(f'{one}/' for one in SYSTEM)
    return sorted(one for one in above if one not in (*there, *SYSTEM)
                  and not one.startswith(inside))


def _dropped(request: Request, needs: Needs) -> tuple[str, ...]:
    number = user(request)
    if number is None:
        return ()  # bubblewrap has taken every capability, and forbids to gain any
    kept = ',+net_bind_service' if needs.low_port else ''
    return (
        'setpriv', f'--reuid={number}', f'--regid={number}',
        '--clear-groups', '--no-new-privs',
        f'--bounding-set=-all{kept}', f'--inh-caps=-all{kept}', f'--ambient-caps=-all{kept}', '--',
    )


def _limits(request: Request, needs: Needs) -> tuple[str, ...]:
    """No core (it would hold the secrets); no file, the console above all, without bound."""
    largest = max(CONSOLE_LIMIT, request.largest)
    tasks = (f'--nproc={TASKS}',) if request.host.counted else ()
    return ('prlimit', '--core=0', f'--fsize={largest}', *_data(request, needs), *tasks, '--')


def _data(request: Request, needs: Needs) -> tuple[str, ...]:
    """The bound on what a process may map; nothing where the system's systemd or a control group
    counts what it uses, which is the better measure. (A user's counts with cgroup v2 alone.)"""
    if not needs.bounded or request.host.systemd == 'system' or request.host.cgroups:
        return ()
    stacks = STACK * STACKS if needs.threads else 0
    data = f'--data={request.wanted.memory + OVERHEAD + stacks << 20}'
    return (data, f'--stack={STACK << 20}:') if needs.threads else (data,)
