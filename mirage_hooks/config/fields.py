"""What the values of mirage.yml look like, and what every mapping in it has in common."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# `$` alone would let a line end through.
Name = Annotated[str, Meta(pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$(?!\n)')]
# A Linux interface name: at most 15 characters.
Interface = Annotated[str, Meta(pattern=r'^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$(?!\n)')]
Duration = Annotated[str, Meta(pattern=r'^[0-9]+(ms|s|m|h)$(?!\n)')]
Url = Annotated[str, Meta(pattern='^https?://')]
Endpoint = Annotated[str, Meta(pattern=r'^.+:[0-9]+$(?!\n)')]
Mac = Annotated[str, Meta(pattern=r'^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$(?!\n)')]
File = Annotated[str, Meta(pattern='^/')]  # an absolute path
Port = Annotated[int, Meta(ge=1, le=65535)]

Target = Literal['unix', 'spt', 'hvt', 'virtio', 'xen']
# The program that runs each target's images, unless mirage.yml names another, and how the names of
# their files end; unix is run itself.
TENDERS = {'spt': 'solo5-spt', 'hvt': 'solo5-hvt', 'virtio': 'qemu-system-x86_64', 'xen': 'xl'}
EXTENSIONS = {'unix': '', 'xen': '.xen', 'hvt': '.hvt', 'spt': '.spt', 'virtio': '.virtio'}


class Mapping(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """What stands in mirage.yml: unknown keys are errors, defaults are left out when written."""


def seconds(duration: str) -> float:
    """`duration` ('500ms', '30s', '5m', '1h') in seconds."""
    number, unit = re.fullmatch(r'([0-9]+)(ms|s|m|h)', duration).groups()  # type: ignore[union-attr]
    return int(number) * {'ms': 0.001, 's': 1.0, 'm': 60.0, 'h': 3600.0}[unit]
