"""What the owner's own files lack for the road; init says it, and changes none of them."""

from __future__ import annotations

import re
from pathlib import Path

# Where Jekyll looks for it.
CONFIGURATIONS = ('_config.yml', '_config.yaml', '_config.toml')
TARGETS = ('site', 'configure.socket', 'configure.direct', 'configure.xen', 'build')
IGNORED = {
    '.gitignore': ('_site', '.jekyll-cache'),
    '_mirage/.gitignore': ('tls/server.*', 'htdocs', 'dist', '_build'),
}
EXCLUDED = ('Makefile', 'README.md', 'ci')


def zones(folder: Path) -> bool:
    """Whether `folder` is that of a name server."""
    return any((folder / 'zones').glob('*.zone'))


def lacking(folder: Path, path: str) -> str:
    """What the file `path` in `folder` lacks; '' when it serves."""
    text = _text(folder / path)
    if path == 'Makefile':
        targets = _targets(text)  # a name server has its zones where a website has its pages
        return _told('the road wants its targets', TARGETS,
                     targets | ({'site'} if 'zones' in targets else set()))
    if path in IGNORED and not zones(folder):
        rules = {line.strip(' /') for line in text.split('\n')}
        return _told('git should ignore', IGNORED[path], rules)
    if path == 'README.md':
        return '' if 'DEPLOY_KEY' in text else 'it does not tell the road'
    if path == '.travis.yml':
        return '' if 'ci/build' in text else 'it does not call ci/build'
    return ''


def published(folder: Path) -> str:
    """What Jekyll's configuration in `folder` should exclude and does not; '' when it does."""
    paths = [folder / name for name in CONFIGURATIONS]
    path = next((path for path in paths if path.exists()), paths[0])
    # YAML's list in brackets or with dashes, or TOML's.
    found = re.search(r'^exclude\s*[:=](.*(\n([ \t\-#].*)?)*)', _text(path), re.M)
    words = re.findall(r'[\w./]+', found[1]) if found else []
    wanted = [word for word in EXCLUDED if word not in {word.strip('/') for word in words}]
    if not wanted:
        return ''
    return f'exclude: [{", ".join(wanted)}] belongs into {path.name}; else they become pages'


def _targets(makefile: str) -> set[str]:
    lines = (line for line in makefile.split('\n') if ':' in line and line[0] not in '\t#')
    return {word for line in lines for word in line.partition(':')[0].split()}


def _told(said: str, wanted: tuple[str, ...], has: set[str]) -> str:
    missing = [word for word in wanted if word not in has]
    return f'{said} {", ".join(missing)}' if missing else ''


def _text(path: Path) -> str:
    try:
        return path.read_text(errors='replace')
    except OSError:
        return ''
