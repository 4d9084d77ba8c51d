"""The CI step that puts an image into the deployment repository: DEPLOY=1 of the original."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from .. import image
from ..config import fields
from ..messages import errors
from ..messages.report import plain
from . import bundle, ci, committing, deployment, layout, pushing, releases, replies

# Every round of a race has a winner: this outlasts some dozens of publishers at once.
ATTEMPTS = 60
LONGEST = 3.0  # seconds between two attempts


class Published(msgspec.Struct, frozen=True):
    """What was pushed: `commit` is '' when there was nothing to do or it was a dry run. `next_to`
    are the unikernels whose images were taken over from the release before, `others` the
    branches next to which this one is new."""

    commit: str
    to: str
    branch: str
    place: layout.Place
    image: image.Image
    removed: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    same: bool = False
    next_to: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def publish(wanted: bundle.Wanted) -> Published:
    """Put the image into the deployment repository; raises Refused for what its host would refuse
    and for what the other side refuses, Unavailable when that is out of reach."""
    with tempfile.TemporaryDirectory() as work, ci.ssh(os.environ) as environment:
        raw = Path(work, 'image')
        identity = _taken(wanted.image, raw)
        clone = deployment.Deployment(
            wanted.to, Path(work, 'deployment.git'), branch=wanted.branch, environment=environment
        )
        place = layout.place(
            wanted.layout, target=identity.target, commit=wanted.source, name=wanted.name,
            branch=clone.branch, compress=wanted.compress,
        )
        blobs = bundle.files(wanted, identity, place, raw, clone)
        for attempt in range(ATTEMPTS):
            try:
                return _once(wanted, identity, place, blobs, clone)
            except pushing.Raced:
                _wait(attempt)
                clone.refresh()
    raise errors.Unavailable(
        f'{clone.shown} changed under every one of {ATTEMPTS} attempts to push',
        hint='publish again when fewer do',
    )


def told(published: Published, verdict: replies.Verdict = replies.SILENCE) -> list[str]:
    """What a person should know; the other side's words never reach the terminal raw."""
    what = f'{published.place.image} ({image.describe(published.image)})'
    if published.same:
        return [f'nothing to do: {what} is the newest on {published.branch} of '
                f'{plain(published.to)} already']
    act, removal = ('published', 'removed') if published.commit else ('would publish',
                                                                      'would remove')
    where = f'{published.branch} {published.commit[:12]}'.strip()
    new = f', a new branch next to {", ".join(map(plain, published.others))}'
    return [
        *(f'{removal} {folder}' for folder in published.removed),
        *(f'next to it, as it was: {name}' for name in published.next_to),
        *(f'remote: {plain(line)}' for line in published.answer),
        f'{act} {what} on {where} of {plain(published.to)}{new if published.others else ""}',
        *_judged(verdict),
    ]


def _judged(verdict: replies.Verdict) -> list[str]:
    others = ', '.join(verdict.others)
    if verdict.refused:
        what = f'it, or what it calls {others},' if others else 'it,'
        return [f'but the host refused {what} as it says above']
    if others:
        return [f'the host runs it; of its others it refused {others}, as it says above']
    return []


def _once(
    wanted: bundle.Wanted, identity: image.Image, place: layout.Place,
    blobs: Mapping[str, deployment.File], clone: deployment.Deployment,
) -> Published:
    files = clone.files()
    if _same(files, place, blobs, clone):
        return Published('', clone.shown, clone.branch, place, identity, same=True)
    next_to = releases.next_to(clone, files, place, wanted.name)
    taken = {path: file for paths in next_to.values() for path, file in paths.items()}
    gone = dict.fromkeys(path for path in place.others if path in files)
    layout.require_room({*files} - {*gone}, blobs)
    old: tuple[str, ...] = ()
    if wanted.keep and place.pointer:
        old = releases.beyond(clone, {**files, **blobs}, wanted.keep, place)
    commit = committing.commit(
        clone, bundle.message(wanted, identity, place, old),
        {**releases.without(files, old), **gone, **taken, **blobs},
    )
    published = Published(
        '', clone.shown, clone.branch, place, identity, old, next_to=tuple(next_to),
        others=() if clone.tip else clone.others(),
    )
    if wanted.dry_run:
        return published
    pushed = pushing.push(clone, commit)
    return msgspec.structs.replace(published, commit=pushed.commit, answer=pushed.answer)


def _same(
    files: Mapping[str, deployment.File], place: layout.Place,
    blobs: Mapping[str, deployment.File], clone: deployment.Deployment,
) -> bool:
    """Is the image that the tree names newest this one, whatever commit it was built from?"""
    ours = blobs[place.image].oid
    if not place.pointer:
        return place.image in files and files[place.image].oid == ours
    newest = f'{releases.newest(clone, files, place)}/{Path(place.image).name}'
    return newest in files and files[newest].oid == ours


def _taken(path: Path, raw: Path) -> image.Image:
    bundle.require_file(path)
    try:
        with path.open('rb') as stream:
            identity = image.take(stream, raw, name=str(path), limit=image.LIMIT)
    except OSError as error:
        raise errors.Refused(f'cannot read {path}: {error.strerror}') from None
    if identity.target not in fields.EXTENSIONS:
        raise errors.Refused(
            f'{path} is built for {identity.target}, which no host of ours runs',
            hint=f'targets: {", ".join(sorted(fields.EXTENSIONS))}',
        )
    return identity


def _wait(attempt: int) -> None:
    """Back off, each publisher for another while."""
    time.sleep(random.uniform(0, min(LONGEST, 0.1 * 2**attempt)))  # noqa: S311
