"""The page: it tells what `status` tells, and whatever stands in it does nothing."""

from __future__ import annotations

import html.parser
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_mock

from mirage_hooks.state import journal, user, watched
from mirage_hooks.watching import page, rows
from tests.deployment import Deployment, git, run, web
from tests.patience import PATIENCE, until

ELEMENTS = {
    'html', 'head', 'meta', 'title', 'style', 'body', 'header', 'main', 'section', 'article',
    'footer', 'div', 'span', 'p', 'h1', 'h2', 'h3', 'a', 'b', 'ul', 'li', 'dl', 'dt', 'dd',
    'figure', 'figcaption', 'code', 'pre', 'br', 'time', 'svg', 'symbol', 'use', 'g', 'circle',
    'rect', 'path',
}
VOID = {'meta', 'br'}
OF_LINKS = {'href', 'rel'}
ATTRIBUTES = {
    'lang', 'charset', 'http-equiv', 'content', 'name', 'class', 'id', 'style', 'role', 'datetime',
    'aria-label', 'aria-hidden', 'width', 'height', 'x', 'y', 'd', 'cx', 'cy', 'r', 'viewbox',
    'preserveaspectratio', 'fill', 'stroke', 'stroke-width', 'stroke-linecap', 'stroke-linejoin',
    'opacity',
}


