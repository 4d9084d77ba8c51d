"""What `init` asks: answers come from the command line, the terminal, the folder and git."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from ...messages import errors
from .. import checkout
from . import earlier

QUESTIONS = {
    'name': 'Name of the site',
    'author': 'Author',
    'ipv4': 'Static address, as ADDRESS/PREFIX',
    'gateway': 'Gateway',
    'deployment': 'Deployment repository, OWNER/NAME on GitHub or an address',
    'branch': 'Branch that CI publishes',
}
GITHUB = r'[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*'
# A URL, USER@HOST:PATH or a path; nothing that a shell, make or Markdown reads as its own.
ADDRESS = (r'(?:(?:ssh|https?|git|file)://[A-Za-z0-9/\[]'
           r'|(?:[A-Za-z0-9][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)[A-Za-z0-9/~]'
           r'|/)[A-Za-z0-9._~/:@%+=,\[\]-]*')
# What lies next to the unikernel when it is built; its name has no dots there.
TAKEN = ('Makefile', 'dist', 'dune', 'htdocs', 'mirage', 'tls', 'zones')
# What a value must look like, and how to say so.
FORMS = {
    'name': (r'[A-Za-z][A-Za-z0-9._-]{0,39}',
             'at most 40 letters, digits, dots and dashes, a letter first'),
    'author': (r'[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,200}', 'a name on one line'),
    'deployment': (f'{GITHUB}|{ADDRESS}',
                   'OWNER/NAME on GitHub, or an address as git@host:path.git, https://… or /path'),
    'branch': (r'[A-Za-z0-9][A-Za-z0-9._/-]*', 'letters, digits, dots, dashes and slashes'),
}


class Answers(NamedTuple):
    """An answer to each of QUESTIONS, and the keys of those that nobody gave."""

    words: dict[str, str]
    assumed: tuple[str, ...] = ()


def answers(
    folder: Path, given: Mapping[str, str | None], ask: Callable[[str], str] | None = None
) -> Answers:
    """The answers to QUESTIONS: an earlier init's, else those given, else the user's (only on a
    terminal), else what the folder and git's configuration suggest. Raises Refused for one that
    cannot be used."""
    if ask is None and sys.stdin.isatty() and sys.stdout.isatty():
        ask = input
    found: dict[str, str] = {}
    assumed = []
    for key in QUESTIONS:
        answer, before = given.get(key), _before(key, folder)
        if before is not None:
            found[key] = _same(key, answer, *before)
            continue
        if answer is None:
            answer = _default(key, folder, found)
            if ask is not None:
                answer = _asked(key, answer, ask)
            elif _invented(key, answer):
                assumed.append(key)
        found[key] = _checked(key, answer)
    return Answers(found, tuple(assumed))


def _invented(key: str, default: str) -> bool:
    """Whether `default` is not from the folder or git, and so hardly what is meant."""
    return key in ('ipv4', 'gateway') or default.startswith('OWNER/')


def _asked(key: str, default: str, ask: Callable[[str], str]) -> str:
    """The user's answer; after one that cannot be used the question comes again with the reason."""
    reason, question = '', f'{QUESTIONS[key]} [{default}]: '
    while True:
        try:
            return _checked(key, ask(reason + question).strip() or default)
        except errors.Refused as refused:
            reason = f'{refused.reason}\n'
        except EOFError:
            print()  # the question's line is open still
            raise errors.Refused(
                f'no answer to {QUESTIONS[key]!r}: nothing was made', hint=f'--{key} gives it'
            ) from None


def _before(key: str, folder: Path) -> tuple[str, str] | None:
    """What an earlier init was answered, as far as it can be used, and the file that says so."""
    for answer, path in earlier.told(folder, key):
        with contextlib.suppress(errors.Refused):
            return _checked(key, answer), path
    return None


def _same(key: str, answer: str | None, before: str, path: str) -> str:
    """`before`; raises Refused for another `answer`, with which the files would not fit."""
    if answer is not None and _checked(key, answer) != before:
        raise errors.Refused(
            f'--{key} {answer!r}: {path} says {before}, and init changes no file that is there',
            hint=f'change {path} yourself, or take away the files that init shall make anew',
        )
    return before


def _default(key: str, folder: Path, found: Mapping[str, str]) -> str:
    if key == 'name':
        return _plain(folder.resolve().name) or 'www'
    if key == 'author':
        return checkout.told(folder, 'config', 'user.name') or found['name']
    if key == 'gateway':
        return _first(found['ipv4'])
    if key == 'deployment':
        return f'{_slug(folder) or "OWNER/" + found["name"]}-deployment'
    if key == 'branch':
        return checkout.told(folder, 'symbolic-ref', '--short', 'HEAD') or 'main'
    return '10.0.0.2/24'


def _slug(folder: Path) -> str:
    """OWNER/NAME of the GitHub repository that `folder` is a clone of, '' otherwise."""
    origin = checkout.told(folder, 'config', 'remote.origin.url')
    found = re.search(r'github\.com[:/]([A-Za-z0-9._-]+/[A-Za-z0-9._-]+?)(\.git)?/?$', origin)
    return found[1] if found else ''


def _plain(name: str) -> str:
    return re.sub(r'^[^A-Za-z]+', '', re.sub(r'[^A-Za-z0-9._-]', '-', name))[:40]


def _first(ipv4: str) -> str:
    """The first address of the network that is not `ipv4` itself: where gateways usually are."""
    interface = ipaddress.IPv4Interface(ipv4)
    hosts = (host for host in interface.network.hosts() if host != interface.ip)
    return str(next(hosts, interface.ip))


def _checked(key: str, answer: str) -> str:
    if key == 'ipv4':
        return _address(answer)
    if key == 'gateway':
        return _gateway(answer)
    if key == 'name' and answer.replace('.', '') in TAKEN:
        raise errors.Refused(f'--name {answer!r}: another file in _mirage is called so')
    if key == 'deployment':
        answer = _short(answer)
    pattern, wanted = FORMS[key]
    if not re.fullmatch(pattern, answer):
        raise errors.Refused(f'--{key} {answer!r}: {wanted} is wanted')
    return answer


def _short(address: str) -> str:
    """OWNER/NAME of what `remote` makes of that; another address as it is."""
    found = re.fullmatch(rf'git@github\.com:({GITHUB})\.git', address)
    return found[1] if found else address


def remote(deployment: str) -> str:
    """Where the deployment repository is pushed to."""
    on_github = re.fullmatch(GITHUB, deployment)
    return f'git@github.com:{deployment}.git' if on_github else deployment


def _address(answer: str) -> str:
    try:
        if '/' not in answer:
            raise ValueError
        return str(ipaddress.IPv4Interface(answer))
    except ValueError:
        raise errors.Refused(
            f'--ipv4 {answer!r}: ADDRESS/PREFIX is wanted, as 192.0.2.5/24'
        ) from None


def _gateway(answer: str) -> str:
    try:
        return str(ipaddress.IPv4Address(answer))
    except ValueError:
        raise errors.Refused(f'--gateway {answer!r}: an address is wanted, as 192.0.2.1') from None
