"""The host's mirage.yml, parsed once into typed data."""

from __future__ import annotations

from pathlib import Path

from .. import config
from ..messages import errors
from . import mistakes, nodes, source, typed


def load(path: Path) -> config.Settings:
    """The settings in `path`; raises Refused when it cannot be read, Mistakes for all that is wrong
    in it."""
    return parse(source.read(path), str(path))


def parse(text: bytes, name: str) -> config.Settings:
    """The settings in `text`, which mistakes call `name`."""
    document = nodes.parse(text)
    if document.loader is not None:
        reader = typed.Reader(document.loader)
        settings: config.Settings = reader.settings(document.root, config.Settings)
    if document.wrong:
        raise errors.Mistakes(name, mistakes.told(document.wrong, name))
    return settings
