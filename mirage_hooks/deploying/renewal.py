"""A certificate that was renewed is a release of its own: the same image, proved with the new one,
which takes over like any."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .. import config
from ..git import tree
from ..messages import errors
from ..state import expiry, model, pair
from ..state.releases import Releases
from ..switching import certified, launcher
from .context import Context

if TYPE_CHECKING:
    from .given import Given

NONE = model.Served()


def believed(
    context: Context, wanted: config.Unikernel, own: config.Certificate, releases: Releases,
    places: tuple[Path, ...],
) -> model.Served:
    """The certificate of today, NONE while there is none yet. Raises Refused when it must not
    serve: what is wrong with the very one that serves keeps nobody away from a new image."""
    current = releases.current()
    pair.require_outside(own, places)
    serves = current is not None and launcher.alive(releases, current)
    now = served(releases, current) if current is not None and serves else NONE
    found = pair.read(own)
    if found is None:
        gone = pair.missing(own)
        if current is not None and now.digest:
            raise errors.Refused(
                f'{gone} is gone, and release {current.number} serves with that certificate',
                hint=pair.GONE,
            )
        context.say(releases.root.name)(
            f'no certificate yet: {gone} is not there. It serves by HTTP alone until it is')
        return NONE
    if found.served.digest != now.digest:
        from ..state import chain

        chain.require(found, certified.hosts(wanted), time.time())
    return found.served


def served(releases: Releases, release: model.Release) -> model.Served:
    """The certificate that `release` was started with."""
    return pair.served(releases.folder(release.number)) or NONE


def due(
    given: Given, releases: Releases, current: model.Release | None,
    wanted: config.Unikernel, found: tree.Found,
) -> model.Release | None:
    """The `current` release, where it is what should run but for its certificate, also by a
    rollback that holds; None elsewhere."""
    if current is None or not given.renewed(current):
        return None
    pin = releases.pin()
    image = pin.blob if pin is not None and pin.release == current.number else current.blob
    known = (image, current.fingerprint)
    same = known == (found.blob, given.fingerprint(current.unikernel, wanted))
    return current if same else None


def over(releases: Releases, old: model.Release | None, new: model.Release) -> str:
    """What changed when `new` has taken over from `old`, if that is the same image with another
    certificate: a rollback to it holds on. '' for another image."""
    if old is None:
        return ''
    pin = releases.pin()
    if pin is not None and pin.release == old.number:
        releases.set_pin(msgspec.structs.replace(pin, release=new.number))
    before, after = served(releases, old), served(releases, new)
    if not after.digest:
        return 'without its certificate, by HTTP alone'
    named = expiry.named(after)
    if not before.digest:
        return f'with a certificate: {named}'
    return f'the certificate was renewed: {named}'
