"""What a repository has while mirage.yml names nothing of it: told with the lines to add."""

from __future__ import annotations

import shlex

from ..git import repository
from ..state import store
from . import published

MOST = 5  # images: whoever pushes decides how many there are, and each is unpacked


def lines(wanted: repository.Repository) -> list[str]:
    """For a person; nothing that was pushed is run for it, and nothing is written."""
    path = wanted.config_path()
    said = ['mirage.yml names no unikernel: nothing to run']
    configured = store.settings(path).branch
    branch = configured or next(iter(wanted.branches()), '')
    if not branch:
        return [*said, f'  hint: push an image; then this says what to add to {path}']
    entries = published.entries(wanted, branch, path.parent, MOST, asked=False)
    if not entries:
        return [*said, f'  hint: {branch} has no image that is known as one: name it in {path}']
    return [
        *said,
        f'  hint: {branch} has images: put these lines into {path} in the place of '
        f'`unikernels: {{}}`, then: mirage-hooks -C {shlex.quote(str(wanted.folder))} deploy',
        *([] if configured else [f'branch: {published.quoted(branch)}']),
        'unikernels:', *entries.splitlines(),
    ]
