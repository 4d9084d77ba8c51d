"""The gate where the network is static on a bridge: what is pushed is proved at its real address,
and what serves there, asked all the time from the wire and from the host, never notices."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from mirage_hooks.state import model, store
from tests import wired
from tests.deployment import git, run
from tests.patience import PATIENCE, until
from tests.switching.test_overlap import NOTHING, Load, costs
from tests.wired import Wired

pytestmark = pytest.mark.skipif(bool(wired.missing()), reason=wired.missing() or 'nothing')


class Gated(Wired):
    """A bare repository on the host's side of the wire, with a gate: it is pushed to from there,
    so that git starts the hooks there."""

    def configure(self, text: str = '', **keys: Any) -> None:
        super().configure(**keys)
        read = yaml.safe_load(self.config.read_text())
        self.config.write_text(yaml.safe_dump({'gate': True, **read}))

    def start(self) -> None:
        self.host = self.hub
        self.hooks(self.hub)
        self.release()
        done = self.push()
        assert done.returncode == 0, done.stderr

    def commit(self, message: str, push: bool = False) -> None:
        super().commit(message, push)

    def pushing(self) -> tuple[str, ...]:
        return (*self.inside(), 'git', 'push', 'origin', '+HEAD:master')

    def push(self) -> subprocess.CompletedProcess[str]:
        return run(*self.pushing(), cwd=self.site)

    def state(self, git_dir: Path | None = None) -> store.Store:
        return super().state(git_dir or self.hub)

    def at(self) -> str:
        return git(self.hub, 'rev-parse', 'master')

    def kept(self) -> dict[str, bytes]:
        """All that the state holds but its history, consoles, and the lock's own file."""
        root, other = self.state().root, ('history.jsonl', 'lock', 'console.log', 'failed.log')
        return {
            str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*'))
            if path.is_file() and path.name not in other
        }

    def live(self) -> model.Run | None:
        return self.state().of('www').run(self.current().number)


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[Gated]:
    """Release 1, which was pushed through the gate, serves on the bridge."""
    made = Gated(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.end()


def words(process: psutil.Process) -> list[str]:
    """Its command line; nothing of one that has ended meanwhile."""
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.removeprefix('remote: ').rstrip() for line in done.stderr.splitlines()
            if line.startswith('remote: ')]


def steps(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.partition(' s  ')[2] for line in told(done) if ' s  ' in line]


@pytest.mark.parametrize(('arguments', 'reason'), [
    (['--fail=hang'], 'http://10.9.0.2:8080/ did not answer ('),
    (['--fail=exit:3'], 'it ended with exit code 3'),
])
def test_an_image_that_does_not_serve_refuses_the_push_and_costs_no_request(
    gated: Gated, arguments: list[str], reason: str
) -> None:
    url = f'http://{wired.ADDRESS}:8080/'
    gated.configure(arguments=arguments, health={'http': url, 'within': '2s'})
    before, kept, live, links = gated.at(), gated.kept(), gated.live(), gated.links()
    load = Load(gated)
    gated.release()
    done = gated.push()
    time.sleep(0.3)
    assert costs(load.end()) == NOTHING
    assert done.returncode == 1
    assert '! [remote rejected] HEAD -> master (pre-receive hook declined)' in done.stderr
    assert steps(done)[1:] == ['www: trying release 2 on a stage']
    assert any(line.startswith(f'www: REFUSED: {reason}') for line in told(done))
    assert told(done)[-1] == 'mirage-hooks: the push is refused; the branch stays where it was'
    assert (gated.at(), gated.kept(), gated.live()) == (before, kept, live)
    assert gated.links() == links == [gated.tap(1)]
    assert gated.page() == 'release-0001'
    gated.alone(1)


def test_an_image_that_serves_is_accepted_and_switched_to_without_a_failed_request(
    gated: Gated
) -> None:
    gated.configure(drain='1s')  # a visitor holds a connection for 0.7 s
    load = Load(gated)
    gated.release()
    done = gated.push()
    time.sleep(0.3)
    assert [one['failed'] for one in load.end()] == [0, 0]
    assert done.returncode == 0, done.stderr
    assert gated.at() == git(gated.site, 'rev-parse', 'HEAD')
    assert steps(done)[1:5] == [
        'www: trying release 2 on a stage', 'www: it serves',
        'www: starting release 2 on a stage', 'www: release 2 serves there',
    ]
    assert gated.page() == 'release-0002'
    gated.alone(2)
    assert not (gated.state().root / 'gate').exists()


def test_a_gate_that_was_killed_on_the_stage_leaves_nothing_after_the_next_push(
    gated: Gated
) -> None:
    gated.configure(arguments=['--fail=hang'], health={
        'http': f'http://{wired.ADDRESS}:8080/', 'within': '5m'})
    gated.release()
    with subprocess.Popen(
        gated.pushing(), cwd=gated.site, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    ) as push:
        # On the stage: before, the image is asked for its options, as a process of the release.
        until(lambda: (any(link.startswith('mh-') for link in gated.links())
                       and gated.processes() == [1, 2]) or push.poll() is not None)
        assert push.poll() is None
        hooks = [child for child in psutil.Process(push.pid).children(recursive=True)
                 if 'hooks/pre-receive' in words(child)]
        # The one who asks a question is a child of it, and ends with it.
        numbers = {hook.pid for hook in hooks}
        outer, = (hook for hook in hooks if hook.ppid() not in numbers)
        outer.kill()
        push.communicate(timeout=PATIENCE)
    assert push.returncode == 1
    assert gated.processes() == [1, 2]
    assert len(gated.links()) > 1
    assert gated.page() == 'release-0001'
    gated.configure(drain='0s')
    gated.release()
    assert gated.push().returncode == 0
    assert gated.page() == f'release-{gated.version:04}'
    gated.alone(gated.current().number)
