"""How a release ended, in words, and what to do about it."""

from __future__ import annotations

import re

import msgspec

from ..host import cgroups, supervisor
from ..messages import errors
from ..state import model
from ..state.releases import Releases
from . import consoles

CODES = {
    1: 'the tender refused it',
    2: 'an OCaml exception',
    63: 'it printed its help',
    64: 'it does not know one of its arguments',
    127: 'it is no program of this host',
    78: 'its configuration is wrong',
    137: 'killed by somebody, or by the kernel for want of memory (`dmesg` tells)',
    139: 'memory fault',
    143: 'ended by somebody (SIGTERM)',
    255: 'abort or out of memory',
}
SHORT_OF_MEMORY = re.compile(
    # OCaml's runtime, of either version and on every target; malloc's and mmap's errno, as the
    # tenders and QEMU print it too; Python's stand-in for an image.
    r'^Fatal error: (exception )?out of memory|\bOut_of_memory\b|\bcannot allocate memory\b'
    r'|^MemoryError\b', re.I | re.M,
)
EXCEPTION = re.compile(r'^Fatal error: exception\b|^Raised (at|by) ', re.M)  # as OCaml's says
CLOSED = re.compile(r'(/dev/\S+): (?:Permission denied|No such file)')
PAIR = re.compile(r'^(?:.*\] )?tls: (.+)$', re.M)  # the scaffold's, perhaps behind a log's head
SHOWN = 200  # characters of what an image says
LAST = 40  # lines of the console in which the reason is looked for: a backtrace may follow it


class End(msgspec.Struct, frozen=True):
    """How a process ended: its exit code, where anybody saw it, the reason in words, and what to do
    about it, '' for nothing in particular."""

    code: int | None
    reason: str
    hint: str = ''

    @property
    def briefly(self) -> str:
        """The reason without that it ended; '' when there is no more to say."""
        return self.reason.removeprefix('it ended').strip(' :')

    @property
    def refusal(self) -> errors.Refused:
        return errors.Refused(self.reason, self.hint)


def how(releases: Releases, release: model.Release, code: int | None) -> End:
    """How `release` ended, with `code` as far as it is known."""
    said = '\n'.join(consoles.last_words(releases, release, LAST))
    if _starved(release.plan) or SHORT_OF_MEMORY.search(said):
        return End(code, f'{_with(code)}: out of memory', _more_memory(release))
    if found := PAIR.search(said):
        return End(code, _with(code) + _known(code, release.plan, said), (
            'it does not take the pair of `certificate:` in mirage.yml; it says: '
            f'{found[1][:SHOWN]}'))
    closed = CLOSED.search(said)
    hint = f'mirage-hooks check says why it cannot be opened: {closed[1]}' if closed else ''
    return End(code, _with(code) + _known(code, release.plan, said), hint)


def _with(code: int | None) -> str:
    return 'it ended' if code is None else f'it ended with exit code {code}'


def _known(code: int | None, plan: model.Plan, said: str) -> str:
    tender = code != 1 or plan.target in ('spt', 'hvt')
    raised = code != 2 or EXCEPTION.search(said)  # else it may be a script's or another language's
    known = f': {CODES[code]}' if code in CODES and tender and raised else ''
    for flag in ('--ipv4-only', '--ipv6-only'):
        if code == 64 and any(flag in word for word in plan.command):
            known += f' ({flag}? `ipv4_only: false` in mirage.yml keeps it away)'
    return known


def _starved(plan: model.Plan) -> bool:
    """Whether the kernel killed it because it had used up the memory that it may take."""
    if plan.unit:
        return supervisor.state(plan).starved
    return plan.group is not None and cgroups.starved(plan.group.name)


def _more_memory(release: model.Release) -> str:
    if not release.memory:  # started by an earlier version
        return f'give {release.unikernel} a larger `memory:` in mirage.yml (MB)'
    return (
        f'write `memory: {2 * release.memory}` for {release.unikernel} in mirage.yml: it has '
        f'{release.memory} MB'
    )
