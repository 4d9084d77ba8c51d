"""The user's crontab: one marked line of ours, every other line left byte for byte."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from . import errors, system

DEFAULT = '*/7 * * * *'
_WORDS = 'reboot|yearly|annually|monthly|weekly|daily|midnight|hourly'
_SPEC = re.compile(rf'@({_WORDS})|[0-9A-Za-z*,/~-]+( [0-9A-Za-z*,/~-]+){{4}}')


def spec(text: str) -> str:
    """`text` as crontab(5) wants it; raises Refused when it has another shape."""
    tidy = ' '.join(text.split())
    if not _SPEC.fullmatch(tidy):
        raise errors.Refused(
            f'{text!r} does not say when, as cron understands it',
            hint="give five fields, as '*/7 * * * *', or a word, as @hourly",
        )
    return tidy


def line(when: str, repository: Path, command: Path) -> bytes:
    """Our line: pull, then converge, whatever the pull did."""
    words = shlex.join([str(command), '-C', str(repository), 'pull', '--quiet'])
    return when.encode() + b' ' + _escaped(words) + _mark(repository)


def added(table: bytes, repository: Path, ours: bytes) -> bytes:
    """`table` with `ours` in the place of the marked line for `repository`, else at its end."""
    lines = table.split(b'\n')
    places = [index for index, each in enumerate(lines) if each.endswith(_mark(repository))]
    if not places:
        # An editor may have left the last line without its end.
        gap = b'\n' if table and not table.endswith(b'\n') else b''
        return table + gap + ours + b'\n'
    lines[places[0]] = ours
    kept = [each for index, each in enumerate(lines) if index not in places[1:]]
    return b'\n'.join(kept if kept[-1] == b'' else [*kept, b''])


def removed(table: bytes, repository: Path) -> bytes:
    """`table` without the marked line for `repository`."""
    lines = table.split(b'\n')
    return b'\n'.join(each for each in lines if not each.endswith(_mark(repository)))


def when(table: bytes, repository: Path) -> str:
    """The schedule of the marked line for `repository`, '' when there is none."""
    for each in table.split(b'\n'):
        found = _SPEC.match(each.decode(errors='replace'))
        if found and each.endswith(_mark(repository)):
            return found[0]
    return ''


def pulls(table: bytes, repository: Path) -> list[str]:
    """Lines of others that pull into `repository`, such as the original's `cd … && git pull`."""
    names = [str(repository)]
    if repository.is_relative_to(Path.home()):
        inside = repository.relative_to(Path.home())
        names += [f'{home}/{inside}' for home in ('$HOME', '${HOME}', '~')]
    here = '|'.join(re.escape(name) for name in names)
    return [
        each
        for each in table.decode(errors='replace').split('\n')
        if re.search(rf'({here})(?![\w.-])', each) and re.search(r'\bgit\b.*\bpull\b', each)
        and not each.lstrip().startswith('#') and not each.encode().endswith(_mark(repository))
    ]


def read() -> bytes | None:
    """This user's crontab, empty when there is none yet; None when this host has no crontab
    program. Raises Unavailable when cron does not let us."""
    if system.find('crontab') is None:
        return None
    code, printed, said = system.exchange('crontab', '-l')
    if code and 'no crontab for' not in said:
        raise errors.Unavailable(
            f'`crontab -l` failed: {said or "it said nothing"}', hint='or install with --no-cron'
        )
    return b'' if code else printed


def write(table: bytes) -> None:
    """Make `table` this user's crontab; raises Unavailable in crontab's own words."""
    arguments = ('-',) if table else ('-r',)
    code, _, said = system.exchange('crontab', *arguments, stdin=table)
    if code and (table or 'no crontab for' not in said):
        raise errors.Unavailable(f'crontab refused the new table: {said or "it said nothing"}')


def _mark(repository: Path) -> bytes:
    return b' # mirage-hooks: ' + _escaped(str(repository))


def _escaped(text: str) -> bytes:
    """cron ends the command at a bare percent sign and gives it the rest as its input."""
    return os.fsencode(text).replace(b'%', b'\\%')