class Parsed(html.parser.HTMLParser):
    """A page, as a browser takes it apart: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements = list[tuple[str, dict[str, str]]]()
        self.open, self.words, self.style, self.stray = list[str](), list[str](), '', 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or '' for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or '' for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == 'style':
            self.style += data
        else:
            self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.stray += 1

    def links(self) -> list[str]:
        return [found['href'] for tag, found in self.elements if tag == 'a']

    @property
    def text(self) -> str:
        return ' '.join(' '.join(self.words).split()).replace(' ,', ',')


def harmless(text: str) -> Parsed:
    """The page `text`, of which nothing runs, and nothing is fetched."""
    found = Parsed(text)
    assert text.isascii() and found.open == [] and found.stray == 0
    assert {tag for tag, _ in found.elements} <= ELEMENTS
    for tag, attributes in found.elements:
        allowed = ATTRIBUTES | (OF_LINKS if tag in ('a', 'use') else set())
        assert set(attributes) <= allowed, (tag, attributes)
        where = attributes.get('href', '#')
        assert re.match(r'#[\w-]*$' if tag == 'use' else '#[r0-9-]*$|https?://', where), where
        assert where.startswith('#') or attributes['rel'] == 'noreferrer noopener'
        assert re.fullmatch('position:absolute|margin-top:[.0-9]+rem|', attributes.get('style', ''))
    assert not re.search(r'url|@import|expression', found.style)
    assert [one['content'] for _, one in found.elements if one.get('http-equiv')] == [
        "default-src 'none'; style-src 'unsafe-inline'", '60']
    return found


def made(deployment: Deployment) -> Parsed:
    done = deployment.mirage('page')
    assert (done.returncode, done.stderr) == (0, '')
    return harmless(done.stdout)


def test_the_story_of_a_day_is_the_one_that_status_tells(twice: Deployment) -> None:
    """A deployment, a refusal, a silence, a restart and a rollback."""
    git(twice.host, 'config', 'remote.origin.url', 'https://me:hunter2@github.com/me/www.git')
    releases, now = twice.state().of('www'), time.time()
    second = twice.current()
    for minutes, value in ((90, watched.SILENT), (30, 4), (20, 8)):
        watched.note(releases.root, now - 60 * minutes, value)
    at = journal.now()
    for event, reason in (('silent', 'no answer, 3 times in a row'), ('restarted', 'no answer')):
        journal.append(twice.state().history, journal.Entry(
            at=at, unikernel='www', event=event, trigger='watcher', release=2,
            commit=second.commit, reason=reason, gap=0.25 * (event == 'restarted')))
    twice.publish(web('three', "print('<b>it fails</b>', flush=True); sys.exit(2)"), 'c' * 40)
    git(twice.host, 'pull', '-q', f'file://{twice.hub}', 'master')
    assert twice.mirage('rollback', 'www').returncode == 0
    first = twice.current()
    found = made(twice)
    said = found.text
    assert f'www needs a look Written on {os.uname().nodename} at ' in said
    assert re.search(r'www answers in \d+ ms; an image was refused', said)
    assert f'Release 1, {first.description}, kept by a rollback' in said
    assert 'Restarts 1 silent in 30 days' in said
    assert 'it ended with exit code 2' in said and '<b>it fails</b>' in said
    assert '24 hours 66.66 %' in said and '6 ms, slowest 8 ms' in said
    told = [re.sub(' in [0-9.]+ s', '', line)
            for line in re.findall(r'(?<=\d\d:\d\d )www.*?(?= by )', said)]
    assert told == [
        f'www release 1 rolled back, {first.commit[:12]}',
        'www refused', f'www release 2 restarted, nobody served for 0.25 s, {second.commit[:12]}',
        f'www release 2 silent, {second.commit[:12]}',
        f'www release 2 deployed, {second.commit[:12]}',
        f'www release 1 deployed, {first.commit[:12]}',
    ]
    assert f'https://github.com/me/www/commit/{second.commit}' in found.links()
    assert f'http://127.0.0.1:{twice.port}/' in found.links()
    assert 'hunter2' not in str(found.elements) + said


HOSTILE = (
    '<script>alert(1)</script>"\'><img src=x onerror=alert(2)> onload=alert(3) </title></style>'
    '</pre><!-- {{ 7*7 }} {% raw %} &lt;b&gt; '
    '\x1b[31mred\x1b]0;x\x07 \u202egnp.exe \u2066 \udcff \0'
)


@pytest.fixture
def hostile(twice: Deployment, mocker: pytest_mock.MockerFixture) -> str:
    """The page of a repository in which everything is called HOSTILE."""
    state, now = twice.state(), time.time()
    git(twice.host, 'config', 'remote.origin.url', 'javascript://github.com/a/b/%0aalert(1)')
    state.of('www').failed_console.write_bytes(HOSTILE.encode(errors='replace') + b'\n\xff\n')
    journal.append(state.history, journal.Entry(
        at=now, unikernel=HOSTILE[:100], event='<b>', trigger='<i>', commit='"><b>' * 8,
        reason='</p><script>'))
    every: rows.Row = {
        'name': 'www', 'state': 'running', 'release': 2, 'commit': HOSTILE, 'domain': HOSTILE,
        'description': HOSTILE, 'created': now, 'since': now, 'url': 'javascript:alert(1)',
        'health': {'wrong': HOSTILE}, 'newer': HOSTILE, 'conflicts': [HOSTILE], 'crashed': HOSTILE,
        'hint': HOSTILE, 'restarts': {'silent': 1}, 'draining': [{'release': 1, 'until': now}],
        'refused': {'reason': HOSTILE, 'hint': 'see http://me:pa55@h/ now', 'at': now},
        'silent': {'at': now, 'reason': HOSTILE}, 'pinned': True,
    }
    other = {**every, 'name': HOSTILE[:50], 'url': f'http://{HOSTILE}'}
    for one in ('crashed', 'silent'):
        del other[one]
    other['restarted'] = {'times': 2, 'reason': HOSTILE, 'hint': HOSTILE}
    mocker.patch.object(rows, 'found', return_value=rows.Found({
        'repository': HOSTILE, 'deploying': HOSTILE, 'left': [HOSTILE], 'keeper': False,
        'cron': now, 'fetch_failed': HOSTILE, 'unikernels': [every, other],
    }, None))
    return page.text([twice.host])


def test_nothing_that_a_repository_says_does_anything(hostile: str) -> None:
    found = harmless(hostile)
    assert not [one for one in found.links() if 'javascript' in one or 'github' in one]
    shown = '<script>alert(1)</script>"\'><img src=x onerror=alert(2)>'
    assert found.text.count(shown) > 15, 'it is shown, as what it is'
    assert r'\x1b[31mred\x1b]0;x\x07 \u202egnp.exe \u2066 \udcff \x00' in found.text
    assert '{{ 7*7 }}' in found.text and 'see http://h/ now' in found.text
    assert 'pa55' not in hostile


def test_a_repository_that_cannot_be_read_says_so_next_to_the_others(
    serving: Deployment, tmp_path: Path
) -> None:
    gone = tmp_path / 'gone'
    found = harmless(page.text([serving.host, gone]))
    assert '1 repository needs a look' in found.text
    assert f'{gone} It cannot be read' in found.text
    assert re.search(r'www answers in \d+ ms', found.text)


def test_a_wrong_mirage_yml_is_told_next_to_what_runs(serving: Deployment) -> None:
    serving.configure('unikernels: 7\n')
    found = made(serving)
    assert 'mirage.yml is wrong: what runs goes on, nothing new is deployed' in found.text
    assert 'www runs' in found.text


def test_what_is_given_secrets_may_print_them(twice: Deployment, tmp_path: Path) -> None:
    token = tmp_path / 'token'
    token.write_text('open sesame\n')
    token.chmod(0o600)
    twice.configure(secrets={'message': str(token)})
    twice.publish(web('x', 'print(sys.argv, flush=True); sys.exit(2)'), 'c' * 40)
    twice.pull()
    assert 'sesame' in twice.state().of('www').failed_console.read_text()
    said = made(twice).text
    assert 'sesame' not in said
    assert ('It is given secrets, so what it printed is not shown here: mirage-hooks logs www '
            '--failed') in said
    twice.configure('unikernels: 7\n')  # nobody knows any more
    assert 'sesame' not in made(twice).text


def test_before_the_first_deployment_it_says_so(deployment: Deployment) -> None:
    deployment.publish(b'x')
    deployment.clone()
    said = made(deployment).text
    assert 'www does not serve' in said and 'www never deployed' in said
    deployment.configure('unikernels: {}\n')
    said = made(deployment).text
    assert 'Nothing is deployed yet' in said and 'No unikernel yet: mirage.yml names none.' in said


@pytest.mark.parametrize(('row', 'mark', 'words'), [
    ({'state': 'running', 'health': {'ms': 4}}, 'well', 'answers in 4 ms'),
    ({'state': 'running'}, 'well', 'runs'),
    ({'state': 'running', 'health': {'wrong': 'x'}, 'refused': {}}, 'bad', 'does not answer'),
    ({'state': 'running', 'silent': {}}, 'warn', 'runs; was silent'),
    ({'state': 'running', 'conflicts': ['x']}, 'warn', 'runs; a conflict'),
    ({'state': 'down'}, 'bad', 'is down'),
    ({'state': 'stopped', 'refused': {}}, 'off', 'stopped by hand'),
])
def test_each_is_judged_at_one_glance(row: rows.Row, mark: str, words: str) -> None:
    assert page._how(row) == (mark, words)


def test_the_watcher_keeps_it_fresh(serving: Deployment) -> None:
    user.remember(serving.host, True)
    path = serving.folder / 'page.html'
    done = run(sys.executable, '-I', '-m', 'mirage_hooks', 'page', '--fresh', '--to', 'page.html',
               cwd=serving.folder)
    assert (done.returncode, done.stdout) == (
        0, f'{path}: the watcher writes it anew every minute\n')
    path.unlink()
    until(path.exists, pause=0.2)
    assert 'All is well' in harmless(path.read_text()).text


CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')


@pytest.fixture
def asked() -> Iterator[tuple[http.server.HTTPServer, list[str]]]:
    """A server of this host that gives the page, and all that was asked of it."""
    paths = list[str]()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.send_header('Content-Type', 'text/html')
            self.end_headers()
            self.wfile.write(getattr(self.server, 'text', '').encode())

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server, paths
        server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason='no chromium is here')
def test_in_a_browser_nothing_runs_and_nothing_is_fetched(
    hostile: str, asked: tuple[http.server.HTTPServer, list[str]], tmp_path: Path
) -> None:
    server, paths = asked
    server.text = hostile  # type: ignore[attr-defined]
    seen = subprocess.run(
        (str(CHROMIUM), '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run',
         '--disable-background-networking', f'--user-data-dir={tmp_path}', '--dump-dom',
         f'http://127.0.0.1:{server.server_port}/'),
        capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert paths == ['/']
    shown = Parsed(seen.stdout.replace('/>', '>'))
    assert [tag for tag, _ in shown.elements if tag in ('script', 'img')] == []
    assert shown.text == Parsed(hostile).text
