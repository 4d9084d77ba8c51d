"""The whole of mirage.yml: what should run, whose commits count, who is told."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .fields import File, Mapping, Name, Url
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

    def __post_init__(self) -> None:
        if self.signers is None and self.keyring is None:
            raise ValueError('give signers, keyring or both')


class Notify(Mapping, frozen=True):
    """Who is told, in JSON, when something changed or failed."""

    command: Annotated[
        tuple[str, ...],
        Meta(description='a program and its arguments; reads the JSON from its standard input'),
    ] = ()
    webhook: Annotated[Url | None, Meta(description='a URL that gets the JSON by POST')] = None

    def __post_init__(self) -> None:
        if not self.command and self.webhook is None:
            raise ValueError('give command, webhook or both')


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
        Trust | None, Meta(description='whose commits may be deployed; anyone when left out')
    ] = None
    gate: Annotated[
        bool, Meta(description='refuse a push whose image would not serve, before it is accepted')
    ] = False
    notify: Annotated[
        Notify | None, Meta(description='who is told of changes and failures')
    ] = None
    unpacked_limit: Annotated[
        int, Meta(ge=1, le=65536, description='MB that an image may take when unpacked')
    ] = 512
