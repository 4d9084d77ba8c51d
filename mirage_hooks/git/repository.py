"""The deployment repository."""

from __future__ import annotations

from .history import History
from .pulling import Pulling
from .reading import Reading


class Repository(Reading, History, Pulling):
    """What is asked of a clone or a bare repository, and done to it; see Asked for where it is."""
