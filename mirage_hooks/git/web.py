"""Where a browser finds the commits of a repository."""

from __future__ import annotations

import re

_URL = re.compile(
    r'(?:(?:https?|ssh|git)://(?:[^/]*@)?(?P<host>[a-z0-9.-]+)(?::\d+)?/'
    r'|(?:[^/:@]*@)?(?P<scp>[a-z0-9.-]+):)'
    r'(?P<path>[\w.~-]+(?:/[\w.~-]+)+)/?', re.ASCII)

FORMS = {
    'github': 'commit', 'gitlab': '-/commit', 'codeberg': 'commit', 'gitea': 'commit',
    'forgejo': 'commit',
}
"""By what such a host is called: where it has a commit, below the repository."""


def commits(url: str) -> str:
    """What a browser finds a commit behind of the repository at git's `url`; '' where nobody knows.
    Made anew of host and path alone: no user, password or port of `url` is in it."""
    found = _URL.fullmatch(url)
    if found is None or {'.', '..'} & set(found['path'].split('/')):
        return ''
    host, path = found['host'] or found['scp'], found['path'].removesuffix('.git')
    form = next((FORMS[part] for part in host.split('.') if part in FORMS), '')
    return f'https://{host}/{path}/{form}/' if form else ''
