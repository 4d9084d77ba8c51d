"""What an earlier init was told, read again from what it made: the same words to every file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

NETWORK = r'network: \{mode: static, bridge: \S+, ipv4: '
# Where an answer stands, the file that acts on it first.
PLACES = {
    'name': (('ci/build', r"--name '([^']+)'"),
             ('README.md', r'`xen/<commit>/(\S+)\.xen`'),
             ('_mirage/config.ml', r'\bregister "([^"]+)"')),
    'ipv4': (('Makefile', r'^ADDR \?= (\S+)$'),
             ('README.md', NETWORK + r'(\S+),')),
    'gateway': (('Makefile', r'^GWS \?= .*?([0-9.]+)\)?$'),
                ('README.md', NETWORK + r'\S+, gateway: ([0-9.]+)')),
    'deployment': (('ci/build', r'\$\{DEPLOY_TO:-([^}]+)\}'),
                   ('README.md', r'^1\. Make an empty repository, `(\S+)`,')),
    'branch': (('ci/build', r'''\[ "\$branch" != '([^']+)' \]'''),
               ('README.md', r'^3\. Push to `(\S+)`\. CI'),
               ('.github/workflows/unikernel.yml', r"github\.ref == 'refs/heads/([^']+)'")),
}


def told(folder: Path, key: str) -> Iterator[tuple[str, str]]:
    """Every answer to `key` in `folder`'s files, with the file where it stands."""
    for path, pattern in PLACES.get(key, ()):
        try:
            found = re.search(pattern, (folder / path).read_text(errors='replace'), re.M)
        except OSError:
            continue
        if found:
            yield found[1], path
