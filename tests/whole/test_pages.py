"""The pages of the book hang together."""

from __future__ import annotations

import re
from pathlib import Path

from tests import recording
from tests.deployment import ROOT

DOCS = ROOT / 'docs'


def test_every_link_of_the_book_leads_somewhere() -> None:
    lost = []
    for page in (ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *DOCS.glob('*.md')):
        for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
            file, _, heading = link.partition('#')
            target = (page.parent / file) if file else page
            there = target.exists() and (not heading or heading in headings(target))
            if '://' not in link and not there:
                lost.append(f'{page.name}: {link}')
    assert lost == []


def headings(page: Path) -> set[str]:
    """What links within `page` are called, by the rule of the sites that show it."""
    titles = re.findall(r'^#+ (.*)$', page.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


def test_the_table_of_contents_names_every_page() -> None:
    text = (ROOT / 'README.md').read_text() + (DOCS / 'README.md').read_text()
    pages = {path.name for path in DOCS.glob('*.md')} - {'README.md'}
    assert {name for name in pages if name not in text} == set()


def test_a_line_of_a_page_stands_for_other_numbers_and_commits_alone() -> None:
    line = recording.pattern('remote:   0.10 s  release 1 (unix, commit 2aab07afbfdd) … runs')
    assert re.fullmatch(line, 'remote:   12.3 s  release 20 (unix, commit 00000000000a) now runs')
    assert not re.fullmatch(line, 'remote:   0.10 s  release 1 (spt, commit 2aab07afbfdd) x runs')


def test_the_readme_shows_what_the_demo_shows() -> None:
    """Differs it? `python -m tests.recording` makes it anew."""
    shown, played = recording.recorded().splitlines(), recording.played().splitlines()
    assert [line for line, one in zip(shown, played, strict=True)
            if not re.fullmatch(recording.pattern(line), one)] == []
