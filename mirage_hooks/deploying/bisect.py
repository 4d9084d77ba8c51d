"""Which image of a branch's history was the first bad one: some are tried, by halves, apart from
what serves."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from .. import config
from ..git import shared, tree
from ..git.repository import Repository
from ..host import programs
from ..messages import errors, progress
from ..messages.report import Reporter
from ..state import files, store
from . import trial
from .candidate import Candidates
from .context import Context, Intent

COMMAND = 600.0  # seconds for `--run`: a push waits meanwhile
UNTRIED = 125  # the exit code of a command that cannot tell, as for `git bisect run`
ENDING = 126  # from here on the shell did not find it, or something ended it


class Range(msgspec.Struct, frozen=True):
    """The commits (40 digits, or the first of them) between which is searched, '' for the oldest
    and the newest; `run` is the shell command that asks in place of `health:`, '' for none."""

    good: str = ''
    bad: str = ''
    run: str = ''


class Verdict(msgspec.Struct, frozen=True):
    """What came of one image, and why where it is not good."""

    kind: Literal['good', 'bad', 'untried']
    reason: str = ''


class Answer(msgspec.Struct, frozen=True):
    """The first image found `bad`, why, and the last one before it found `good`; `skipped` are
    those between the two that could not be tried, `of` how many there were, `tried` how many of
    them were."""

    good: tree.Found
    bad: tree.Found
    reason: str
    skipped: tuple[tree.Found, ...]
    tried: int
    of: int


def bisect(
    repository: Repository, name: str, within: Range, trigger: str, report: Reporter
) -> Answer:
    """The first bad image of `name`. The lock is held for one trial at a time. Raises Refused when
    the ends are not as they should be, and where nothing can be tried."""
    context = Context(repository, store.opened(repository.state), Intent(trigger), report)
    settings = context.settings()
    wanted = settings.unikernels[name]
    tip = context.commit(wanted, settings)
    context.require_trust(context.state.of(name), wanted, settings, tip)
    found = _chosen(repository, tip, images(repository, name, wanted, tip), within)
    return Bisect(context, name, settings, within.run).answer(found)


def images(
    repository: Repository, name: str, wanted: config.Unikernel, tip: str
) -> list[tree.Found]:
    """The images of `name` that the branch has held up to the commit `tip`, oldest first, each with
    the commit that brought it."""
    folder = str(PurePosixPath(tree.inside(wanted.image, f'{name}.image')).parent)
    found: list[tree.Found] = []
    with progress.doing(f'looking for images of {name}') as work:
        for commit in repository.line(tip, folder):
            work.now(f'{len(found)} found')
            try:
                one = repository.named(commit, name, wanted)
            except errors.Unavailable:
                raise
            except errors.Refused:  # there was none then
                continue
            if not found or found[-1].blob != one.blob:
                found.append(one)
    return found


def _chosen(
    repository: Repository, tip: str, found: list[tree.Found], within: Range
) -> list[tree.Found]:
    """Those of `found` that are `within` the range, the ends too."""
    line = repository.line(tip) if within.good or within.bad else []
    places = {commit: place for place, commit in enumerate(line)}
    first, last = 0, len(found) - 1
    if within.good:
        first = _at(within.good, line, places, found)
    if within.bad:
        last = _at(within.bad, line, places, found)
    if last <= first:
        count = 'no image' if not found else 'no two images'
        raise errors.Refused(
            f'there are {count} to search between: the bad one must be newer than the good one',
            hint='a shallow clone lacks older ones: git fetch --unshallow; --good and --bad name '
            'commits of the deployed branch',
        )
    return found[first : last + 1]


def _at(text: str, line: list[str], places: dict[str, int], found: list[tree.Found]) -> int:
    """Which of `found` was there at the commit of `line` that begins with `text`."""
    known = [commit for commit in line if commit.startswith(text.lower())]
    if not re.fullmatch('[0-9a-fA-F]{4,40}', text) or len(known) != 1:
        what = 'several commits begin' if len(known) > 1 else 'no commit begins'
        raise errors.Refused(
            f'{what} with {text[:40]!r} on the deployed branch',
            hint='`mirage-hooks history` and git log --first-parent name them; 4 digits at least',
        )
    before = [index for index, one in enumerate(found) if places[one.commit] <= places[known[0]]]
    if not before:
        raise errors.Refused(f'commit {known[0][:12]} has no image yet, nor has one before it')
    return before[-1]


class Bisect:
    """Tries images of `name` as mirage.yml runs it now."""

    def __init__(
        self, context: Context, name: str, settings: config.Settings, command: str
    ) -> None:
        self.context, self.name, self.settings, self.command = context, name, settings, command
        self.wanted = settings.unikernels[name]
        if command:  # asks in the place of `health:` whether it is good, not whether it is up
            self.wanted = msgspec.structs.replace(self.wanted, health=())
        self.verdicts: dict[int, Verdict] = {}

    def answer(self, found: list[tree.Found]) -> Answer:
        """Ask one after the other in the middle of those that nothing is known of. The ends are
        among them: so it is seen when they are not what they should be, at no more than one trial
        (64 images take 7)."""
        low, high = 0, len(found)  # good before the one, bad from the other on
        while unknown := [at for at in range(low, high) if at not in self.verdicts]:
            middle = unknown[len(unknown) // 2]
            verdict = self.verdicts[middle] = self._step(found[middle], len(unknown))
            if verdict.kind == 'bad':
                high = middle
            elif verdict.kind == 'good':
                low = middle + 1
        self._require_ends(found, low, high)
        tried = [one for one in self.verdicts.values() if one.kind != 'untried']
        return Answer(found[low - 1], found[high], self.verdicts[high].reason,
                      tuple(found[low:high]), len(tried), len(found))

    def _step(self, one: tree.Found, unknown: int) -> Verdict:
        step = len(self.verdicts) + 1
        self._say(f'step {step} of about {step - 1 + unknown.bit_length()}: {_of(one)}')
        verdict = self._tried(one)
        what = 'cannot be tried' if verdict.kind == 'untried' else f'is {verdict.kind}'
        self._say(f'{_of(one)} {what}{": " if verdict.reason else ""}{verdict.reason}')
        return verdict

    def _require_ends(self, found: list[tree.Found], low: int, high: int) -> None:
        """Raise Refused unless one was found good, and a later one bad."""
        if low > 0 and high < len(found):
            return
        kinds = {verdict.kind for verdict in self.verdicts.values()}
        if 'good' not in kinds and 'bad' not in kinds:
            reason = next(reversed(self.verdicts.values())).reason
            raise errors.Refused(f'none of {len(found)} images could be tried: {reason}')
        if low == 0:
            raise errors.Refused(
                f'{_of(found[high])} is bad, and no older one was found good: '
                f'{self.verdicts[high].reason}',
                hint='--good names a commit whose image was good; does mirage.yml, as it is now, '
                'fit the old images?',
            )
        asks = 'the command' if self.command else 'health:'
        raise errors.Refused(
            f'{_of(found[low - 1])} is good, and no newer one was found bad',
            hint=f'{asks} does not see what is wrong: --run COMMAND asks otherwise',
        )

    def _tried(self, one: tree.Found) -> Verdict:
        """Try it where a gate would; only then is the lock held."""
        context, state = self.context, self.context.state
        with state.lock(context.intent.trigger, store.PATIENCE, context.report.waiting):
            # Were we killed, the next cron run would see that there is something to be ended.
            files.write(state.fastpath, None)
            context.tidy()
            state.forget_proofs()
            try:
                return self._verdict(one)
            finally:
                state.forget_proofs()

    def _verdict(self, one: tree.Found) -> Verdict:
        context, releases = self.context, self.context.state.of(self.name)
        proof, candidates = context.state.proof(self.name), Candidates(context)
        candidates.digest_secrets(self.name, self.wanted)
        try:
            found = shared.find(
                context.repository, releases, self.settings, self.name, one.commit)
            new = candidates.staged(
                proof, self.name, self.wanted, found, self.settings.unpacked_limit)
        except errors.Refused as refused:  # no image, or for another host
            return Verdict('untried', refused.reason)
        try:
            request, judge = candidates.requests[new.number], self._judge if self.command else None
            if trial.held(context, proof, self.wanted, new, request, judge):
                return Verdict('good')
        except errors.Unavailable as missing:
            return Verdict('untried', missing.reason)
        except errors.Refused as bad:
            return Verdict('bad', bad.reason)
        raise errors.Refused(
            f'{self.name} cannot be tried apart from what runs',
            hint='that takes a `port:` of `mode: socket`, or root and `mode: static` with a bridge',
        )

    def _judge(self, address: str, port: int | None) -> None:
        """Run the command; raises Refused with how it ended, but for 0."""
        told = {**os.environ, 'PATH': programs.PATH, 'MIRAGE_HOOKS_ADDRESS': address,
                'MIRAGE_HOOKS_PORT': '' if port is None else str(port)}
        command = ('/bin/sh', '-c', 'cd "$0" && eval "$1"', str(Path.cwd()), self.command)
        code, said = programs.ask(command, COMMAND, **told)
        for line in said.splitlines()[-20:]:
            self._say(f'| {line}')
        if code is None:
            raise errors.Refused(f'the command took more than {COMMAND:g} s, or printed too much')
        if code == UNTRIED:
            raise errors.Unavailable(f'the command ended with exit code {code}')
        if code >= ENDING:
            raise errors.Usage(f'--run: the command ended with exit code {code}: is it there?')
        if code:
            raise errors.Refused(f'the command ended with exit code {code}')

    def _say(self, text: str) -> None:
        self.context.report.step(self.name, text)


def _of(one: tree.Found) -> str:
    """How an image is called in what is told."""
    return f'the image of commit {one.commit[:12]}'
