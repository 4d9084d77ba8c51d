"""Makes the site's repository: pages or zones, unikernel, Makefile, CI. Overwrites nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ...messages import errors
from . import lacking, questions

TEMPLATES = Path(__file__).parent / 'templates'
# Of a name server, in place of those; what has no place in both is the website's alone.
ZONES = Path(__file__).parent / 'nameserver'
ZONE = 'zones/ZONE.zone'
SHARED = ('.travis.yml', '.github/workflows/unikernel.yml', 'ci/build')
OCAML = '4.14.2'
# What only an empty folder gets: an owner's site has its own.
PAGES = ('404.md', '_config.yml', '_layouts/default.html', 'index.md')


@dataclass(frozen=True)
class Plan:
    """The paths that are to be made, and those that are there and stay, of a name server (`dns`) or
    a website; with a `site` that is there already, its pages are neither."""

    make: tuple[str, ...]
    left: tuple[str, ...]
    site: bool = False
    dns: bool = False


def plan(folder: Path, dns: bool = False) -> Plan:
    """What `init` makes in `folder`; raises Refused where a file is in the way of a folder."""
    make: list[str] = []
    left: list[str] = []
    zones = lacking.zones(folder)
    dns = dns or zones  # an earlier one was told
    site = not dns and _site(folder)
    for path in _templates(dns):
        if (site and path in PAGES) or (zones and path == ZONE):
            continue
        target = folder / path
        _reachable(target)
        (left if _there(target) else make).append(path)
    return Plan(tuple(make), tuple(left), site, dns)


def make(folder: Path, plan: Plan, answers: Mapping[str, str]) -> None:
    """Write what `plan` says, with the `answers` in it."""
    words = _words(answers, plan.dns)
    templates = {_named(path, words): text for path, text in _templates(plan.dns).items()}
    for path in plan.make:
        _write(folder / path, _filled(templates[path].read_text(), words))


def named(plan: Plan, answers: Mapping[str, str]) -> Plan:
    """`plan`, with the zone's own name as its file's."""
    words = _words(answers, plan.dns)
    return replace(plan, make=tuple(_named(path, words) for path in plan.make))


def _named(path: str, words: Mapping[str, str]) -> str:
    return f'zones/{words["ZONE"]}.zone' if path == ZONE else path


def _site(folder: Path) -> bool:
    """Whether Jekyll's configuration or a first page is in `folder`, by whatever ending."""
    configured = any(_there(folder / name) for name in lacking.CONFIGURATIONS)
    return configured or any(folder.glob('index.*'))


def _there(path: Path) -> bool:
    """Whether anything is at `path`, a link to nowhere too."""
    return path.exists() or path.is_symlink()


def _reachable(target: Path) -> None:
    for parent in target.parents:
        if _there(parent) and not parent.is_dir():
            raise errors.Refused(
                f'{parent} is a file, and init needs a folder there',
                hint='move it away, or give init another folder',
            )


def _templates(dns: bool) -> dict[str, Path]:
    """Every template by where it goes: `dot-travis.yml` is `.travis.yml`, for packaging's sake."""
    website = _below(TEMPLATES)
    if not dns:
        return website
    return dict(sorted({**{path: website[path] for path in SHARED}, **_below(ZONES)}.items()))


def _below(top: Path) -> dict[str, Path]:
    files = (template for template in sorted(top.rglob('*')) if template.is_file())
    return {re.sub(r'(^|/)dot-', r'\1.', template.relative_to(top).as_posix()): template
            for template in files}


def _write(target: Path, text: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open('x') as file:
            file.write(text)
        if text.startswith('#!'):
            target.chmod(target.stat().st_mode | 0o111)
    except OSError as error:
        raise errors.Refused(f'cannot write {target}: {error.strerror}') from None


def _words(answers: Mapping[str, str], dns: bool) -> dict[str, str]:
    """What stands for @WORD@ in the templates."""
    name = answers['name']
    tool, package, first = (('kzonecheck', 'knot-dnssecutils', 'zones') if dns
                            else ('jekyll', 'jekyll', 'site'))
    return {
        'TOOL': tool, 'PACKAGE': package, 'FIRST': first,
        # A name without a dot is no zone that anybody has.
        'ZONE': name.lower() if '.' in name else 'example.org',
        'NAME': name,
        # As MirageOS 3 did: opam's names have no dots.
        'UNIKERNEL': name.replace('.', ''),
        # JSON is YAML: a name with a colon or a quote stays one.
        'AUTHOR': json.dumps(answers['author'], ensure_ascii=False),
        'IPV4': answers['ipv4'],
        'ADDRESS': answers['ipv4'].partition('/')[0],
        'GATEWAY': answers['gateway'],
        'DEPLOYMENT': answers['deployment'],
        'REMOTE': questions.remote(answers['deployment']),
        'BRANCH': answers['branch'],
        'OCAML': OCAML,
    }


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r'@([A-Z0-9]+)@', lambda match: words[match[1]], text)
