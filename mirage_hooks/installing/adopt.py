"""The mirage.yml that does what an old deployment repository's scripts did.

They are read from the commit's tree as data; nothing of them is run. What they do not say stays a
comment, and what is guessed is told."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import msgspec

from .. import errors, image, model, repository, targets, tree
from . import crontab, starter, xlfile

TEMPLATE = re.compile(r'(scripts/)?(xl\.conf|[A-Za-z0-9._-]+\.xl)(\.in)?')
HOOK = re.compile(r'(scripts/)?post-merge(\.hook|\.sh)?')
CRONTAB = re.compile(r'(scripts/)?crontab')
FEW = 8  # templates; nobody has more
# Keys that say what we do anyway, or that stand elsewhere in mirage.yml.
KNOWN = {'name', 'memory', 'kernel', 'vif', 'disk', 'extra', 'builder', 'type', 'vcpus', 'on_crash',
         'on_reboot', 'on_poweroff', 'autoballoon'}


class Adopted(msgspec.Struct, frozen=True):
    """`text` is the mirage.yml, `when` the schedule of the old crontab line ('' for none), `said`
    what a person should know."""

    text: str
    when: str
    said: tuple[str, ...]


class _Old(msgspec.Struct, frozen=True):
    """One unikernel of the old scripts: its domain's name, and its xl configuration."""

    name: str
    xl: xlfile.Xl
    image: str


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
    told: list[str] = []
    entries = [line for old in olds.values() for line in _entry(where, commit, old, told)]
    told += _shared(olds.values())
    read = ', '.join(scripts)
    head = [
        starter.head(where),
        f'# Adopted from {read} of commit {commit[:12]}.',
        *([f'branch: {starter.plain(branch)}'] if branch else []),
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
) -> Iterator[_Old]:
    published = _published(where, commit)
    usual = next((path for path in published if path.startswith('xen/')), 'xen/latest')
    for path in templates:
        xl = xlfile.parse(scripts[path])
        stem = re.sub(r'(\.xl)?(\.in)?$', '', PurePosixPath(path).name)
        tried = (
            *xl.values.get('name', ()), *([stem] if stem != 'xl.conf' else []),
            *_assigned(scripts), published.get(usual, ''), 'www',
        )
        name = next(name for name in tried if _fits(name, model.Name))
        own = {tree.spelled(name), tree.spelled(stem)}
        pointers = (path for path, image in published.items() if tree.spelled(image) in own)
        yield _Old(name, xl, next(pointers, usual))


def _published(where: repository.Repository, commit: str) -> dict[str, str]:
    """The pointers in the tree that may be meant for Xen, with their images' names; those that say
    so first."""
    others = targets.TABLE.keys() - {'xen'}
    found = {PurePosixPath(path): image for path, image in where.images(commit)}
    ours = sorted(found.keys(), key=lambda path: 'xen' not in path.parts)
    return {str(path): found[path] for path in ours if not others & set(path.parts)}


