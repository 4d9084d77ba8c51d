"""Programs of this host that should always run."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..messages import errors

GENERATOR = Path('systemd/system-generators/systemd-crontab-generator')
LIBRARIES = (Path('/usr/lib'), Path('/lib'), Path('/usr/libexec'))


def running(names: tuple[str, ...]) -> str:
    """The one of `names` that runs on this host, with its process; '' for none. Raises Unavailable
    where an ordinary user is not shown who runs."""
    import psutil

    if any((folder / GENERATOR).exists() for folder in LIBRARIES):
        return 'systemd-cron, as timers of systemd'
    for process in psutil.process_iter(['name']):
        if process.info['name'] in names and _here(process.pid):
            return f'{process.info["name"]}, process {process.pid}'
    if not Path('/proc/1').exists():
        raise errors.Unavailable(
            f'this host does not show whether {names[0]} runs (/proc is mounted with hidepid)'
        )
    return ''


def _here(pid: int) -> bool:
    """Whether process `pid` is none of a container's, which has a number there as well."""
    with contextlib.suppress(OSError):
        for line in Path(f'/proc/{pid}/status').read_text(errors='replace').splitlines():
            if line.startswith('NSpid:'):
                return len(line.split()) == 2
    return False
