"""Builds the rig's four files from Debian packages only, once for each recipe."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mirage_hooks.messages.errors import Refused

from . import steps

HERE = Path(__file__).parent
BOOT_PACKAGES = ('linux-image-amd64', 'xen-hypervisor-4.17-amd64', 'busybox-static')


def lacking() -> str:
    """What keeps this machine from building or running the rig, or ''."""
    tools = ['qemu-system-x86_64', 'qemu-img']
    if not folder().exists():
        if os.geteuid() != 0:
            return 'the Xen rig is not built, and building it needs root'
        tools += ['mmdebstrap', 'mke2fs']
    absent = [tool for tool in tools if shutil.which(tool) is None]
    return f'the Xen rig needs {", ".join(absent)}' if absent else ''


def folder() -> Path:
    """Where this recipe's files belong: named by the recipe's digest, so a changed one is built."""
    recipe = hashlib.sha256()
    for part in [HERE / 'build.py', HERE / 'steps.py', *sorted(steps.DOM0.iterdir())]:
        recipe.update(part.name.encode() + b'\0' + part.read_bytes() + b'\0')
    cache = os.environ.get('RIG_CACHE') or HERE.parents[1] / '.cache' / 'rig'
    return Path(cache).absolute() / recipe.hexdigest()[:16]


def ready() -> Path:
    """The folder with xen, vmlinux, initrd and root.ext4; the first call builds them.

    Building takes about a minute and root. Raises Refused when a step fails.
    """
    done = folder()
    if not done.exists():
        done.parent.mkdir(parents=True, exist_ok=True)
        with _alone(done.parent / 'lock'):
            if not done.exists():  # another process may have built it in the meantime
                _build(done)
    return done


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open('w') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _build(done: Path) -> None:
    """Everything happens in `unfinished`; the rename at the end is what makes it a rig."""
    if absent := lacking():
        raise Refused(absent, hint='on Debian: apt install qemu-system-x86 qemu-utils mmdebstrap')
    work = done.parent / 'unfinished'
    shutil.rmtree(work, ignore_errors=True)
    files = work / 'files'
    files.mkdir(parents=True)
    started = time.monotonic()

    def say(step: str) -> None:
        print(f'rig: {time.monotonic() - started:3.0f} s  {step}', file=sys.stderr, flush=True)

    try:
        say('unpacking kernel, hypervisor and busybox')
        boot = steps.debian(work / 'boot', 'extract', BOOT_PACKAGES)
        say("installing dom0's packages")
        root = steps.debian(work / 'root', 'minbase', steps.words('packages'))
        say('making kernel, initrd and disk')
        steps.kernel(boot, files)
        steps.initrd(boot, files / 'initrd')
        steps.modules(boot, root)
        steps.furnish(root)
        steps.disk(root, files / 'root.ext4')
        files.rename(done)
        say(f'ready: {done}')
    finally:
        shutil.rmtree(work, ignore_errors=True)
