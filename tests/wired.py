"""A deployment on a wire: the host is a network namespace with a bridge, and a client is on the
other end of a cable of it. The unikernel is the test guest with a stack of its own, on a tap."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import yaml

from mirage_hooks.host import facts, processes
from mirage_hooks.state import store
from tests import guests
from tests.deployment import Deployment, run
from tests.patience import PATIENCE, until

ROOT = Path(__file__).parent.parent
CACHE = ROOT / '.cache' / 'guests'
MARK = 'release-0000'
ADDRESS, GATEWAY, CLIENT = '10.9.0.2', '10.9.0.1', '10.9.0.9'
ROUTER, BEYOND = '10.9.0.254', '10.77.0.9'
"""The cable's other end as a gateway of its own, and a client that lies beyond it."""
ADDRESS6, CLIENT6, ROUTER6, BEYOND6 = 'fd09::2', 'fd09::9', 'fd09::254', 'fd77::9'


def missing() -> str:
    """What this machine lacks for such a test; '' for nothing."""
    if os.geteuid() != 0:
        return 'wants root, for network namespaces'
    for program in ('ip', 'bridge', 'nft', 'ping', 'gcc'):
        if run('sh', '-c', f'PATH=$PATH:/usr/sbin:/sbin command -v {program}',
               cwd=Path('/')).returncode:
            return f'{program} is missing'
    return '' if Path('/dev/net/tun').exists() else '/dev/net/tun is missing'


def guest(version: int, kind: str = 'direct') -> bytes:
    """The guest whose page says `release-<version>`."""
    image = guests.build(kind, CACHE, MARK).read_bytes()
    return image.replace(MARK.encode(), f'release-{version:04}'.encode())


class Wired(Deployment):
    """`mirage` runs on the host's side of the wire; `asking` asks from either side."""

    def __init__(self, folder: Path) -> None:
        self.inner, self.outer = f'mhh{os.getpid()}', f'mhc{os.getpid()}'
        self.version = 0
        self._cable()
        super().__init__(folder)

    def configure(self, text: str = '', **keys: Any) -> None:
        network = {'mode': 'static', 'bridge': 'br0', 'ipv4': f'{ADDRESS}/24', 'gateway': GATEWAY}
        www = {'image': 'unix/www', 'network': network, 'confirm': '50ms', 'drain': '2s',
               'health': {'http': f'http://{ADDRESS}:8080/', 'within': '30s'}, **keys}
        self.config.write_text(text or yaml.safe_dump({'unikernels': {'www': www}}))

    def start(self) -> None:
        """The first release, serving."""
        self.release()
        self.clone()
        done = self.mirage('deploy')
        assert done.returncode == 0, done.stdout + done.stderr

    def release(self, image: bytes | None = None) -> None:
        """Publish the next version, or `image`."""
        self.version += 1
        path = self.site / 'unix' / 'www'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(guest(self.version) if image is None else image)
        path.chmod(0o755)
        self.commit(f'release {self.version}')

    def mirage(
        self, *arguments: str, repository: Path | None = None, before: str = 'true'
    ) -> Any:
        """`before` is shell, run in the command's own mount namespace."""
        return run(
            *self.inside(), 'sh', '-c', f'PATH=$PATH:/usr/sbin:/sbin; {before} && exec "$@"', 'sh',
            *self.command(*arguments), cwd=self.folder,
        )

    def command(self, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(self.host), *arguments)

    def inside(self) -> tuple[str, ...]:
        return ('ip', 'netns', 'exec', self.inner)

    def outside(self) -> tuple[str, ...]:
        return ('ip', 'netns', 'exec', self.outer)

    def page(self, address: str = ADDRESS) -> str:
        done = run(*self.outside(), 'curl', '-s', '-m', '20', f'http://{address}:8080/',
                   cwd=self.folder)
        return str(done.stdout).strip()

    def asking(
        self, where: tuple[str, ...], held: int = 0, source: str = '', address: str = ADDRESS
    ) -> Asking:
        return Asking(where, held, source, address)

    def route(self) -> None:
        """Make the cable's other end a gateway, with BEYOND on its far side."""
        for line in (
            f'addr add {ROUTER}/24 dev eth0', f'addr add {BEYOND}/32 dev lo',
            f'addr add {CLIENT6}/64 dev eth0 nodad', f'addr add {ROUTER6}/64 dev eth0 nodad',
            f'addr add {BEYOND6}/128 dev lo nodad',
        ):
            act('ip', '-n', self.outer, *line.split())

    def owner(self) -> str:
        return facts.owner(self.state().root)

    def links(self) -> list[str]:
        """The interfaces of the host's side, but for those that were there before."""
        said = json.loads(run(*self.inside(), 'ip', '-j', 'link', cwd=self.folder).stdout)
        return sorted({one['ifname'] for one in said} - {'lo', 'br0', 'wire'})

    def tables(self) -> list[str]:
        said = run(*self.inside(), 'nft', 'list', 'tables', cwd=self.folder).stdout
        return [str(line) for line in said.splitlines()]

    def processes(self) -> list[int]:
        """The numbers of the releases that have a process, walls included."""
        found = set()
        for process in psutil.process_iter():
            try:
                mark = process.environ().get('MIRAGE_HOOKS_RELEASE', '')
            except (psutil.Error, OSError):
                continue
            if mark.startswith(str(self.state().root)) and process.status() != 'zombie':
                found.add(int(Path(mark).name))
        return sorted(found)

    def drainers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                line = process.cmdline()
            except (psutil.Error, OSError):
                continue
            if line[-1:] == ['drain'] and str(self.state().root.parent) in line:
                found.append(process)
        return found

    def drained(self) -> None:
        """Wait until one release is alone, which the keeper may still have to see to."""
        until(lambda: not self.drainers() and len(self.processes()) == 1
              and self.state().of('www').overlap() is None, pause=0.05)

    def tap(self, release: int) -> str:
        found = self.state().of('www').release(release)
        assert found is not None
        return found.plan.taps[0].name

    def alone(self, release: int) -> None:
        """`release` is the only thing of ours on the host."""
        self.drained()
        assert self.processes() == [release]
        assert self.links() == [self.tap(release)]
        assert self.tables() == []
        assert self.state().of('www').overlap() is None

    def end(self) -> None:
        try:
            super().end()
        finally:
            for name in (self.inner, self.outer):
                run('ip', 'netns', 'delete', name, cwd=Path('/'))

    def _cable(self) -> None:
        for name in (self.inner, self.outer):
            act('ip', 'netns', 'add', name)
        for line in (
            'link set lo up', 'link add br0 type bridge', f'addr add {GATEWAY}/24 dev br0',
            'link set br0 up', f'link add wire type veth peer name eth0 netns {self.outer}',
            'link set wire master br0 up',
        ):
            act('ip', '-n', self.inner, *line.split())
        for line in ('link set lo up', f'addr add {CLIENT}/24 dev eth0', 'link set eth0 up'):
            act('ip', '-n', self.outer, *line.split())


