"""A silent release: a fresh instance of it is proved next to it and takes its place."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mirage_hooks.host import processes
from mirage_hooks.state import notes, watched
from tests import wired
from tests.deployment import Deployment, git
from tests.patience import PATIENCE, until
from tests.switching.test_next_to import TROUBLE, Visitors, slow
from tests.wired import ADDRESS, Wired

WIRED = pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')
URL = f'http://{ADDRESS}:8080/'


WATCH = {'every': '1s', 'timeout': '1s', 'doubt': '1s'}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Wired]:
    made = Wired(tmp_path)
    try:
        made.configure(watch=WATCH)
        made.start()
        with watched_by(tmp_path, *made.inside(), *made.command('watch')):
            yield made
    finally:
        made.end()


@contextlib.contextmanager
def watched_by(folder: Path, *command: str) -> Iterator[None]:
    """While `command` watches; from when release 1 is known to answer."""
    with (folder / 'seen').open('w') as seen:
        watcher = subprocess.Popen(command, stdout=seen, stderr=seen)
        try:
            until(lambda: 'release 1 answers' in (folder / 'seen').read_text())
            yield
        finally:
            watcher.kill()
            watcher.wait(PATIENCE)


def suspended(site: Deployment) -> list[psutil.Process]:
    """What serves, stopped by SIGSTOP."""
    root = site.state().root
    found = [one for _, one in processes.marked(root) if one.name() != 'bwrap']
    for process in found:
        process.suspend()
    return found


@WIRED
def test_a_fresh_instance_takes_the_place_of_a_silent_one(site: Wired) -> None:
    before = suspended(site)
    until(lambda: ('restarted', 2) in site.events(), pause=0.2)
    assert site.page() == 'release-0001', 'the same image'
    load = site.asking(site.outside(), 0)
    time.sleep(3)
    lost = load.end()
    assert (lost['failed'], lost['reasons']) == (0, {})
    assert site.events()[:3] == [('deployed', 1), ('silent', 1), ('restarted', 2)]
    one, other = (site.state().of('www').release(number) for number in (1, 2))
    assert one is not None and other is not None
    assert (one.digest, one.created) == (other.digest, other.created)
    assert site.state().of('www').previous() is None, 'a rollback goes to another image'
    until(lambda: not any(process.is_running() for process in before), pause=0.2)
    assert site.mirage('pull').returncode == 0
    assert [one for one in site.events() if one[0] != 'drained'] == [
        ('deployed', 1), ('silent', 1), ('restarted', 2)], 'nothing is left to do'


@pytest.mark.skipif(bool(TROUBLE), reason=TROUBLE or 'nothing')
def test_so_it_is_on_one_port_of_this_host(deployment: Deployment, tmp_path: Path) -> None:
    deployment.configure(watch=WATCH, drain='2s', health={
        'http': f'http://127.0.0.1:{deployment.port}/'})
    deployment.publish(slow('page 1'))
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    with watched_by(tmp_path, *deployment.command('watch')):
        before = suspended(deployment)
        until(lambda: ('restarted', 2) in deployment.events(), pause=0.2)
        with Visitors(deployment.port) as visitors:
            until(lambda: not any(process.is_running() for process in before), pause=0.2)
    assert set(visitors.answers) == {'page 1'}
    assert deployment.events()[:3] == [('deployed', 1), ('silent', 1), ('restarted', 2)]


@pytest.mark.long
@WIRED
def test_a_rollback_holds_when_its_release_gives_way_to_a_fresh_instance(site: Wired) -> None:
    site.release()
    assert site.mirage('pull').returncode == 0
    assert site.mirage('rollback', 'www').returncode == 0
    seen = site.folder / 'seen'
    until(lambda: 'release 1 answers' in seen.read_text().rpartition('release 2')[2])
    suspended(site)
    until(lambda: ('restarted', 3) in site.events(), pause=0.2)
    assert site.mirage('pull').returncode == 0
    blob = git(site.site, 'rev-parse', 'HEAD:unix/www')
    assert (site.page(), site.state().of('www').pin()) == (
        'release-0001', notes.Pin(release=3, blob=blob))


@WIRED
def test_a_bridge_that_is_down_is_told_and_nothing_is_restarted(site: Wired) -> None:
    def bridge(state: str) -> None:
        subprocess.run((*site.inside(), 'ip', 'link', 'set', 'br0', state), check=True)

    bridge('down')
    until(lambda: 'not watched' in [event for event, _ in site.events()], pause=0.2)
    assert site.events() == [('deployed', 1), ('not watched', 1)]
    bridge('up')
    seen = site.folder / 'seen'
    until(lambda: re.search(r'answers\n(.*\n)*\Z', seen.read_text().rpartition('judged')[2]))
    record = watched.read(site.state().of('www').root)
    assert (record.silences, record.healed) == ((), ())
