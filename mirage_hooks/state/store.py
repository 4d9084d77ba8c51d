"""What this host knows, below the git directory: releases, the pointer to the live one, pins,
remembered failures. Every change is one atomic rename, so a kill at any moment leaves the old
or the new, never half."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import config
from ..config import source
from ..messages import errors
from . import fastpath, files, known, ownership, pipe
from .releases import Releases

PATIENCE = 900.0  # seconds to wait for another deployment of the same repository

UNTOLD = 16384  # characters


def opened(root: Path) -> Store:
    """The state at `root`; raises Refused unless it is a folder of ours (or root's), which nobody
    else may write: plans in it are executed."""
    strange = ownership.strange(root)
    if not strange and root.exists() and not root.is_dir():
        strange = 'is no folder'
    if strange:
        owner = ownership.owner(root)
        raise errors.Refused(
            f'the state {root} {strange}: nothing in it is believed',
            hint=f'run this as the user who installed it, as with: sudo -u {owner} mirage-hooks …'
            if 'another user' in strange else 'if it is yours, look what changed in it, then: '
            f'chown -R $USER {shlex.quote(str(root))}; chmod 700 {shlex.quote(str(root))}',
        )
    return Store(root)


def settings(path: Path, root: Path | None = None, keep: bool = False) -> config.Settings:
    """The host's own mirage.yml at `path`, which says what is run as us; raises Refused, too, when
    it may be somebody else's word. What the state at `root` knows of it need not be read again;
    whoever holds its lock may `keep` there what it does not know."""
    text = mirage_yml(path)
    if root is not None and (found := known.find(root, text)) is not None:
        return found
    from ..config import reading  # YAML comes with it

    found = reading.parse(text, str(path))
    if root is not None and keep:
        known.keep(root, text, found)
    return found


def last_settings(state: Store) -> config.Settings | None:
    """What mirage.yml said when a deployment could last read it, None when nobody knows."""
    return known.last(state.root)


def mirage_yml(path: Path) -> bytes:
    """The text of the mirage.yml at `path`; raises Refused when it may be somebody else's word."""
    real = path.resolve()
    sticky = real.parent.is_dir() and real.parent.stat().st_mode & stat.S_ISVTX
    for one in (real, *(() if sticky else (real.parent,))):
        if strange := ownership.strange(one, others=stat.S_IWOTH):
            fix = f'chmod o-w {shlex.quote(str(one))}' if 'written' in strange else (
                'run this as that user, or give it to the user who deploys: '
                f'chown $USER {shlex.quote(str(one))}')
            raise errors.Refused(f'{one} {strange}: it decides what is run here', hint=fix)
    return source.read(path, hint='git config mirage.config names that file: write it, or name '
                       'another: git config mirage.config /path/mirage.yml')


class Store:
    """The state folder `root` of one repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.history = root / 'history.jsonl'
        self.fastpath = root / fastpath.FILE
        self.kept = root / pipe.KEPT
        self.programs = root / 'programs'
        self.cron, self.succeeded = root / 'cron', root / 'succeeded'

    def names(self) -> list[str]:
        """The unikernels that have ever had a release here."""
        folder = self.root / 'unikernels'
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def sweep(self) -> None:
        """Remove what a kill left: half-written files, and releases that never served."""
        with files.writing(self.root):
            for path in self.root.glob('*.new'):
                path.unlink()
            (self.root / 'settled.json').unlink(missing_ok=True)  # 0.1.0's fastpath.json
        for name in self.names():
            self.of(name).sweep()

    def news(self, topic: str, trouble: str) -> bool:
        """Whether `trouble` with `topic` is other than the one told last; '' ends it."""
        path = self.root / f'{topic}-trouble.json'
        with contextlib.suppress(errors.Refused):  # what cannot be remembered is told each time
            if files.read(path, str) == trouble:
                return False
            if trouble or path.exists():
                files.write(path, trouble or None)
        return bool(trouble)

    def trouble(self, topic: str) -> str:
        """The trouble with `topic` that was told last and is not over; '' for none."""
        with contextlib.suppress(errors.Refused):
            return files.read(self.root / f'{topic}-trouble.json', str) or ''
        return ''

    def ran(self, well: bool = False) -> None:
        """Remember that cron's command runs now, or has ended `well`."""
        with contextlib.suppress(OSError):  # who cannot write here is told so by what follows
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.succeeded if well else self.cron).touch(0o600)

    def last_run(self, well: bool = False) -> float | None:
        """When (seconds since 1970) it ran last, or last ended `well`; None before it did."""
        with contextlib.suppress(OSError):
            return (self.succeeded if well else self.cron).stat().st_mtime
        return None

    def keep_untold(self, text: str) -> None:
        """Keep `text` for who is heard next; the last UNTOLD characters of all that is kept."""
        if text:
            files.write(self.root / 'untold.json', (self._kept_untold() + text)[-UNTOLD:])

    def untold(self) -> str:
        """What was kept, once."""
        text = self._kept_untold()
        if text:
            files.write(self.root / 'untold.json', None)
        return text

    def _kept_untold(self) -> str:
        with contextlib.suppress(errors.Refused):  # damaged: nothing that matters is lost
            return files.read(self.root / 'untold.json', str) or ''
        return ''

    def key(self) -> bytes:
        """What secrets are digested with; made when it is first wanted."""
        path = self.root / 'key'
        if not path.exists():
            import secrets

            files.write(path, secrets.token_hex(32))
        return path.read_bytes()

    def of(self, name: str) -> Releases:
        return Releases(self.root / 'unikernels' / name)

    def proof(self, name: str) -> Releases:
        """Where the gate tries what is pushed: apart, that nothing else looks at."""
        return Releases(self.root / 'gate' / name)

    def proofs(self) -> list[Releases]:
        """What the gate tries or has tried."""
        folder = self.root / 'gate'
        return [Releases(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []

    def forget_proofs(self) -> None:
        with files.writing(self.root):
            if (self.root / 'gate').exists():
                shutil.rmtree(self.root / 'gate')

    @contextlib.contextmanager
    def lock(
        self, purpose: str, patience: float, waiting: Any = None, name: str = 'lock'
    ) -> Iterator[None]:
        """Hold the repository's one lock (or that on another `name`); it dies with its holder.
        `waiting(holder)` is called once when another holds it; raises Unavailable after
        `patience` seconds."""
        with files.writing(self.root):
            # Consoles, plans and images are for their owner's eyes alone.
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.root.chmod(0o700)
            descriptor = os.open(self.root / name, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._acquire(descriptor, patience, waiting, name)
            with contextlib.suppress(OSError):  # a full disk: only the holder's name is lost
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f'{os.getpid()} {purpose}\n'.encode())
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def holder(self, name: str = 'lock') -> str:
        """Who holds the lock, as `1234 git push`; '' when nobody does."""
        try:
            with (self.root / name).open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return file.read().strip() or 'unknown'
        except OSError:
            pass
        return ''

    def _acquire(self, descriptor: int, patience: float, waiting: Any, name: str) -> None:
        limit = time.monotonic() + patience
        told = False
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self.holder(name) or 'another process'
            if not told and waiting:
                waiting(holder)
                told = True
            if time.monotonic() > limit:
                raise errors.Unavailable(
                    f'another deployment of this repository still runs: {holder}',
                    hint=f'waited {patience:g} s; look at it with `ps -fp {holder.split()[0]}`',
                )
            time.sleep(0.02)
