"""What the watcher keeps of one unikernel for 30 days: two files next to its releases.

`watch.json` is a `Record`: its silences, what was done about them, what people were told; written
whole, only when something of it changes, MOST of each at most.

`probes` has what was answered, by the minute: a head of 8 bytes, the minute that was written last
(counted since 1970), and after it MINUTES numbers of 2 bytes, that of minute M at M % MINUTES, all
little-endian. 0: nobody asked; 1 to SLOWEST: the slowest answer, in milliseconds; else MISSED,
SILENT or OURS. So it has 86,408 bytes for ever, and a question costs a write of a few of them. The
one watcher writes; whoever reads meanwhile sees one minute more or less."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import Literal

import msgspec

from ..messages import errors
from . import files

MINUTES = 30 * 24 * 60
KEPT = MINUTES * 60.0  # seconds
MOST = 100  # silences, and acts, that are kept
SLOWEST = 65_000  # ms; what took longer is that slow, too
OURS, MISSED, SILENT = 65_533, 65_534, 65_535  # the worst is the highest
HEAD = struct.Struct('<Q')

Act = Literal['restart', 'rollback']


class Silence(msgspec.Struct, frozen=True, omit_defaults=True):
    """When (seconds since 1970) `release` fell silent, what it did not answer, and when that was
    over; 0 while it lasts. `told`: people know of it."""

    at: float
    release: int
    reason: str
    ended: float = 0
    told: bool = False


class Healed(msgspec.Struct, frozen=True):
    """What was begun at `at` because `release`, an image of this digest, was silent."""

    at: float
    act: Act
    release: int
    digest: str
    reason: str


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """`flapping` is when people were told last that it is silent again and again; `fault` is what
    keeps us from asking, as it was told."""

    silences: tuple[Silence, ...] = ()
    healed: tuple[Healed, ...] = ()
    flapping: float = 0
    fault: str = ''

    @property
    def silent(self) -> Silence | None:
        """The silence that lasts."""
        last = self.silences[-1] if self.silences else None
        return last if last is not None and not last.ended else None


def read(folder: Path) -> Record:
    """What is kept in the `folder` of a unikernel; a damaged file is begun anew."""
    with contextlib.suppress(errors.Refused):
        return files.read(folder / 'watch.json', Record) or Record()
    return Record()


def write(folder: Path, record: Record, now: float) -> None:
    """Keep what of `record` is not too old; raises Unavailable when the disk is full."""
    files.write(folder / 'watch.json', msgspec.structs.replace(
        record,
        silences=tuple(one for one in record.silences if now - one.at < KEPT)[-MOST:],
        healed=tuple(one for one in record.healed if now - one.at < KEPT)[-MOST:],
    ))


def note(folder: Path, now: float, value: int) -> None:
    """Add `value` to the minute of `now` (seconds since 1970): the worst of a minute is kept."""
    minute = int(now // 60)
    with files.writing(folder):
        descriptor = os.open(folder / 'probes', os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            last = _last(descriptor)
            if not 0 <= minute - last < MINUTES:  # new, asleep for long, or the clock was set back
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, HEAD.size + 2 * MINUTES)
                last = minute
            for passed in range(last + 1, minute + 1):
                os.pwrite(descriptor, bytes(2), _place(passed))
            before = int.from_bytes(os.pread(descriptor, 2, _place(minute)), 'little')
            kept = max(before, value).to_bytes(2, 'little')
            os.pwrite(descriptor, kept, _place(minute))
            os.pwrite(descriptor, HEAD.pack(minute), 0)
        finally:
            os.close(descriptor)


def probes(folder: Path, now: float) -> list[int]:
    """What the last MINUTES brought, the minute of `now` last."""
    try:
        held = (folder / 'probes').read_bytes()
    except OSError:
        return [0] * MINUTES
    if len(held) != HEAD.size + 2 * MINUTES:
        return [0] * MINUTES
    last, found = HEAD.unpack_from(held)[0], struct.unpack_from(f'<{MINUTES}H', held, HEAD.size)
    begin = (last + 1) % MINUTES
    ordered = [*found[begin:], *found[:begin]]
    passed = max(-MINUTES, min(int(now // 60) - last, MINUTES))  # less than 0: it was set back
    if passed < 0:
        return [*[0] * -passed, *ordered][:MINUTES]
    return [*ordered, *[0] * passed][-MINUTES:]


def _last(descriptor: int) -> int:
    whole = os.fstat(descriptor).st_size == HEAD.size + 2 * MINUTES
    return int(HEAD.unpack(os.pread(descriptor, HEAD.size, 0))[0]) if whole else 0


def _place(minute: int) -> int:
    return HEAD.size + 2 * (minute % MINUTES)
