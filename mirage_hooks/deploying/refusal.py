"""A refusal: remembered, told once, and what serves goes on."""

from __future__ import annotations

import contextlib
import time

from .. import config
from ..git import tree
from ..messages import errors
from ..state import journal, model, notes
from ..state.releases import Releases
from ..switching import consoles, crashes
from .candidate import Candidates
from .context import Context
from .live import Live, elsewhere

BACK_OFF = (60, 3600)  # seconds before the second try after an outside cause, and the longest wait


class Remembered(errors.Refused):
    """A failure that is already known, and not tried again."""


def not_again(
    candidates: Candidates, releases: Releases, wanted: config.Unikernel, found: tree.Found
) -> None:
    """Raise Remembered when `found` did not serve, and nothing has changed since."""
    known_by = candidates.known_by(releases.root.name, wanted)
    known = releases.failure_of(found.blob, known_by)
    if known is None:
        return
    # The clock may have been set back since: then nobody knows how long ago that was.
    if not known.retry or known.at - 1 <= time.time() < known.retry:
        raise Remembered(known.reason, known.hint)


class Refusals:
    """What comes of a release that must not be, or cannot be, live."""

    def __init__(self, context: Context, candidates: Candidates, live: Live) -> None:
        self.context, self.candidates, self.live = context, candidates, live

    def failed(
        self, name: str, releases: Releases, wanted: config.Unikernel, key: str,
        refused: errors.Refused,
    ) -> model.Outcome:
        """Remember the bad image, keep what serves, say why."""
        if isinstance(refused, Remembered):
            return self.kept(name, refused)
        fingerprint = self.candidates.known_by(name, wanted)
        known = releases.failure_of(key, fingerprint)
        outside = isinstance(refused, errors.Unavailable)
        found = not key.startswith(('commit ', 'no commit'))
        if known and not found and known.reason == refused.reason:
            # Found out anew, but told before.
            return self.kept(name, Remembered(known.reason, known.hint))
        count = known.count + 1 if known else 1
        wait = min(BACK_OFF[0] * 2 ** (count - 1), BACK_OFF[1]) if outside else 0
        with contextlib.suppress(errors.Unavailable):  # a full disk: what serves comes first
            releases.set_failure(notes.Failure(
                blob=key, fingerprint=fingerprint, reason=refused.reason, at=journal.now(),
                hint=refused.hint, count=count, retry=time.time() + wait if wait else 0,
            ))
        self.context.note(name, 'refused', None, reason=refused.reason)
        console = consoles.tail(releases.failed_console) if found else ()
        return self.kept(name, refused, console, f'mirage-hooks logs {name} --failed')

    def known(self, refused: errors.Refused) -> errors.Refused:
        """What is wrong in mirage.yml itself: Remembered when it was told before."""
        if self.context.state.news('settings', refused.reason):
            return refused
        return Remembered(refused.reason, refused.hint)

    def kept(
        self, name: str, refused: errors.Refused, console: tuple[str, ...] = (), logs: str = ''
    ) -> model.Outcome:
        """The outcome of a refusal: whatever was live goes on, or is started again."""
        releases = self.context.state.of(name)
        current = releases.current()
        kind: model.Kind = 'remembered' if isinstance(refused, Remembered) else 'refused'
        ended = ''
        if releases.stopped() or elsewhere(releases):
            current = None
        elif current is not None:
            try:
                ended = self._started_again(name, releases, current)
            except errors.Refused as worse:
                reason = f'{refused.reason}; and release {current.number} does not start: {worse}'
                reason = refused.reason if worse.reason == refused.reason else reason
                return model.Outcome(
                    name, 'refused', None, reason, worse.hint, console, logs=logs)
        return model.Outcome(
            name, kind, current, refused.reason, refused.hint, console, ended, logs,
            ready=releases.ready())

    def _started_again(self, name: str, releases: Releases, current: model.Release) -> str:
        """Start `current` again where it had ended, which is news; '' where it runs."""
        end = self.live.restarted(name, releases, current, None)
        if end is None:
            return ''
        if name in self.context.intent.restarted or name in self.context.intent.stopped:
            return f'release {current.number} was started again'
        why = f' ({end.briefly})' if end.briefly else ''
        return f'release {current.number} had ended{why}, and was started again'

    def waiting(
        self, name: str, releases: Releases, waiting: crashes.Waiting
    ) -> model.Outcome:
        """The outcome while a release that ended by itself is left alone; said aloud once."""
        if waiting.told:
            return model.Outcome(name, 'remembered', None, waiting.reason, waiting.hint)
        self.context.note(name, 'crashed', releases.current(), reason=waiting.reason)
        current = releases.current()
        console = consoles.tail(consoles.of(releases, current)) if current else ()
        return model.Outcome(name, 'refused', None, waiting.reason, waiting.hint, console,
                             logs=f'mirage-hooks logs {name}')
