"""What a deployment would do, as the difference between what runs and what would run."""

from __future__ import annotations

import difflib
from typing import Literal

import msgspec

from .. import config, targets
from ..git import shared
from ..git.repository import Repository
from ..messages.report import Reporter
from ..state import expiry, model, secret, store
from ..state.pointers import alike
from ..state.releases import Releases
from ..switching import launcher
from . import changeover, renewal
from .candidate import Candidates
from .context import Context, Intent


class Change(msgspec.Struct, frozen=True):
    """What of a release would be another one: '' before the first one, and `after` the last."""

    what: str
    before: str
    after: str


class Foreseen(msgspec.Struct, frozen=True, omit_defaults=True):
    """What would become of one unikernel: `running` is what runs now, `plan` how the release that
    would be started is run."""

    would: Literal['nothing', 'start', 'start again', 'switch', 'remove', 'stay stopped',
                   'make ready', 'stay ready']
    running: int = 0
    description: str = ''
    commit: str = ''
    changes: tuple[Change, ...] = ()
    plan: model.Plan | None = None
    refused: str = ''  # why the same was refused before


def dry_run(
    repository: Repository, names: tuple[str, ...], report: Reporter
) -> dict[str, Foreseen]:
    """What deploying the unikernels `names` would do, with nothing started and nothing kept. What
    would run them may be missing here: `report` is told."""
    state = store.opened(repository.state)
    with state.lock('dry run', store.PATIENCE):
        context = Context(repository, state, Intent('dry run'), Reporter(quiet=True))
        settings, candidates = context.settings(), Candidates(context)
        found = {name: _foreseen(context, candidates, settings, name) for name in names}
        if set(names) == set(settings.unikernels):
            found |= {name: Foreseen('remove', current.number) for name in state.names()
                      if name not in names and (current := state.of(name).current())}
    for name, missing in candidates.lacking.items():
        report.refused(f'{name} cannot run here yet: {missing.reason}', missing.hint)
    return found


def _foreseen(
    context: Context, candidates: Candidates, settings: config.Settings, name: str
) -> Foreseen:
    wanted, releases = settings.unikernels[name], context.state.of(name)
    placed = wanted.placed is not None and not _runs(releases)
    current = releases.ready() or releases.current() if placed else releases.current()
    if releases.stopped():
        return Foreseen('stay stopped')
    commit = context.commit(wanted, settings)
    context.require_trust(releases, wanted, settings, commit)
    found = shared.find(context.repository, releases, settings, name, commit)
    candidates.read(name, wanted)
    if current is not None and candidates.same(current, name, wanted, found):
        return _kept(releases, current, placed)
    limit = settings.unpacked_limit
    new = candidates.staged(releases, name, wanted, found, limit, dry=True)
    releases.discard(new.number)
    renewed = current is not None and candidates.renewed(current)
    if current is not None and alike(current, new) and not renewed:
        return _kept(releases, current, placed)
    changes: tuple[Change, ...] = ()
    if current is not None and not placed:
        differs = _changes(releases, current, new, candidates.requests[new.number])
        if renewed:
            after = candidates.certificates[name]
            differs.append(Change('certificate', *_certificates(releases, current, after)))
        changes = (*differs, _mode(context, releases, current, new, wanted))
    before = releases.failure_of(found.blob, candidates.known_by(name, wanted))
    return Foreseen(
        'make ready' if placed else 'start' if current is None else 'switch',
        0 if current is None else current.number,
        new.description, new.commit, changes, secret.masked(new.plan),
        before.reason if before is not None else '',
    )


def _runs(releases: Releases) -> bool:
    current = releases.current()
    return current is not None and launcher.alive(releases, current)


def _kept(releases: Releases, current: model.Release, placed: bool) -> Foreseen:
    alive = launcher.alive(releases, current)
    return Foreseen('nothing' if alive else 'stay ready' if placed else 'start again',
                    current.number, current.description, current.commit)


def _changes(
    releases: Releases, old: model.Release, new: model.Release, request: targets.Request
) -> list[Change]:
    """What differs, but for what differs between any two releases."""
    folder = str(releases.folder(old.number))
    alike = msgspec.structs.replace(request, number=old.number, slot=old.slot, folder=folder)
    before, after = secret.masked(old.plan), secret.masked(targets.plan(alike))
    found = [
        Change('target', before.target, after.target),
        Change('memory', f'{old.memory or new.memory} MB', f'{new.memory} MB'),
        Change('network', _network(before), _network(after)),
    ]
    if old.digest != new.digest:
        found.insert(0, Change('image', _image(old), _image(new)))
    words = _words(before), _words(after)
    same = difflib.SequenceMatcher(None, *words, autojunk=False)
    for what, start, end, begin, stop in same.get_opcodes():
        if what != 'equal':
            gone, come = ' '.join(words[0][start:end]), ' '.join(words[1][begin:stop])
            found.append(Change('command', gone, come))
    return [one for one in found if one.before != one.after]


def _certificates(
    releases: Releases, old: model.Release, after: model.Served
) -> tuple[str, str]:
    before = renewal.served(releases, old)
    names = [expiry.named(one) if one.digest else '' for one in (before, after)]
    return names[0], names[1]


def _image(release: model.Release) -> str:
    return f'{release.digest[:8]}, {release.description}, commit {release.commit[:12]}'


def _network(plan: model.Plan) -> str:
    return ', '.join(f'{tap.name} on {tap.bridge}, {tap.mac}' if tap.bridge else tap.name
                     for tap in plan.taps)


def _words(plan: model.Plan) -> list[str]:
    """The command, and the lines of the files that it reads."""
    lines = [line for text in plan.files.values() for line in text.splitlines()]
    return [*plan.command, *lines]


def _mode(
    context: Context, releases: Releases, old: model.Release, new: model.Release,
    wanted: config.Unikernel,
) -> Change:
    """How the one would follow the other, and why."""
    both, why = changeover.foreseen(context, releases, old, new, wanted)
    how = 'next to release {}, which keeps its connections' if both else 'release {} stops first'
    return Change('switch', '', ': '.join(filter(None, (how.format(old.number), why))))
