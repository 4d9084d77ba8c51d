"""What init says when its files are made."""

from __future__ import annotations

from pathlib import Path

from . import lacking
from .scaffold import Plan


def made(folder: Path, plan: Plan) -> list[str]:
    """What init made in `folder`, and what the files that were there want."""
    wants = {path: lacking.lacking(folder, path) for path in plan.left}
    site = ['there is a site already: no pages were made', lacking.published(folder)]
    return [
        *(f'left alone  {path}' + (f' ({want})' if want else '') for path, want in wants.items()),
        *(f'made        {path}' for path in plan.make),
        *(['init in an empty folder makes what is wanted'] if any(wants.values()) else []),
        *(text for text in site if text and plan.site),
    ]
