"""A silent release on a bridge: a fresh instance of it is proved next to it and takes its place."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mirage_hooks.host import processes
from mirage_hooks.state import model, watched
from tests import wired
from tests.deployment import git
from tests.patience import PATIENCE, until
from tests.wired import ADDRESS, Wired

pytestmark = pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')
URL = f'http://{ADDRESS}:8080/'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Wired]:
    made = Wired(tmp_path)
    watching: list[subprocess.Popen[bytes]] = []
    try:
        made.configure(watch={'every': '1s', 'timeout': '1s', 'doubt': '1s'})
        made.start()
        seen = (tmp_path / 'seen').open('w')
        watching.append(subprocess.Popen(
            (*made.inside(), *made.command('watch')), stdout=seen, stderr=seen))
        until(lambda: 'release 1 answers' in (tmp_path / 'seen').read_text())
        yield made
    finally:
        for one in watching:
            one.kill()
            one.wait(PATIENCE)
        made.end()


def suspended(site: Wired) -> list[psutil.Process]:
    """What serves, stopped by SIGSTOP."""
    root = site.state().root
    found = [one for _, one in processes.marked(root) if one.name() != 'bwrap']
    for process in found:
        process.suspend()
    return found


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
        'release-0001', model.Pin(release=3, blob=blob))


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
