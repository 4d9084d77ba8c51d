"""What the values of mirage.yml look like, and what every mapping in it has in common. A
description next to a pattern, and the examples, are what a person is told about a wrong value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

# `$` alone would let a line end through.
Name = Annotated[str, Meta(
    pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$(?!\n)', examples=['www'],
    description='at most 40 letters, digits, dots, dashes and underscores, a letter or digit first',
)]
# A Linux interface name: at most 15 characters.
Interface = Annotated[str, Meta(
    pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$(?!\n)', examples=['br0'],
    description='at most 15 letters, digits, dots, dashes and underscores, a letter or digit first',
)]
Duration = Annotated[str, Meta(
    pattern=r'^[0-9]+(ms|s|m|h)$(?!\n)', examples=['30s'],
    description='a number and ms, s, m or h',
)]
Url = Annotated[str, Meta(
    pattern='^https?://', examples=['http://192.0.2.10/'],
    description='an address that begins with http:// or https://',
)]
Endpoint = Annotated[str, Meta(
    pattern=r'^.+:[0-9]+$(?!\n)', examples=['192.0.2.10:53'], description='an ADDRESS:PORT',
)]
# Without IDNA: what is asked stands in a zone as it is asked.
Domain = Annotated[str, Meta(
    pattern=r'^(\.|([A-Za-z0-9_*-]{1,63}\.){0,126}[A-Za-z0-9_*-]{1,63}\.?)$(?!\n)', max_length=254,
    examples=['www.example.org'],
    description='a name as a zone has it: letters, digits, dashes and dots',
)]
Mac = Annotated[str, Meta(
    pattern=r'^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$(?!\n)', examples=['52:54:00:12:34:56'],
    description='six pairs of hexadecimal digits with colons between them',
)]
File = Annotated[str, Meta(
    pattern='^/', examples=['/srv/www/file'], description='an absolute path',
)]
Version = Annotated[str, Meta(
    pattern=r'^[0-9]+(\.[0-9]+){0,2}$', examples=['4.11'],
    description='one to three numbers with dots between them',
)]
Device = Annotated[str, Meta(
    pattern=r'^[a-z0-9]*$', examples=['xvda'], description='small letters and digits',
)]
Key = Annotated[str, Meta(
    pattern=r'^[a-z][a-z0-9-]*$(?!\n)', examples=['tls-key'],
    description='small letters, digits and dashes, a letter first',
)]
Port = Annotated[int, Meta(ge=1, le=65535, examples=[8080])]

Target = Literal['unix', 'spt', 'hvt', 'virtio', 'xen']
# The program that runs each target's images, unless mirage.yml names another, and how the names of
# their files end; unix is run itself.
TENDERS = {'spt': 'solo5-spt', 'hvt': 'solo5-hvt', 'virtio': 'qemu-system-x86_64', 'xen': 'xl'}
EXTENSIONS = {'unix': '', 'xen': '.xen', 'hvt': '.hvt', 'spt': '.spt', 'virtio': '.virtio'}


class Wrong(NamedTuple):
    """`keys` of one mapping that are wrong by their values or together: `text` goes on from the
    key's name when it is one, else from the mapping's."""

    keys: tuple[str, ...]
    text: str


class Contradiction(ValueError):
    """Raised for a mapping whose values are each of their type, but wrong."""

    def __init__(self, wrong: tuple[Wrong, ...]) -> None:
        super().__init__('; '.join(one.text for one in wrong))
        self.wrong = wrong


class Mapping(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """What stands in mirage.yml: unknown keys are errors, defaults are left out when written."""

    def __post_init__(self) -> None:
        if wrong := tuple(self.wrong()):
            raise Contradiction(wrong)

    def wrong(self) -> Iterator[Wrong]:
        """What the types of the keys cannot say."""
        yield from ()


def seconds(duration: str) -> float:
    """`duration` ('500ms', '30s', '5m', '1h') in seconds."""
    number, unit = re.fullmatch(r'([0-9]+)(ms|s|m|h)', duration).groups()  # type: ignore[union-attr]
    return int(number) * {'ms': 0.001, 's': 1.0, 'm': 60.0, 'h': 3600.0}[unit]
