"""The certificate that a unikernel serves HTTPS with, as a client of ACME keeps it on this host."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from msgspec import Meta

from .fields import File, Key, Mapping, Name, Wrong


class Options(Mapping, frozen=True):
    """What the image calls the options that take them; those of the scaffold when left out."""

    chain: Annotated[Key, Meta(description='takes the chain', examples=['tls-certificate'])] = (
        'tls-certificate')
    key: Annotated[Key, Meta(description='takes the key', examples=['tls-key'])] = 'tls-key'


class Certificate(Mapping, frozen=True):
    """The chain and the key. Both are read together; when they change, a new release of the same
    image takes over."""

    chain: Annotated[
        File,
        Meta(description='PEM on the host, outside the repository: the certificate, then who '
             'issued it; everybody may read it',
             examples=['/etc/letsencrypt/live/example.org/fullchain.pem']),
    ]
    key: Annotated[
        File,
        Meta(description='its private key, PEM without a password; not readable by everybody',
             examples=['/etc/letsencrypt/live/example.org/privkey.pem']),
    ]
    form: Annotated[
        Literal['pem', 'der', 'disk'] | None,
        Meta(description='pem or der: each as base64 in an argument; disk: both as server.pem and '
             'server.key of a tar archive, on a disk of their own that is only read. Left out: '
             'pem, where the command line is too short for it der'),
    ] = None
    disk: Annotated[
        Name, Meta(description='form: disk: what the image calls it')
    ] = 'tls'
    arguments: Annotated[
        Options, Meta(description='the names of the options of the image',
                      examples=[{'chain': 'tls-certificate', 'key': 'tls-key'}])
    ] = Options()

    def wrong(self) -> Iterator[Wrong]:
        if self.chain == self.key:
            yield Wrong(('chain', 'key'), 'has one file as chain and as key: everybody may see a '
                        'chain, so give each its own, such as fullchain.pem and privkey.pem')
        if self.arguments.chain == self.arguments.key:
            yield Wrong(('arguments',), 'calls both options by one name: they are such as '
                        '{chain: tls-certificate, key: tls-key}')

    @property
    def options(self) -> tuple[str, ...]:
        """Those that it takes on the command line."""
        return () if self.form == 'disk' else (self.arguments.chain, self.arguments.key)

    def twice(self, blocks: Collection[str], given: Collection[str]) -> Iterator[Wrong]:
        """What the unikernel is given by another key too, of its disks and the options `given`."""
        if self.form == 'disk' and self.disk in blocks:
            yield Wrong(('blocks', 'certificate'), f'has a disk {self.disk} of its own, and one of '
                        'its certificate: rename one, such as certificate: {disk: certificate}')
        for option in self.options:
            if f'--{option}' in given:
                yield Wrong(('arguments', 'secrets', 'certificate'), f'gives --{option} twice, '
                            'once by certificate: drop the other one')


Pair = Annotated[
    Certificate | None,
    Meta(description='the certificate and the key that it serves HTTPS with; a renewed pair is '
         'taken at the next cron run, and at once by `mirage-hooks deploy NAME`',
         examples=[{'chain': '/etc/letsencrypt/live/example.org/fullchain.pem',
                    'key': '/etc/letsencrypt/live/example.org/privkey.pem'}]),
]
