"""Which image of a branch's history was the first bad one: some are tried, by halves, apart from
what serves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from .. import config
from ..git import shared, tree
from ..git.repository import Repository
from ..host import interruption, listening, programs
from ..messages import errors
from ..messages.report import Reporter
from ..state import store
from ..switching import consoles
from . import published, trial
from .candidate import Candidates
from .context import Context, Intent

PAUSE = 0.2  # seconds between two trials; who waits for the lock looks more often, and gets it
COMMAND = 600.0  # seconds for `--run`: a push waits meanwhile
UNTRIED = 125  # the exit code of a command that cannot tell, as for `git bisect run`
SHOWN = 20  # lines of what it prints
ENDING = 126  # from here on the shell did not find it, or something ended it


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
    repository: Repository, name: str, good: str, bad: str, command: str, trigger: str,
    report: Reporter,
) -> Answer:
    """The first bad image of `name` between those of the commits `good` and `bad` (see
    `published.between`), by its `health:` or by the shell's `command`. The lock is held for one
    trial at a time. Raises Refused when the ends are not as they should be, and where nothing can
    be tried."""
    context = Context(repository, store.opened(repository.state), Intent(trigger), report)
    settings = context.settings()
    wanted = settings.unikernels[name]
    tip = context.commit(wanted, settings)
    context.require_trust(context.state.of(name), wanted, settings, tip)
    found = published.images(repository, name, wanted, tip)
    found = published.between(repository, tip, found, good, bad)
    return Bisect(context, name, settings, command).answer(found)


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
        if step > 1:
            time.sleep(PAUSE)
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
            context.tidy()
            state.forget_proofs()
            try:
                return self._verdict(one)
            finally:
                with interruption.held():
                    context.tidy()  # what was being started when somebody interrupted it
                    state.forget_proofs()

    def _verdict(self, one: tree.Found) -> Verdict:
        context, releases = self.context, self.context.state.of(self.name)
        proof, candidates = context.state.proof(self.name), Candidates(context)
        candidates.read(self.name, self.wanted)
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
            if not self.command:
                self._show(consoles.tail(consoles.of(proof, new)))
            return Verdict('bad', bad.reason)
        raise errors.Refused(
            f'{self.name} cannot be tried apart from what runs',
            hint='that takes a `port:` of `mode: socket`, or root and `mode: static` with a bridge',
        )

    def _judge(self, address: str, port: int | None) -> None:
        """Run the command; raises Refused with how it ended, but for 0."""
        told = {**os.environ, 'PATH': programs.PATH, 'MIRAGE_HOOKS_ADDRESS': address,
                'MIRAGE_HOOKS_PORT': '' if port is None else str(port)}
        command = ('/bin/sh', '-c', 'cd "$0" || exit 126; eval "$1"', str(Path.cwd()), self.command)
        try:
            said = listening.to(command, COMMAND, told, apart=True)
        except listening.Unheard as wrong:
            raise errors.Refused(f'the command {wrong}') from None
        self._show((said.out + said.err).decode(errors='replace').splitlines()[-SHOWN:])
        code = said.code
        if code == UNTRIED:
            raise errors.Unavailable(f'the command ended with exit code {code}')
        if code >= ENDING:
            raise errors.Usage(f'--run: the command ended with exit code {code}: is it there?')
        if code:
            raise errors.Refused(f'the command ended with exit code {code}')

    def _show(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._say(f'| {line}')

    def _say(self, text: str) -> None:
        self.context.report.step(self.name, text)


def _of(one: tree.Found) -> str:
    """How an image is called in what is told."""
    return f'the image of commit {one.commit[:12]}'
