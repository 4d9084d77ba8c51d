"""What every part of a deployment knows: the repository and its state, why it runs, who is told."""

from __future__ import annotations

import msgspec

from .. import config
from ..git.repository import Repository
from ..host import facts
from ..messages import errors
from ..messages.report import Reporter
from ..state import fastpath, journal, model, store
from ..state.releases import Releases
from ..switching import drain, switch
from . import keeping


class Intent(msgspec.Struct, frozen=True):
    """Why a converge runs. `anew` names unikernels whose pins and remembered failures are
    dropped; `stopped` says which ones a person stopped (True) or started; `restarted` are those
    that are to be ended and started again, for the `reason` that the watcher had."""

    trigger: str
    anew: tuple[str, ...] = ()
    stopped: dict[str, bool] = {}
    restarted: tuple[str, ...] = ()
    reason: str = ''


class Context:
    """One walk from the tree to what runs, for one reason. `seen` is what it saw, `switched`
    whether it touched what serves."""

    def __init__(
        self, repository: Repository, state: store.Store, intent: Intent, report: Reporter
    ) -> None:
        self.repository, self.state, self.intent, self.report = repository, state, intent, report
        self.owner = facts.owner(state.root)
        repository.hold()
        self.seen = fastpath.Seen(repository.head(), repository.setting('mirage.config'))
        self.switched = False
        self.restart = set(intent.restarted)  # what is still to be

    def settings(self, keep: bool = False) -> config.Settings:
        """What mirage.yml says; a converge has it kept, a gate or a dry run changes nothing."""
        path = self.repository.config_path()
        self.seen.file(path)
        return store.settings(path, self.state.root, keep)

    def commit(self, wanted: config.Unikernel, settings: config.Settings) -> str:
        """The commit whose tree says what should run."""
        return self.repository.commit(self.branch(wanted, settings))

    def branch(self, wanted: config.Unikernel, settings: config.Settings) -> str:
        return self.repository.branch(wanted.branch or settings.branch)

    def require_trust(
        self, releases: Releases, wanted: config.Unikernel, settings: config.Settings, commit: str
    ) -> None:
        """Raise Refused unless all that came to `commit` since the last deployment is trusted."""
        if settings.trust is not None:
            from . import trust

            floor = releases.floor(self.branch(wanted, settings))
            trust.verify(self.repository, settings.trust, floor, commit, self.state.programs)

    def tidy(self, sweep: bool = True) -> None:
        """Make what is there equal the state, whatever was killed or has drained meanwhile; `sweep`
        away the releases that never served, but for one that is about to."""
        try:
            for text in drain.tidy(self.state, self.owner):
                self.report.step('mirage-hooks', text)
            if sweep:
                self.state.sweep()
        except errors.Unavailable as refused:  # a stuck domain must not keep a new image away
            self.report.step('mirage-hooks', refused.reason)

    def leave(self) -> None:
        """At the end: what a switch left and nothing waits for is ended. The rest, and what runs,
        is the keeper's."""
        if self.switched:
            self.tidy()
        keeping.leave(self.state, self.repository.git_dir)

    def say(self, name: str) -> switch.Say:
        return lambda text: self.report.step(name, text)

    def note(
        self, name: str, event: str, release: model.Release | None, reason: str = '',
        took: float = 0, gap: float = 0,
    ) -> None:
        entry = journal.Entry(
            at=journal.now(), unikernel=name, event=event, trigger=self.intent.trigger,
            release=release.number if release else 0, commit=release.commit if release else '',
            digest=release.digest if release else '', reason=reason, took=round(took, 3),
            gap=round(gap, 3),
        )
        try:
            journal.append(self.state.history, entry)
        except errors.Unavailable as refused:  # a full disk undoes nothing of what was done
            self.report.step(name, f'{event}, but not in the history: {refused.reason}')
