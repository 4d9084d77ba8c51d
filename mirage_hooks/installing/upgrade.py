"""Another version in the place of this one: what install.sh does, called by its command."""

from __future__ import annotations

import sys
from pathlib import Path

from ..host import programs
from ..messages import errors
from . import installation

OTHERWISE = (
    ('pipx', 'pipx install --force ./mirage_hooks-….whl'),
    ('/usr', 'apt install ./mirage-hooks_…_all.deb (an older one: with --allow-downgrades)'),
)


def upgrade(back: bool) -> int:
    """Have the clone that this was installed from brought up to date and installed, or go `back` to
    the version before; install.sh's exit code."""
    home = installation.folder()
    if home is None:
        ways = [how for part, how in OTHERWISE if part in sys.prefix]
        raise errors.Refused(
            'this mirage-hooks was not installed by install.sh, so it does not upgrade itself',
            hint=f'{ways[0] if ways else "upgrade it as it was installed"}; then, for each '
            'repository: mirage-hooks install REPOSITORY',
        )
    script = _source(home) / 'install.sh'
    if not script.exists():
        raise errors.Refused(
            f'{script} is gone, by which this was installed',
            hint='clone mirage-hooks again, and there: ./install.sh REPOSITORY',
        )
    what = '--back' if back else '--upgrade'
    return programs.attended((str(script), what, '--prefix', str(home)))


def _source(home: Path) -> Path:
    """The clone that this was installed from."""
    try:
        return Path((home / 'current/mirage-hooks.source').read_text('utf-8').rstrip('\n'))
    except FileNotFoundError:  # an earlier version did not write it down
        raise errors.Refused(
            'the clone that this was installed from is not known',
            hint='in it, once: git pull && ./install.sh --upgrade',
        ) from None
