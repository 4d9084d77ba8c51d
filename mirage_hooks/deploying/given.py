"""What an image is started with besides what mirage.yml says in words: secrets, a certificate."""

from __future__ import annotations

from pathlib import Path

from .. import config
from ..git import tree
from ..state import model, secret
from ..switching import launcher
from . import renewal
from .context import Context


class Given:
    """The same of each unikernel, as it is on this host now."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.fingerprints: dict[str, str] = {}
        self.certificates: dict[str, model.Served] = {}

    def read(self, name: str, wanted: config.Unikernel) -> None:
        """Read the secrets of `name`, with which its fingerprint changes too, and its certificate;
        raises Refused when one of them is unfit."""
        places = (self.context.repository.folder, self.context.repository.git_dir)
        if told := tuple(filter(None, (*wanted.secrets.values(), secret.account_of(wanted)))):
            for file in told:
                self.context.seen.file(Path(file))
            secret.check(wanted, places)
            secrets = secret.digest(wanted, self.context.state.key())
            self.fingerprints[name] = f'{wanted.fingerprint[:8]}{secrets[:8]}'
        if wanted.certificate is not None:
            for one in (wanted.certificate.chain, wanted.certificate.key):
                self.context.seen.file(Path(one))
            self.certificates[name] = renewal.believed(
                self.context, wanted, wanted.certificate, self.context.state.of(name), places)

    def fingerprint(self, name: str, wanted: config.Unikernel) -> str:
        return self.fingerprints.get(name, wanted.fingerprint)

    def known_by(self, name: str, wanted: config.Unikernel) -> str:
        """What a failure is remembered by, besides the image: with another certificate it is tried
        again."""
        pair = self.certificates.get(name)
        return f'{self.fingerprint(name, wanted)}{pair.digest[:8] if pair else ""}'

    def same(
        self, current: model.Release, name: str, wanted: config.Unikernel, found: tree.Found
    ) -> bool:
        """Whether `current` is the image that is wanted, started as it is wanted."""
        known = (current.blob, current.fingerprint)
        return known == (found.blob, self.fingerprint(name, wanted)) and not self.renewed(current)

    def renewed(self, current: model.Release) -> bool:
        """Whether `current` runs with another certificate than that of today. What does not run is
        started with that in any case."""
        releases = self.context.state.of(current.unikernel)
        pair = self.certificates.get(current.unikernel)
        if pair is None or not launcher.alive(releases, current):
            return False
        return renewal.served(releases, current).digest != pair.digest
