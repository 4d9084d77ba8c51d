"""The whole of mirage.yml: what should run, whose commits count, who is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from .fields import File, Mapping, Name, Url, Wrong
from .unikernel import Unikernel


class Trust(Mapping, frozen=True):
    """Whose commits may be deployed: every one must be signed by a key that stands here."""

    signers: Annotated[
        File | None, Meta(description='for SSH signatures: an allowed_signers file, ssh-keygen(1)')
    ] = None
    revoked: Annotated[
        File | None,
        Meta(description='SSH keys that count no more: public keys, one to a line, or a KRL'),
    ] = None
    keyring: Annotated[
        File | None,
        Meta(description='for GPG signatures: a GNUPGHOME folder; every key in it may deploy'),
    ] = None

    def wrong(self) -> Iterator[Wrong]:
        if self.signers is None and self.keyring is None:
            yield Wrong(('signers', 'keyring'), 'knows no key: give it signers, keyring or both, '
                        'such as signers: /etc/mirage-hooks/allowed_signers')


class Notify(Mapping, frozen=True):
    """Who is told, in JSON, when something changed or failed."""

    command: Annotated[
        tuple[str, ...],
        Meta(description='a program and its arguments; reads the JSON from its standard input',
             examples=[['/usr/local/bin/deployed', '--mail']]),
    ] = ()
    webhook: Annotated[Url | None, Meta(description='a URL that gets the JSON by POST')] = None

    def wrong(self) -> Iterator[Wrong]:
        if not self.command and self.webhook is None:
            yield Wrong(('command', 'webhook'), 'tells nobody: give it command, webhook or both, '
                        'such as webhook: https://www.example.org/deployed')


class Settings(Mapping, frozen=True):
    """The host's mirage.yml."""

    unikernels: Annotated[
        dict[Name, Unikernel], Meta(description='what should run, by name')
    ]
    branch: Annotated[
        str, Meta(description="the branch that is deployed; the repository's own when left out")
    ] = ''
    rewound: Annotated[
        Literal['follow', 'refuse'],
        Meta(description='what cron does when the remote branch was force-pushed'),
    ] = 'refuse'
    trust: Annotated[
        Trust | None, Meta(description='whose commits may be deployed; anyone when left out',
                           examples=[{'signers': '/etc/mirage-hooks/allowed_signers'}])
    ] = None
    gate: Annotated[
        bool, Meta(description='refuse a push whose image would not serve, before it is accepted')
    ] = False
    notify: Annotated[
        Notify | None, Meta(description='who is told of changes and failures',
                            examples=[{'webhook': 'https://www.example.org/deployed'}])
    ] = None
    unpacked_limit: Annotated[
        int, Meta(ge=1, le=65536, description='MB that an image may take when unpacked')
    ] = 512
