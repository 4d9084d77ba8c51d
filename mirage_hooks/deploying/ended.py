"""Why a release did not come to serve: its console is kept, and explained where it says little."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from ..host import xen
from ..messages import errors
from ..state import files, model
from ..state.releases import Releases
from ..switching import consoles, fitting

LATE = 1.0  # seconds after a domain's end in which xenconsoled may still write what it printed


@contextlib.contextmanager
def explained(releases: Releases, release: model.Release) -> Iterator[None]:
    """When `release` does not come to serve it is discarded; its console is kept, and explained."""
    try:
        yield
    except errors.Refused as refused:
        explain(refused, releases, release)
        raise


def explain(refused: errors.Refused, releases: Releases, release: model.Release) -> None:
    """Discard `release`, keep its console as the failed one, and give `refused`, where it has none,
    the hint that it calls for. For a domain without a console what xl and Xen say is kept."""
    printed = console(releases, release)
    releases.fail(release.number, consoles.of(releases, release))
    fitting.explain(refused, printed)
    if printed or not release.plan.domain:
        return
    refused.hint = refused.hint or xen.SILENT
    if words := xen.last_words(release.plan.domain):
        with files.writing(releases.root):
            releases.failed_console.write_text('\n'.join(words) + '\n')


def console(releases: Releases, release: model.Release) -> tuple[str, ...]:
    """The last lines of what `release`, which has ended, printed."""
    limit = time.monotonic() + (LATE if release.plan.domain else 0)
    while not (said := consoles.tail(consoles.of(releases, release))):
        if time.monotonic() >= limit:
            break
        time.sleep(0.05)
    return said
