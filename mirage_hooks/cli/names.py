"""The names of unikernels as a person types them."""

from __future__ import annotations

from collections.abc import Collection

from ..git.repository import Repository
from ..messages import errors, nearest
from ..state import journal, store


def configured(repository: Repository) -> list[str]:
    """Those that mirage.yml names."""
    return list(store.settings(repository.config_path(), repository.state).unikernels)


def known(repository: Repository, state: store.Store) -> list[str]:
    """Those that mirage.yml names, where it can be read, that had a release here, or that the
    history tells of."""
    try:
        named = configured(repository)
    except errors.Refused:  # what has run can be asked for all the same
        named = []
        if not state.root.exists():  # it is none of ours
            raise
    told = (entry.unikernel for entry in journal.entries(state.history))
    return list(dict.fromkeys([*named, *state.names(), *told]))


def require(name: str, known: Collection[str]) -> None:
    """Raise Refused unless `name` is in `known`; '' stands for all of them."""
    if name and name not in known:
        there = f'known are: {", ".join(known)}' if known else 'there is none yet'
        raise errors.Refused(
            f'no unikernel is called {name}', hint=nearest.question(name, known) or there
        )


def require_there(repository: Repository, name: str) -> None:
    """Raise Refused unless mirage.yml names `name`; where that cannot be read, unless `name` ever
    had a release here."""
    try:
        there = configured(repository)
    except errors.Refused:
        if name not in store.opened(repository.state).names():
            raise
    else:
        _require_named([name], there)


def require_configured(repository: Repository, names: list[str]) -> None:
    """Raise Refused for one of `names` that mirage.yml does not have."""
    _require_named(names, configured(repository) if names else [])


def _require_named(names: list[str], there: list[str]) -> None:
    for name in names:
        if name not in there:
            listed = f'it names {", ".join(there)}' if there else 'it names none'
            raise errors.Refused(
                f'mirage.yml names no unikernel {name}',
                hint=nearest.question(name, there) or listed,
            )
