"""What a unikernel answers an ACME server's challenges with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated

from msgspec import Meta

from .fields import File, Key, Mapping, Wrong


class Acme(Mapping, frozen=True):
    """It answers challenges (HTTP-01) by itself; give one of thumbprint or account."""

    thumbprint: Annotated[
        Annotated[str, Meta(
            pattern=r'^[A-Za-z0-9_-]{43}$(?!\n)',
            description='43 letters, digits, dashes and underscores',
            examples=['LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ'],
        )] | None,
        Meta(description="that of the ACME client's account key, which is no secret; "
             '`mirage-hooks acme thumbprint` prints it',
             examples=['LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ']),
    ] = None
    account: Annotated[
        File | None,
        Meta(description="the file of that key, JWK or PEM, of which it is told the thumbprint at "
             'each start; who deploys must be able to read it',
             examples=['/var/lib/dehydrated/accounts/NAME/account_key.pem']),
    ] = None
    argument: Annotated[
        Key, Meta(description='what the image calls its option for it',
                  examples=['acme-thumbprint'])
    ] = 'acme-thumbprint'

    def wrong(self) -> Iterator[Wrong]:
        if self.thumbprint is None and self.account is None:
            yield Wrong(('thumbprint', 'account'), 'names no account: give it one of thumbprint '
                        'or account, as `mirage-hooks acme thumbprint` prints them')
        elif self.thumbprint is not None and self.account is not None:
            yield Wrong(('account', 'thumbprint'), 'has thumbprint and account: keep one of them, '
                        'account where who deploys may read that file')

    def twice(self, given: Collection[str]) -> Iterator[Wrong]:
        """What the unikernel is given by another key too, of the options `given`."""
        if f'--{self.argument}' in given:
            yield Wrong(('arguments', 'secrets', 'acme'), f'gives --{self.argument} twice, once by '
                        'acme: drop the other one')


Account = Annotated[
    Acme | None,
    Meta(description='the account of an ACME client whose challenges it answers by itself, at '
         '/.well-known/acme-challenge/ over HTTP',
         examples=[{'thumbprint': 'LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ'}]),
]
