"""The gate: what is pushed is tried in a place of its own, before the push is accepted."""

from __future__ import annotations

from .. import config
from ..git import shared
from ..git.repository import Repository
from ..messages import errors
from ..messages.report import Reporter
from ..state import model, store
from ..state.pointers import alike
from ..state.releases import Releases
from ..switching import consoles, launcher
from . import refusal, trial
from .candidate import Candidates
from .context import Context, Intent


def prove(
    repository: Repository, pushed: dict[str, str], intent: Intent, report: Reporter
) -> list[model.Outcome]:
    """Why `pushed` (the new commit of each reference, '' where it is deleted) must not be
    accepted; nothing when it would serve, or concerns nothing here. What runs is not touched."""
    settings = store.settings(repository.config_path())
    concerned = {
        name: pushed[branch] for name, one in settings.unikernels.items()
        if (branch := f'refs/heads/{repository.branch(one.branch or settings.branch)}') in pushed
    }
    if not settings.gate or not concerned:
        return []
    state = store.opened(repository.state)
    with state.lock(intent.trigger, store.PATIENCE, report.waiting):
        return Gate(Context(repository, state, intent, report)).refusals(concerned)


class Gate:
    """Says why a push must not be accepted."""

    def __init__(self, context: Context) -> None:
        self.context, self.candidates = context, Candidates(context)

    def refusals(self, pushed: dict[str, str]) -> list[model.Outcome]:
        """What refuses the commit that is `pushed` for each unikernel."""
        self.context.tidy()
        self.context.state.forget_proofs()
        settings = self.context.settings()
        outcomes = [
            self._refusal(name, settings, commit) for name, commit in pushed.items()
        ]
        refused = [outcome for outcome in outcomes if outcome is not None]
        if refused:
            self.context.state.forget_proofs()
        return refused

    def _refusal(
        self, name: str, settings: config.Settings, commit: str
    ) -> model.Outcome | None:
        """Why `name` must not be deployed from `commit`; None when it serves or is unchanged. A
        refusal leaves nothing but a line in the history, and the console of what was tried."""
        releases, proof = self.context.state.of(name), self.context.state.proof(name)
        try:
            self._proved(name, releases, proof, settings, commit)
        except errors.Refused as refused:
            tried = proof.release(proof.last())
            console = consoles.tail(consoles.of(proof, tried)) if tried else ()
            if tried:
                releases.keep_failed(consoles.of(proof, tried))
            self.context.note(name, 'refused', None, reason=refused.reason)
            current = releases.current()
            serving = current if current and launcher.alive(releases, current) else None
            return model.Outcome(
                name, 'refused', serving, refused.reason, refused.hint, console,
                logs=f'mirage-hooks logs {name} --failed' if console else '',
            )
        return None

    def _proved(
        self, name: str, releases: Releases, proof: Releases, settings: config.Settings,
        commit: str,
    ) -> None:
        """Try what `commit` holds, in `proof`; raises Refused when it does not serve."""
        wanted = settings.unikernels[name]
        branch = self.context.branch(wanted, settings)
        if not commit:
            raise errors.Refused(
                f'branch {branch} is what is deployed here, and the push would delete it',
                hint='end the unikernel first: take it out of mirage.yml',
            )
        self.context.require_trust(releases, wanted, settings, commit)
        found = shared.find(self.context.repository, releases, settings, name, commit)
        self.candidates.read(name, wanted)
        current, pin = releases.current(), releases.pin()
        if pin is not None and pin.blob == found.blob:
            return  # turned down by a rollback, which goes on holding
        if current is not None and self.candidates.same(current, name, wanted, found):
            return
        refusal.not_again(self.candidates, releases, wanted, found)
        new = self.candidates.staged(proof, name, wanted, found, settings.unpacked_limit)
        if current is None or not alike(current, new):
            request = self.candidates.requests[new.number]
            tried = trial.held(self.context, proof, wanted, new, request)
            said = 'it serves' if tried else 'it cannot be tried next to what runs'
            self.context.report.step(name, said)
        proof.point(new.number)
