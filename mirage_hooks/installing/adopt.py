"""The mirage.yml that does what an old deployment repository's scripts did.

They are read from the commit's tree as data; nothing of them is run. What they do not say stays a
comment, and what is guessed is told."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import msgspec

from .. import config, image, targets
from ..git import repository, tree
from ..messages import errors
from ..switching import fitting
from . import compiled, crontab, entry, known, published, starter, xlfile

TEMPLATE = re.compile(r'(scripts/)?(xl\.conf|[A-Za-z0-9._-]+\.xl)(\.in)?')
HOOK = re.compile(r'(scripts/)?post-merge(\.hook|\.sh)?')
CRONTAB = re.compile(r'(scripts/)?crontab')
FEW = 8  # templates; nobody has more
PLACE = 'on this host, as that of the domain that runs'


class Adopted(msgspec.Struct, frozen=True):
    """`text` is the mirage.yml, `when` the schedule of the old crontab line ('' for none), `said`
    what a person should know."""

    text: str
    when: str
    said: tuple[str, ...]


def adopt(where: repository.Repository) -> Adopted:
    """What the scripts in the checked-out branch say; raises Refused when there are none."""
    branch = next(iter(where.branches()), '')
    commit = where.commit(branch) if branch else ''
    scripts = _scripts(where, commit) if commit else {}
    templates = [path for path in scripts if TEMPLATE.fullmatch(path)][:FEW]
    if not templates:
        raise errors.Refused(
            f'{where.folder} has no old scripts to adopt: no xl.conf.in or *.xl.in in it',
            hint='install without --adopt, and say in mirage.yml what should run',
        )
    olds = {old.name: old for old in _olds(where, commit, scripts, templates)}
    seen = {name: _seen(where, commit, old) for name, old in olds.items()}
    entries = [line for name, old in olds.items() for line in entry.lines(old, seen[name])]
    told = [line for name, old in olds.items() for line in entry.told(old, seen[name])]
    told += _shared(olds.values())
    read = ', '.join(scripts)
    head = [
        starter.head(where),
        f'# Adopted from {read} of commit {commit[:12]}.',
        *([f'branch: {published.quoted(branch)}'] if branch else []),
        '', 'unikernels:', *entries, '',
    ]
    when = _when(scripts)
    told.insert(0, f'adopted: {", ".join(olds)}, from {read} of commit {commit[:12]}')
    return Adopted('\n'.join(head), when, tuple(told))


def _scripts(where: repository.Repository, commit: str) -> dict[str, str]:
    """The old scripts that say something, by path."""
    wanted = {
        path: oid for path, oid in where.files(commit).items()
        if any(kind.fullmatch(path) for kind in (TEMPLATE, HOOK, CRONTAB))
    }
    found = {}
    for path, oid in sorted(wanted.items())[: 2 * FEW]:
        with where.open(oid) as stream:
            raw = stream.read(xlfile.LIMIT + 1)
        if len(raw) <= xlfile.LIMIT:
            found[path] = raw.decode('utf-8', 'replace').replace('\r\n', '\n')
    return found


def _olds(
    where: repository.Repository, commit: str, scripts: dict[str, str], templates: list[str]
) -> Iterator[entry.Old]:
    published = _published(where, commit)
    usual = next((path for path in published if path.startswith('xen/')), 'xen/latest')
    for path in templates:
        xl = xlfile.parse(scripts[path])
        stem = re.sub(r'(\.xl)?(\.in)?$', '', PurePosixPath(path).name)
        tried = (
            *xl.values.get('name', ()), *([stem] if stem != 'xl.conf' else []),
            *_assigned(scripts), published.get(usual, ''), 'www',
        )
        name = next(name for name in tried if entry.fits(name, config.Name))
        own = {tree.spelled(name), tree.spelled(stem)}
        pointers = (path for path, image in published.items() if tree.spelled(image) in own)
        yield entry.Old(name, xl, next(pointers, usual))


def _published(where: repository.Repository, commit: str) -> dict[str, str]:
    """The pointers in the tree that may be meant for Xen, with their images' names; those that say
    so first."""
    others = targets.TABLE.keys() - {'xen'}
    found = {PurePosixPath(path): image for path, image in where.images(commit)}
    ours = sorted(found.keys(), key=lambda path: 'xen' not in path.parts)
    return {str(path): found[path] for path in ours if not others & set(path.parts)}


def _shared(olds: Iterable[entry.Old]) -> Iterator[str]:
    """What to look at where several unikernels got the same image."""
    names: dict[str, list[str]] = {}
    for old in olds:
        names.setdefault(old.image, []).append(old.name)
    for pointer, several in names.items():
        if len(several) > 1:
            yield (f'{" and ".join(several)} got the same `image: {pointer}`: change it where one '
                   'has an image of its own')


def _assigned(scripts: dict[str, str]) -> list[str]:
    """The site's name where the hook assigns it, as HTTP=mort.io."""
    hooks = (text for path, text in scripts.items() if HOOK.fullmatch(path))
    return [found for text in hooks
            for found in re.findall(r'^(?:HTTP|NAME|SITE|VM)=["\']?([\w.-]+)["\']?$', text, re.M)]


def _when(scripts: dict[str, str]) -> str:
    """The schedule of the line that pulled."""
    for path, text in scripts.items():
        for line in text.split('\n') if CRONTAB.fullmatch(path) else ():
            found = re.match(r'\s*(@\w+|\S+(\s+\S+){4})\s+\S', line)
            if found and re.search(r'\bgit\b.*\bpull\b', line):
                try:
                    return crontab.spec(found[1])
                except errors.Refused:
                    continue
    return ''


def _seen(where: repository.Repository, commit: str, old: entry.Old) -> entry.Seen:
    """What the image and this host tell of `old`."""
    vifs = old.xl.values.get('vif', ())
    bridge = xlfile.options(vifs[0]).get('bridge', '') if vifs else ''
    host = known.address(old.name, bridge) if entry.fits(bridge, config.Interface) else None
    try:
        found = where.find(commit, old.name, config.Unikernel(image=old.image, target='xen'))
    except errors.Refused:
        why = f'{entry.shown(old.image)} shows no image to tell it from'
        return entry.Seen('3.0', why, host, PLACE if host else '')
    disks = tuple(fitting.disks(where, found, 'xen'))
    with tempfile.TemporaryDirectory() as folder:
        try:
            version, why = _generation(where, found, Path(folder, 'image'))
        except errors.Refused:
            why = f'{entry.shown(old.image)} shows no image to tell it from'
            return entry.Seen('3.0', why, host, PLACE if host else '', disks)
        inside = compiled.address(Path(folder, 'image'))
    if inside is not None:
        return entry.Seen(version, why, inside, 'in the image', disks)
    return entry.Seen(version, why, host, PLACE if host else '', disks)


def _generation(
    where: repository.Repository, found: tree.Found, into: Path
) -> tuple[str, str]:
    """The MirageOS version to speak to, and why; one that is wrong by little speaks the same. The
    image is unpacked `into` a file."""
    name = PurePosixPath(found.path).name
    with where.open(found.blob, image.LIMIT, found.path) as stream:
        took = image.take(stream, into, name=found.path, limit=image.LIMIT)
    if name.startswith('mir-'):
        return '2.9', f'MirageOS 1 and 2 called their images mir-NAME, as {entry.shown(name)}'
    if took.style == 'pvh':
        return '3.9', f'{entry.shown(name)} is a PVH image, as from 3.9 on'
    return '3.0', f'{entry.shown(name)} is a PV image, as up to 3.8, and not called mir-NAME'
