"""Makes the site's repository: pages, unikernel, Makefile, CI. Overwrites nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from .. import errors

TEMPLATES = Path(__file__).parent / 'templates'
OCAML = '4.14.2'


def init(folder: Path, answers: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write every file that is not there; the paths that were made, and those left alone."""
    words = _words(answers)
    made, left = [], []
    for template, path in _files():
        target = folder / path
        if target.exists() or target.is_symlink():
            left.append(path)
            continue
        _write(target, _filled(template.read_text(), words))
        made.append(path)
    return tuple(made), tuple(left)


def _files() -> Iterator[tuple[Path, str]]:
    """Every template and where it goes: `dot-travis.yml` is `.travis.yml`, for packaging's sake."""
    for template in sorted(TEMPLATES.rglob('*')):
        if template.is_file():
            path = template.relative_to(TEMPLATES).as_posix()
            yield template, re.sub(r'(^|/)dot-', r'\1.', path)


def _write(target: Path, text: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open('x') as file:
            file.write(text)
        if text.startswith('#!'):
            target.chmod(target.stat().st_mode | 0o111)
    except OSError as error:
        raise errors.Refused(f'cannot write {target}: {error.strerror}') from None


def _words(answers: Mapping[str, str]) -> dict[str, str]:
    """What stands for @WORD@ in the templates."""
    name = answers['name']
    return {
        'NAME': name,
        # As MirageOS 3 did: opam's names have no dots.
        'UNIKERNEL': name.replace('.', ''),
        # JSON is YAML: a name with a colon or a quote stays one.
        'AUTHOR': json.dumps(answers['author'], ensure_ascii=False),
        'IPV4': answers['ipv4'],
        'ADDRESS': answers['ipv4'].partition('/')[0],
        'GATEWAY': answers['gateway'],
        'DEPLOYMENT': answers['deployment'],
        'REMOTE': f'git@github.com:{answers["deployment"]}.git',
        'BRANCH': answers['branch'],
        'OCAML': OCAML,
    }


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r'@([A-Z0-9]+)@', lambda match: words[match[1]], text)
