"""What was meant by a word that is not known."""

from __future__ import annotations

from collections.abc import Iterable


def question(word: str, known: Iterable[str]) -> str:
    """`did you mean status?` for `statsu`; '' where no word of `known` is like it."""
    import difflib  # 3 ms, for who mistypes

    found = difflib.get_close_matches(word, list(known), 1)
    return f'did you mean {found[0]}?' if found else ''