def _shared(olds: Iterable[_Old]) -> Iterator[str]:
    """What to look at where several unikernels got the same image."""
    names: dict[str, list[str]] = {}
    for old in olds:
        names.setdefault(old.image, []).append(old.name)
    for pointer, several in names.items():
        if len(several) > 1:
            yield (f'{" and ".join(several)} got the same `image: {pointer}`: mend it where one '
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


def _entry(
    where: repository.Repository, commit: str, old: _Old, told: list[str]
) -> Iterator[str]:
    values = old.xl.values
    version, why = _generation(where, commit, old)
    told.append(f'{old.name}: guessed MirageOS {version}, because {why}; `mirage:` says it')
    yield f'  {starter.plain(old.name)}:'
    yield f'    image: {starter.plain(old.image)}'
    yield '    target: xen'
    yield from _memory(values.get('memory', ()))
    yield f'    mirage: "{version}"  # guessed: {why}'
    yield from _networks(values.get('vif', ()))
    yield from _blocks(values.get('disk', ()))
    yield from _arguments(values.get('extra', ()))
    yield '    # How to tell that it serves; without it, to stay up is enough:'
    yield '    # health: {http: "http://ADDRESS/", within: 30s}'
    for key in sorted(values.keys() - KNOWN):
        yield f'    # not taken over: {key} = {_shown(", ".join(values[key]))}'
    for line in old.xl.odd:
        what = 'a disk, if one was given' if line == '@DISK@' else 'not understood'
        yield f'    # {what}: {_shown(line)}'
    told.append(
        f'{old.name}: its address is compiled in, or is yours to fill in; so is `health:`'
    )
    if values.get('disk'):
        told.append(f'{old.name}: its disks are files of this host, which only you can grant: take '
                    'the # away from `blocks:` and what belongs to it')
    told.append(
        f'{old.name}: if the domain that the old scripts made still runs, it holds the address: '
        f'`xl destroy {shlex.quote(old.name)}`, then `mirage-hooks deploy`'
    )


def _generation(where: repository.Repository, commit: str, old: _Old) -> tuple[str, str]:
    """The MirageOS version to speak to, and why; one that is wrong by little speaks the same."""
    try:
        found = where.find(commit, old.name, model.Unikernel(image=old.image, target='xen'))
        name = PurePosixPath(found.path).name
        if name.startswith('mir-'):
            return '2.9', f'MirageOS 1 and 2 called their images mir-NAME, as {_shown(name)}'
        with where.open(found.blob, image.LIMIT, found.path) as stream:
            took = image.look(stream, name=found.path)
    except errors.Refused:
        return '3.0', f'{_shown(old.image)} shows no image to tell it from'
    if took.style == 'pvh':
        return '3.9', f'{_shown(name)} is a PVH image, as from 3.9 on'
    return '3.0', f'{_shown(name)} is a PV image, as up to 3.8, and not called mir-NAME'


def _memory(given: tuple[str, ...]) -> Iterator[str]:
    if given and re.fullmatch(r'[1-9][0-9]{0,5}', given[0]):
        yield f'    memory: {given[0]}'
    elif given:
        yield f'    # memory: {_shown(given[0])} is no number of MB'


def _networks(vifs: tuple[str, ...]) -> Iterator[str]:
    if not vifs:
        yield '    # network: {mode: static, bridge: xenbr0}  # the old configuration has no vif'
    elif len(vifs) == 1:
        yield '    network:'
        yield from _network(vifs[0], ' ' * 6)
    else:
        yield '    networks:'
        for index, vif in enumerate(vifs):
            yield f'      "{index}":'
            yield from _network(vif, ' ' * 8)


def _network(vif: str, indent: str) -> Iterator[str]:
    given = xlfile.options(vif)
    yield f'{indent}mode: static'
    for key, kind in (('bridge', model.Interface), ('mac', model.Mac)):
        value = given.pop(key, '')
        if _fits(value, kind):
            yield f'{indent}{key}: {json.dumps(value) if key == "mac" else starter.plain(value)}'
        elif value or key == 'bridge':
            yield f'{indent}# {key}: {_shown(value)}'
    yield f'{indent}# The address is compiled into the image; to give another:'
    yield f'{indent}# ipv4: ADDRESS/PREFIX'
    yield f'{indent}# gateway: ADDRESS'
    for key, value in given.items():
        yield f'{indent}# not taken over: {_shown(f"{key}={value}")}'


def _blocks(entries: tuple[str, ...]) -> Iterator[str]:
    clear: dict[str, xlfile.Disk] = {}
    odd = []
    for entry in entries:
        disk = xlfile.disk(entry)
        if (disk.vdev not in clear and re.fullmatch(r'[a-z][a-z0-9]{0,15}', disk.vdev)
                and re.fullmatch(r'/[ -?A-~]*', disk.path)):  # printable, no @DISK@
            clear[disk.vdev] = disk
        else:
            odd.append(entry)
    # Comments all of them: no file of the host goes to an image because a repository says so.
    if clear:
        yield '    # blocks:'
    for disk in clear.values():
        yield f'    #   {disk.vdev}:'
        yield f'    #     path: {json.dumps(disk.path)}'
        yield f'    #     vdev: {disk.vdev}'
        yield from ['    #     read_only: true'] if disk.read_only else []
    for entry in odd:
        yield f'    # a disk that is not clear: {_shown(entry)}'


def _arguments(extra: tuple[str, ...]) -> Iterator[str]:
    words = extra[0].split() if extra else []
    clear = [f'--{word.removeprefix("--")}' for word in words
             if re.fullmatch(r'(--)?[A-Za-z][A-Za-z0-9_-]*=[!#-\[\]-~]*', word)]
    if words and len(clear) == len(words):
        yield f'    arguments: {json.dumps(clear)}'
    elif words:
        yield f'    # arguments: {_shown(extra[0])}'


def _fits(text: str, kind: object) -> bool:
    try:
        msgspec.convert(text, kind)
    except msgspec.ValidationError:
        return False
    return True


def _shown(text: str) -> str:
    """`text` for a comment: on one line whatever is in it."""
    return json.dumps(text[:120])
