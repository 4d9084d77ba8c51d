"""Links to commits, where the remote is known."""

from __future__ import annotations

import pytest

from mirage_hooks.git import web


@pytest.mark.parametrize(('url', 'found'), [
    ('https://github.com/me/www.git', 'https://github.com/me/www/commit/'),
    ('https://github.com/me/www/', 'https://github.com/me/www/commit/'),
    ('git@github.com:me/www.git', 'https://github.com/me/www/commit/'),
    ('ssh://git@codeberg.org:22/me/w.w.w', 'https://codeberg.org/me/w.w.w/commit/'),
    ('https://gitlab.example.org/a/b/c.git', 'https://gitlab.example.org/a/b/c/-/commit/'),
])
def test_a_known_host_has_a_page_of_each_commit(url: str, found: str) -> None:
    assert web.commits(url) == found


@pytest.mark.parametrize('url', [
    'https://me:secret@github.com/me/www.git', 'https://me:p@ss@github.com/me/www.git',
    'https://ghp_token@github.com/me/www', 'http://me:p:q@github.com/me/www',
])
def test_no_password_is_in_a_link(url: str) -> None:
    assert web.commits(url) == 'https://github.com/me/www/commit/'


@pytest.mark.parametrize('url', [
    '', '/srv/git/github/www.git', 'file:///srv/github/www.git', 'https://example.org/me/www.git',
    'javascript:alert(1)', 'javascript://github.com/me/www', 'data:github/html,x',
    'https://github.com/me', 'https://github.com/../www', 'https://github.com/me/w"onclick="x',
    'https://github.com/me/<b>', 'https://github.com/me/www\n', 'https://github.com/me/www?x#y',
    'https://me:se/cret@github.com/me/www', '../github/www',
])
def test_what_nobody_knows_has_none(url: str) -> None:
    assert web.commits(url) == ''
