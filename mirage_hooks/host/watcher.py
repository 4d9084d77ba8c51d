"""Who runs the watcher of this user: systemd where its unit is, else whichever of cron's runs finds
none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..state import user
from . import processes

UNIT = 'mirage-hooks-watch.service'
SYSTEM = Path('/etc/systemd/system')


def ensure() -> None:
    """Start it where there is something to watch, none runs, and systemd does not keep one."""
    if user.repositories() and not user.watcher() and not unit().exists():
        processes.detach((sys.executable, '-I', '-m', 'mirage_hooks', '-C', '/', 'watch'))


def unit() -> Path:
    """Where its unit file is, if there is one."""
    return units() / UNIT


def units() -> Path:
    """Where this user's unit files are."""
    if not os.geteuid():
        return SYSTEM
    home = os.environ.get('XDG_CONFIG_HOME') or Path.home() / '.config'
    return Path(home) / 'systemd' / 'user'
