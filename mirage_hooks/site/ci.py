"""What a CI's variables say, the original's among them: an old .travis.yml needs no new words."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..config import fields
from ..messages import errors

# One of these is set in every build of the original's, be it one that deploys or not.
BUILD = {'CI', 'DEPLOY', 'MIRAGE_BACKEND', 'XENIMG'}
MAIN = ('main', 'master')


def held_back(variables: Mapping[str, str]) -> str:
    """Why this build must not publish, '' when it may: the original's rules. Raises Usage where
    nothing says that this is a build at all."""
    if not BUILD & set(variables):
        raise errors.Usage('no IMAGE is given, and no variable says that this is a CI')
    if variables.get('DEPLOY') != '1':
        return 'DEPLOY is not 1'
    if variables.get('TRAVIS_PULL_REQUEST', 'false') not in ('', 'false'):
        return 'this is a pull request'
    if variables.get('GITHUB_EVENT_NAME', '').startswith('pull_request'):
        return 'this is a pull request'
    branch = variables.get('TRAVIS_BRANCH') or variables.get('GITHUB_REF_NAME')
    if branch and branch not in MAIN:
        return f'this is branch {branch}, not {" or ".join(MAIN)}'
    return ''


def image(variables: Mapping[str, str]) -> Path:
    """The image that the build made, from XENIMG, MIRDIR and MIRAGE_BACKEND."""
    name = variables.get('XENIMG', '')
    if not name:
        raise errors.Refused(
            'XENIMG is not set, and no image is given',
            hint='mirage-hooks publish IMAGE --to REMOTE, or set XENIMG to the image\'s name',
        )
    folder = Path(variables.get('MIRDIR') or 'src')
    backend = variables.get('MIRAGE_BACKEND') or 'xen'
    if backend not in fields.EXTENSIONS:
        raise errors.Refused(f'MIRAGE_BACKEND={backend} is no target',
                             hint=f'targets: {", ".join(sorted(fields.EXTENSIONS))}')
    extension = fields.EXTENSIONS[backend]
    # MirageOS drops dots from the name; 1.x and 2.x put mir- before it, 4.x uses dist/.
    names = dict.fromkeys((name, name.replace('.', '')))
    tried = [folder / place for each in names for place in
             (f'dist/{each}{extension}', f'{each}{extension}', f'mir-{each}{extension}')]
    found = [path for path in tried if path.is_file()]
    if found:
        return found[0]
    raise errors.Refused(
        f'no image {name} in {folder}: looked for '
        + ', '.join(str(path.relative_to(folder)) for path in tried),
        hint='did `make build` end well?',
    )


def remote(variables: Mapping[str, str]) -> str:
    """Where the original pushed to: <this repository>-deployment on GitHub; '' when unknown."""
    slug = variables.get('TRAVIS_REPO_SLUG') or variables.get('GITHUB_REPOSITORY')
    return f'git@github.com:{slug}-deployment.git' if slug else ''


def key(variables: Mapping[str, str], whose: str = 'DEPLOY') -> str:
    """The private deploy key: DEPLOY_KEY, as it is or in base64, or the pieces that travis-senv
    made of it; '' without. Of `whose` CANARY, CANARY_KEY, where there is one."""
    given = variables.get(f'{whose}_KEY', '')
    if given.lstrip().startswith('-----BEGIN '):
        return _lines(given)
    try:
        pieces = [variables[f'XSECRET_default_{number}']
                  for number in range(int(variables.get('XSECRET_default_num', '0')))]
        text = ''.join((given or ''.join(pieces)).split())  # base64(1) breaks its lines
        return _lines(base64.b64decode(text, validate=True).decode('ascii'))
    except (KeyError, ValueError):
        raise errors.Refused(
            f'the deploy key in {f"{whose}_KEY" if given else "XSECRET_default_*"} is not whole',
            hint=f'set {whose}_KEY to the private key, as it is or in base64',
        ) from None


def _lines(text: str) -> str:
    """The key in the lines that ssh wants; a form on a web page may have made blanks of them."""
    found = re.fullmatch(r'(-----BEGIN [A-Z ]+-----)([^:]+)(-----END [A-Z ]+-----)', text.strip())
    return '\n'.join((found[1], *found[2].split(), found[3], '')) if found else text


@contextlib.contextmanager
def ssh(variables: Mapping[str, str], whose: str = 'DEPLOY') -> Iterator[dict[str, str]]:
    """The environment in which git uses the deploy key, which lies in a file meanwhile; of `whose`
    CANARY, the one for the host that is asked, where it has one.

    DEPLOY_KNOWN_HOSTS, lines as in known_hosts, pins the other side; without it a host that is
    not known yet is believed, where the original believed any.
    """
    whose = whose if variables.get(f'{whose}_KEY') else 'DEPLOY'
    text = key(variables, whose)
    if not text:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        secret = _private(Path(folder, 'key'), text.strip() + '\n')
        known = variables.get(f'{whose}_KNOWN_HOSTS', '')
        # Whatever stands in ssh's own configuration, this key is meant.
        options = ['-i', str(secret), '-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes']
        if known:
            hosts = _private(Path(folder, 'known_hosts'), known.strip() + '\n')
            options += ['-o', f'UserKnownHostsFile={hosts}', '-o', 'StrictHostKeyChecking=yes']
        else:
            options += ['-o', 'StrictHostKeyChecking=accept-new']
        command = variables.get('GIT_SSH_COMMAND') or 'ssh'
        yield {'GIT_SSH_COMMAND': f'{command} {shlex.join(options)}'}


def _private(path: Path, text: str) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, 'w') as file:
        file.write(text)
    return path
