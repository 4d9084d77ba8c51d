"""The gate: what is pushed is tried on a shelf apart, before the push is accepted."""

from __future__ import annotations

from .. import errors, model, store
from ..switching import launcher
from . import candidate, own, refusal, trial
from .candidate import Candidates
from .road import Road


class Gate:
    """Says why a push must not be accepted."""

    def __init__(self, road: Road) -> None:
        self.road, self.candidates = road, Candidates(road)

    def refusals(self, pushed: dict[str, str]) -> list[model.Outcome]:
        """What refuses the commit that is `pushed` for each unikernel."""
        self.road.tidy()
        self.road.state.forget_proofs()
        settings = self.road.settings()
        outcomes = [
            self._refusal(name, settings, commit) for name, commit in pushed.items()
        ]
        refused = [outcome for outcome in outcomes if outcome is not None]
        if refused:
            self.road.state.forget_proofs()
        return refused

    def _refusal(
        self, name: str, settings: model.Settings, commit: str
    ) -> model.Outcome | None:
        """Why `name` must not be deployed from `commit`; None when it serves or is unchanged. A
        refusal leaves nothing but a line in the history."""
        shelf, proof = self.road.state.of(name), self.road.state.proof(name)
        try:
            self._proved(name, shelf, proof, settings, commit)
        except errors.Refused as refused:
            tried = proof.release(proof.last())
            console = launcher.tail(launcher.console(proof, tried)) if tried else ()
            self.road.note(name, 'refused', None, reason=refused.reason)
            current = shelf.current()
            serving = current if current and launcher.alive(shelf, current) else None
            return model.Outcome(
                name, 'refused', serving, refused.reason, refused.hint, console
            )
        return None

    def _proved(
        self, name: str, shelf: store.Shelf, proof: store.Shelf, settings: model.Settings,
        commit: str,
    ) -> None:
        """Try what `commit` holds, on the shelf `proof`; raises Refused when it does not serve."""
        wanted = settings.unikernels[name]
        branch = self.road.branch(wanted, settings)
        if not commit:
            raise errors.Refused(
                f'branch {branch} is what is deployed here, and the push would delete it',
                hint='end the unikernel first: take it out of mirage.yml',
            )
        self.road.require_trust(shelf, wanted, settings, commit)
        found = own.find(self.road.repository, shelf, settings, name, commit)
        self.candidates.digest_secrets(name, wanted)
        current, pin = shelf.current(), shelf.pin()
        if pin is not None and pin.blob == found.blob:
            return  # turned down by a rollback, which goes on holding
        if current is not None and self.candidates.same(current, name, wanted, found):
            return
        refusal.not_again(shelf, self.candidates.fingerprint(name, wanted), found)
        new = self.candidates.staged(proof, name, wanted, found, settings.unpacked_limit)
        if current is None or not candidate.alike(current, new):
            tried = trial.held(self.road, proof, wanted, new, self.candidates.requests[new.number])
            said = 'it serves' if tried else 'it cannot be tried beside what runs'
            self.road.report.step(name, said)
        proof.point(new.number)
