"""What was meant by a word that is not known."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from . import errors


def question(word: str, known: Iterable[str]) -> str:
    """`did you mean status?` for `statsu`; '' where no word of `known` is like it."""
    import difflib  # 3 ms, for who mistypes

    found = difflib.get_close_matches(word, list(known), 1)
    return f'did you mean {found[0]}?' if found else ''


def require(name: str, known: Collection[str]) -> None:
    """Raise Refused unless `name` is in `known`; '' stands for all of them."""
    if name and name not in known:
        there = f'known are: {", ".join(known)}' if known else 'there is none yet'
        raise errors.Refused(
            f'no unikernel is called {name}', hint=question(name, known) or there
        )
