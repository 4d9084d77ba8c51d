"""Why a release did not come to serve: its console is kept, and explained where it says little."""

from __future__ import annotations

from .. import errors, model, store
from ..host import xen
from ..switching import fitting, launcher


def explain(refused: errors.Refused, shelf: store.Shelf, release: model.Release) -> None:
    """Discard `release`, keep its console as the failed one, and give `refused` the hint that it
    calls for."""
    words = console(shelf, release)
    shelf.fail(release.number, launcher.console(shelf, release))
    if words and not launcher.tail(shelf.failed_console):
        with store.writing(shelf.root):
            shelf.failed_console.write_text('\n'.join(words) + '\n')
    hint(refused, release, words)


def console(shelf: store.Shelf, release: model.Release) -> tuple[str, ...]:
    """The last lines of what `release` printed; for a domain without a console what Xen says."""
    said = launcher.tail(launcher.console(shelf, release))
    return said or (xen.last_words(release.plan.domain) if release.plan.domain else ())


def hint(refused: errors.Refused, release: model.Release, words: tuple[str, ...]) -> None:
    """Give `refused`, which has none, the hint that the console's last `words` call for."""
    fitting.explain(refused, words)
    if release.plan.domain and not refused.hint and not words:
        refused.hint = xen.SILENT