class Pushed(Wired):
    """The same with the bare repository on the host: a push is the deployment."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind = kind
        super().__init__(folder)
        self.hooks(self.hub, 'post-receive')

    def state(self, git_dir: Path | None = None) -> store.Store:
        return super().state(git_dir or self.hub)

    def command(self, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(self.hub), *arguments)

    def push(self, image: bytes | None = None, before: str = 'true') -> str:
        """Push the next version, or `image`; what the hook said. `before` is as for `mirage`."""
        self.version += 1
        path = self.site / 'unix' / 'www'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(guest(self.version, self.kind) if image is None else image)
        path.chmod(0o755)
        self.commit(f'release {self.version}', push=False)
        script = f'PATH=$PATH:/usr/sbin:/sbin; {before} && exec git push -q origin +HEAD:master'
        done = run(*self.inside(), 'sh', '-c', script, cwd=self.site)
        assert done.returncode == 0, done.stderr
        return str(done.stderr)

    def crash(self) -> None:
        """Kill everything of every release, its walls included, and the keeper first."""
        self.dismiss()
        for _, process in list(processes.marked(self.state().root)):
            with contextlib.suppress(psutil.NoSuchProcess):  # its walls went, and it with them
                process.kill()


class Asking:
    """A client that asks every 2 ms until `end`."""

    def __init__(
        self, where: tuple[str, ...], held: int, source: str = '', address: str = ADDRESS
    ) -> None:
        script = str(Path(__file__).parent / 'asking.py')
        self.process = subprocess.Popen(
            (*where, sys.executable, '-I', script, address, '8080', '2', str(held),
             *([source] if source else [])),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == 'asking\n'

    def end(self) -> dict[str, Any]:
        said, _ = self.process.communicate('\n', timeout=PATIENCE)
        found: dict[str, Any] = json.loads(said)
        return found


def act(*command: str) -> str:
    done = run(*command, cwd=Path('/'))
    assert done.returncode == 0, (command, done.stderr)
    return str(done.stdout)
