"""What the kernel alone says of processes, of this boot and of the time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

LONGEST = 30 * 365 * 86400.0  # seconds; what ends later was written by version 0.1.0, since 1970


def identity(pid: int) -> tuple[int, int, str] | None:
    """What tells process `pid` from a later one of the same number: the number, its start in
    clock ticks since boot, and the boot; None when it has ended."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_bytes().rpartition(b')')[2].split()
        since = boot()
    except OSError:
        return None
    # Fields 3, 20 and 22 of proc(5), counted after the command's name: state, threads, start. A
    # process whose main thread has ended is said to be a zombie while others still hold its port.
    gone = fields[0] == b'X' or (fields[0] == b'Z' and int(fields[17]) <= 1)
    return None if gone else (pid, int(fields[19]), since)


def variables(name: str) -> Iterator[bytes]:
    """The variable `name` of each process that has it and whose environment we may read."""
    for process in os.listdir('/proc'):  # noqa: PTH208
        if process.isdecimal() and (found := variable(int(process), name)):
            yield found


def variable(pid: int, name: str) -> bytes:
    """The variable `name` of process `pid`, b'' when it has none: also for one that has ended, and
    for another user's."""
    begins = f'{name}='.encode()
    for word in reversed(_environment(f'/proc/{pid}').split(b'\0')):
        if word.startswith(begins):
            return word.removeprefix(begins)
    return b''


def _environment(folder: str) -> bytes:
    """Of a process whose main thread has ended another thread knows it."""
    if found := _read(f'{folder}/environ'):
        return found
    fields = _read(f'{folder}/stat').rpartition(b')')[2].split()
    if fields and fields[0] == b'Z' and int(fields[17]) > 1:
        return b'\0'.join(_read(f'{one}/environ') for one in Path(folder).glob('task/*'))
    return b''


def _read(path: str) -> bytes:
    """Without a Path and a buffer: each process of the host is asked at each push."""
    try:
        with open(path, 'rb', buffering=0) as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b''  # ended meanwhile, or another user's


def since(ticks: int) -> float:
    """When (seconds since 1970) a process was started that `identity` says was at `ticks`."""
    return time.time() - clock() + ticks / os.sysconf('SC_CLK_TCK')


def boot() -> str:
    """What tells this boot of the host from every other one."""
    return Path('/proc/sys/kernel/random/boot_id').read_text().strip()


def pending(when: float) -> bool:
    """Whether `when` (by `clock`) is to come, and not so far away that it is no such time."""
    return clock() < when < clock() + LONGEST


def clock() -> float:
    """Seconds since boot: nobody sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
