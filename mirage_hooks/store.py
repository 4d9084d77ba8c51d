"""What this host knows, below the git directory: releases, the pointer to the live one, pins,
remembered failures. Every change is one atomic rename, so a kill at any moment leaves the old
or the new, never half."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from . import errors, model, settled

T = TypeVar('T')

PATIENCE = 900.0  # seconds to wait for another deployment of the same repository

UNTOLD = 16384  # characters
XEN_CONSOLE_KEPT = 1 << 20  # bytes of a refused image's console
CONSOLE = 'console.log'  # what the image prints, in its release's folder
RUN = 'run.json'  # its process
ENDED = 'ended.json'  # how it ended, as bubblewrap reports
FILTER = 'filter.bpf'  # what it runs under, where it does
BEGAN = 'began'  # how many bytes its console had when it was started last


def opened(root: Path) -> Store:
    """The state at `root`; raises Refused unless it is a folder of ours (or root's), which nobody
    else may write: plans in it are executed."""
    strange = settled.strange(root)
    if not strange and root.exists() and not root.is_dir():
        strange = 'is no folder'
    if strange:
        owner = settled.owner(root)
        raise errors.Refused(
            f'the state {root} {strange}: nothing in it is believed',
            hint=f'run this as the user who installed it, as with: sudo -u {owner} mirage-hooks …'
            if 'another user' in strange else 'if it is yours, look what changed in it, then: '
            f'chown -R $USER {shlex.quote(str(root))}; chmod 700 {shlex.quote(str(root))}',
        )
    return Store(root)


class Store:
    """The state folder `root` of one repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.history = root / 'history.jsonl'
        self.settled = root / 'settled.json'
        self.kept = root / settled.KEPT
        self.programs = root / 'programs'

    def names(self) -> list[str]:
        """The unikernels that have ever had a release here."""
        folder = self.root / 'unikernels'
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def sweep(self) -> None:
        """Remove what a kill left: half-written files, and releases that never served."""
        with writing(self.root):
            for path in self.root.glob('*.new'):
                path.unlink()
        for name in self.names():
            self.of(name).sweep()

    def news(self, topic: str, trouble: str) -> bool:
        """Whether `trouble` with `topic` is other than the one told last; '' ends it."""
        path = self.root / f'{topic}-trouble.json'
        with contextlib.suppress(errors.Refused):  # what cannot be remembered is told each time
            if read(path, str) == trouble:
                return False
            if trouble or path.exists():
                write(path, trouble or None)
        return bool(trouble)

    def keep_untold(self, text: str) -> None:
        """Keep `text` for who is heard next; the last UNTOLD characters of all that is kept."""
        if text:
            write(self.root / 'untold.json', (self._kept_untold() + text)[-UNTOLD:])

    def untold(self) -> str:
        """What was kept, once."""
        text = self._kept_untold()
        if text:
            write(self.root / 'untold.json', None)
        return text

    def _kept_untold(self) -> str:
        with contextlib.suppress(errors.Refused):  # damaged: nothing that matters is lost
            return read(self.root / 'untold.json', str) or ''
        return ''

    def key(self) -> bytes:
        """What secrets are digested with; made when it is first wanted."""
        path = self.root / 'key'
        if not path.exists():
            write(path, secrets.token_hex(32))
        return path.read_bytes()

    def of(self, name: str) -> Shelf:
        return Shelf(self.root / 'unikernels' / name)

    def proof(self, name: str) -> Shelf:
        """Where the gate tries what is pushed: a shelf apart, that nothing else looks at."""
        return Shelf(self.root / 'gate' / name)

    def proofs(self) -> list[Shelf]:
        """What the gate tries or has tried."""
        folder = self.root / 'gate'
        return [Shelf(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []

    def forget_proofs(self) -> None:
        with writing(self.root):
            if (self.root / 'gate').exists():
                shutil.rmtree(self.root / 'gate')

    @contextlib.contextmanager
    def lock(
        self, purpose: str, patience: float, waiting: Any = None, name: str = 'lock'
    ) -> Iterator[None]:
        """Hold the repository's one lock (or that on another `name`); it dies with its holder.
        `waiting(holder)` is called once when another holds it; raises Unavailable after
        `patience` seconds."""
        with writing(self.root):
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


class Shelf:
    """The releases of one unikernel."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.failed_console = root / 'failed.log'

    def folder(self, number: int) -> Path:
        return self.root / 'releases' / str(number)

    def current(self) -> model.Release | None:
        """The release that should be live: one pointer, moved atomically."""
        pointer = self.root / 'current'
        try:
            return self.release(int(pointer.readlink().name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):
            raise errors.Refused(
                f'{pointer} is damaged: it is no link to a release',
                hint='move it away and run `mirage-hooks deploy`: it is made anew',
            ) from None

    def release(self, number: int) -> model.Release | None:
        return read(self.folder(number) / 'release.json', model.Release)

    def releases(self) -> list[model.Release]:
        """Every release that has served, oldest first."""
        served = [n for n in self.numbers() if (self.folder(n) / 'served').exists()]
        return [r for n in served if (r := self.release(n)) is not None]

    def numbers(self) -> list[int]:
        folder = self.root / 'releases'
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        return sorted(int(name) for name in names if name.isdigit())

    def last(self) -> int:
        """The number that was given last, 0 before the first."""
        return max([read(self.root / 'counter', int) or 0, *self.numbers()])

    def begin(self, after: int = 0) -> int:
        """The number of a new release, above `after` and never used before, with its folder."""
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            number = max(self.last(), after) + 1
            write(self.root / 'counter', number)
            self.folder(number).mkdir(parents=True)
        return number

    def save(self, release: model.Release) -> None:
        write(self.folder(release.number) / 'release.json', release)

    def point(self, number: int) -> None:
        """Make `number` the live release, and remember which one it came after."""
        current = self.current()
        if not (self.folder(number) / 'served').exists():
            write(self.folder(number) / 'served', current.number if current else 0)
        with writing(self.root):
            fresh = self.root / 'current.new'
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(Path('releases') / str(number))
            fresh.replace(self.root / 'current')
            sync(self.root)

    def unpoint(self) -> None:
        with writing(self.root):
            (self.root / 'current').unlink(missing_ok=True)

    def sweep(self) -> None:
        current = self.current()
        for number in self.numbers():
            served = (self.folder(number) / 'served').exists()
            if not served and (current is None or current.number != number):
                self.discard(number)
        with writing(self.root):
            for path in self.root.rglob('*.new'):
                path.unlink()

    def discard(self, number: int) -> None:
        with writing(self.root):
            shutil.rmtree(self.folder(number), ignore_errors=False)

    def fail(self, number: int, console: Path) -> None:
        """Discard a release that did not serve; only its `console` stays, as failed.log."""
        with writing(self.root):
            if console.exists() and console.is_relative_to(self.root):
                console.replace(self.failed_console)
            elif console.exists():  # xenconsoled's own
                self.failed_console.write_bytes(console.read_bytes()[-XEN_CONSOLE_KEPT:])
        self.discard(number)

    def forget_console(self) -> None:
        with writing(self.root):
            self.failed_console.unlink(missing_ok=True)

    def previous(self) -> model.Release | None:
        """The release that a rollback goes to: the one that was live before the current one."""
        current = self.current()
        if current is None:
            return None
        before = read(self.folder(current.number) / 'served', int)
        return self.release(before) if before else None

    def prune(self, keep: int) -> list[int]:
        """Discard all but the live release and the `keep` newest before it."""
        current = self.current()
        if current is None:
            return []
        kept = {r.number for r in self.releases() if r.number < current.number}
        previous = self.previous()
        kept = set(sorted(kept)[-keep:]) | {current.number, previous.number if previous else 0}
        kept |= {release.number for release in self.wanted()}
        gone = [number for number in self.numbers() if number not in kept]
        for number in gone:
            self.discard(number)
        return gone

    def wanted(self) -> list[model.Release]:
        """What may run: the live release, and those that keep their connections for a while."""
        current, overlap = self.current(), self.overlap()
        if current is None:
            return []
        beside = [side.release for side in overlap.sides] if overlap else []
        others = [self.release(number) for number in beside if number != current.number]
        return [current, *(release for release in others if release is not None)]

    def overlap(self) -> model.Overlap | None:
        return read(self.root / 'overlap.json', model.Overlap)

    def set_overlap(self, overlap: model.Overlap | None) -> None:
        if overlap is not None or (self.root / 'overlap.json').exists():
            write(self.root / 'overlap.json', overlap)

    def pin(self) -> model.Pin | None:
        return read(self.root / 'pin.json', model.Pin)

    def set_pin(self, pin: model.Pin | None) -> None:
        write(self.root / 'pin.json', pin)

    def failure(self) -> model.Failure | None:
        return read(self.root / 'failure.json', model.Failure)

    def set_failure(self, failure: model.Failure | None) -> None:
        if failure is not None or (self.root / 'failure.json').exists():
            write(self.root / 'failure.json', failure)

    def floor(self, branch: str) -> str:
        """The commit of `branch` that was last deployed and trusted, '' when there is none."""
        floor = read(self.root / 'floor.json', model.Floor)
        return floor.commit if floor is not None and floor.branch == branch else ''

    def set_floor(self, floor: model.Floor) -> None:
        if floor != read(self.root / 'floor.json', model.Floor):
            write(self.root / 'floor.json', floor)

    def forget_floor(self) -> bool:
        """Whether there was one."""
        with writing(self.root):
            had = (self.root / 'floor.json').exists()
            (self.root / 'floor.json').unlink(missing_ok=True)
        return had

    def run(self, number: int) -> model.Run | None:
        return read(self.folder(number) / RUN, model.Run)

    def crashes(self) -> model.Crashes | None:
        return read(self.root / 'crashes.json', model.Crashes)

    def set_crashes(self, crashes: model.Crashes | None) -> None:
        if crashes is not None or (self.root / 'crashes.json').exists():
            write(self.root / 'crashes.json', crashes)

    def set_run(self, number: int, run: model.Run | None) -> None:
        write(self.folder(number) / RUN, run)


def read(path: Path, kind: type[T]) -> T | None:
    """What `path` holds, None when there is nothing; raises Refused when it is not ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise errors.Unavailable(f'cannot read {path}: {error.strerror}') from None
    except msgspec.DecodeError as error:
        raise errors.Refused(
            f'{path} is damaged: {error}',
            hint='move it away and run `mirage-hooks deploy`: it is made anew',
        ) from None


def write(path: Path, value: Any) -> None:
    """Put `value` into `path`, whole or not at all, also across a power cut; None removes it."""
    with writing(path):
        if value is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + '.new')
        with fresh.open('wb') as file:
            file.write(msgspec.json.encode(value) + b'\n')
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync(path.parent)


def sync(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the disk become Unavailable, in words."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: 'make room, then `mirage-hooks deploy`; what runs goes on running',
            errno.EDQUOT: 'make room, then `mirage-hooks deploy`; what runs goes on running',
            errno.EROFS: 'the file system is mounted read-only',
            errno.EACCES: 'the state belongs to another user: run this as the one who installed',
            errno.EPERM: 'the state belongs to another user: run this as the one who installed',
        }
        raise errors.Unavailable(
            f'cannot write {error.filename or path}: {error.strerror}',
            hint=hints.get(error.errno or 0, ''),
        ) from None
