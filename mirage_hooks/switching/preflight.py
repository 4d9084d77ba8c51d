"""What a release asks of this host, looked at before anything is touched: its tender, its disks,
and the options that the image says it has."""

from __future__ import annotations

import os
import re
import shlex
import stat
from pathlib import Path

from .. import config, targets
from ..host import disks as copies
from ..host import processes, programs, sharing
from ..messages import errors
from ..state import files

GET = {
    'solo5-spt': 'opam install solo5, or build Solo5 from its source and copy the tender to '
    '/usr/local/bin',
    'solo5-hvt': 'opam install solo5, or build Solo5 from its source and copy the tender to '
    '/usr/local/bin',
    'qemu-system-x86_64': 'apt install qemu-system-x86',
    'xl': 'apt install xen-system-amd64, then boot into Xen',
    'ip': 'apt install iproute2',
    'nft': 'apt install nftables; without it a switch breaks the connections it finds',
    'bwrap': 'apt install bubblewrap',
}
HELP = (0, 63)  # exit codes of an image that was asked for its help
PATIENCE = 5.0  # seconds that a tender or an image may take to answer


def tender(target: str, wanted: config.Unikernel, abi: int | None) -> str:
    """The path of the program that runs an image built for `target` with Solo5's `abi`, '' for
    unix; raises Unavailable when it is missing or speaks another ABI."""
    named = targets.tender(target, wanted)
    if not named:
        return ''
    path = programs.find(named)
    if path is None:
        raise errors.Unavailable(
            f'{named} is not installed, which runs {target} images',
            hint=GET.get(Path(named).name, 'fix `tender:` in mirage.yml'),
        )
    if abi is not None and target in ('spt', 'hvt'):
        spoken = _abi(path)
        if spoken is not None and spoken != abi:
            raise errors.Unavailable(
                f'{path} speaks Solo5 ABI {spoken}, the image speaks {abi}',
                hint=f'install the tender of {_release(abi)} and name it with `tender:`, or build '
                'the image anew',
            )
    return path


def side_by_side(name: str, wanted: config.Unikernel) -> None:
    """Raise Refused when mirage.yml says that releases of `name` serve side by side, and they
    cannot: on a port of this host without tracing, on a bridge as an ordinary user. No rule for
    sudo is narrow enough: the stage takes a network namespace, and whoever may give nft a text may
    do anything to this host's network."""
    if wanted.switch == 'overlap' and wanted.shares:
        if trouble := sharing.trouble():
            raise errors.Refused(
                f'`switch: overlap` of {name} wants an image that can be traced as it starts, '
                f'which is impossible here: {trouble}',
                hint='leave `switch:` out of mirage.yml: where they cannot listen next to each '
                'other you get `replace`',
            )
    elif wanted.switch == 'overlap' and os.geteuid() != 0:
        raise errors.Refused(
            f'`switch: overlap` of {name} wants root, for network namespaces and nft',
            hint='run mirage-hooks as root, or leave `switch:` out of mirage.yml: an ordinary user '
            'gets `replace`',
        )


def disks(name: str, wanted: config.Unikernel, repository: tuple[Path, ...]) -> int:
    """The bytes of the largest disk of `name`; raises Refused when one cannot be a disk."""
    return max([_disk(f'disk {device} of {name}', block, repository)
                for device, block in wanted.blocks.items()], default=0)


def owned(request: targets.Request) -> None:
    """Raise Refused when the unikernel's own user may not open one of its disks."""
    user = targets.user(request)
    if request.target == 'xen':
        return  # Xen's back end opens them as root
    for device, block in request.wanted.blocks.items():
        if not openable(block.path, user):
            number = os.getuid() if user is None else user
            quoted = shlex.quote(block.path)
            raise errors.Refused(
                f'disk {device} of {request.unikernel} does not belong to the user {number}, as '
                f'which it runs: {block.path}',
                hint=f'chown {number} {quoted} && chmod u+rw {quoted}',
            )


def openable(path: str, user: int | None) -> bool:
    """Whether user number `user` (None: this one) may read and write the file at `path`."""
    if user is None:
        return os.access(path, os.R_OK | os.W_OK)
    found = Path(path).stat()
    mine = found.st_uid == user and found.st_mode & 0o600 == 0o600
    return mine or found.st_mode & 0o006 == 0o006


def options(request: targets.Request) -> frozenset[str] | None:
    """The options that a unix image has, asked of it in its sandbox and without a network; None
    when it does not say or need not be asked."""
    if request.target != 'unix' or not request.wanted.interfaces:
        return None
    code, said = processes.ask(targets.question(request), PATIENCE, Path(request.folder))
    found = frozenset(
        name for line in re.findall(r'^ +(-.*)$', said, re.M)
        for name in re.findall(r'--[A-Za-z0-9][A-Za-z0-9-]*', line)
    )
    return found if code in HELP and found else None


def _abi(path: str) -> int | None:
    """The ABI that the tender at `path` says it speaks; None when it does not say."""
    _, said = programs.ask((path, '--version'), PATIENCE)
    found = re.search(r'^ABI version (\d+)$', said, re.M)
    return int(found[1]) if found else None


def _release(abi: int) -> str:
    return {1: 'Solo5 0.6 or 0.7', 2: 'Solo5 0.8 or later'}.get(abi, f'a Solo5 of ABI {abi}')


def _disk(what: str, block: config.Block, repository: tuple[Path, ...]) -> int:
    path, quoted = Path(block.path), shlex.quote(block.path)
    if files.within(block.path, repository):
        raise errors.Refused(
            f'{what} is in the repository: {path}',
            hint='a disk changes as the unikernel runs: keep it elsewhere',
        )
    try:
        kind = path.stat().st_mode
        if not stat.S_ISBLK(kind) and not stat.S_ISREG(kind):
            raise errors.Refused(f'{what} is neither a file nor a block device: {path}')
        size = copies.size(path)
    except OSError as error:
        raise errors.Refused(
            f'{what} cannot be opened: {path}: {error.strerror}',
            hint=f'make it, as with `truncate -s 64M {quoted}`, or fix `path:` in mirage.yml',
        ) from None
    if size == 0 or size % block.sector:
        raise errors.Refused(
            f'{what} has {size} bytes, not a multiple of its sector of {block.sector}: {path}',
            hint=f'truncate -s %{block.sector} {quoted}',
        )
    return size
