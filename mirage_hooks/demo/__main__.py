"""The demo: a hub, a site that publishes and a host that deploys, in one folder that is removed."""

from __future__ import annotations

import argparse
import http.client
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

from .. import targets
from ..host import processes
from ..messages import errors, report
from ..state import ownership, pipe
from ..switching import switch
from . import standin

NAME = 'www'
EVERY = 0.01  # seconds from one question of the visitor to the next


def main(arguments: list[str] | None = None) -> int:
    """Show it all below `folder`, which is ours to remove; 0 when every step was as promised."""
    parser = argparse.ArgumentParser(prog='install.sh --demo')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--keep', action='store_true')
    parser.add_argument('--image', type=Path)
    given = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    stage = Stage(given.folder.resolve(), given.image)
    kept = False
    try:
        stage.play()
        kept = bool(given.keep)
    except errors.Refused as refused:
        report.Reporter().refused(refused.reason, refused.hint)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # cleaning up is not interrupted
        stage.farewell() if kept else stage.strike()
    return 0


class Stage:
    """The three repositories below `root`, and what happens between them. `image` is a real one to
    show in place of the stand-in."""

    def __init__(self, root: Path, image: Path | None) -> None:
        self.root = root
        self.image = image
        self.port = switch.spare_port()
        self.host = root / 'host'
        self.said = report.Reporter()
        self.began = time.monotonic()

    def play(self) -> None:
        self.build()
        self.deploys(1, 'cron pulls')
        with Visitor(self.port) as visitor:
            self.deploys(2, 'a person pulls')
            visitor.saw('a good image')
            self.refuses()
            visitor.saw('a bad image')
            self.returns()
            visitor.saw('a rollback')
        self.heading('What a person can ask')
        self.run('host', *self.ours('status'))
        self.run('host', *self.ours('history'))
        self.heading(f'What a visitor saw who asked every {EVERY * 1000:.0f} ms since version 1')
        self.quote('\n'.join(visitor.told()))

    def build(self) -> None:
        self.heading('A hub, a site that publishes to it, and a host that deploys from it')
        (self.root / 'home').mkdir()
        self.run('', 'git', 'init', '-q', '--bare', '-b', 'main', 'hub.git')
        self.run('', 'git', 'clone', '-q', 'hub.git', 'site')
        self.run('site', 'git', 'checkout', '-q', '-B', 'main', shown=False)
        self.commit('A deployment repository', {'README': b'Images are published here.\n'})
        self.run('', 'git', 'clone', '-q', 'hub.git', 'host')
        settings = self.root / 'mirage.yml'
        settings.write_text(
            f'unikernels:\n  {NAME}:\n    image: unix/latest\n'
            f'    network: {{mode: socket, port: {self.port}, ipv4: 127.0.0.1/8}}\n'
            f'    health: {{http: "{self.address}", within: 10s}}\n'
        )
        self.quote(settings.read_text())
        self.run('', *self.ours('install', 'host', '--config', 'mirage.yml', '--no-cron'))

    def deploys(self, version: int, how: str) -> None:
        self.heading(f'Version {version}: the site publishes, {how}')
        self.publish(version, self.bytes(version))
        if how == 'cron pulls':
            self.cron()
        else:
            self.run('host', 'git', 'pull', '--quiet')
        self.page(version)

    def refuses(self) -> None:
        self.heading('Version 3 is broken: it changes nothing')
        broken = standin.BROKEN if self.image is None else self.bytes(1)[:1000]
        self.publish(3, broken)
        self.cron(refused=True)
        self.page(2)

    def returns(self) -> None:
        self.heading('Back to version 1, from local files alone')
        self.run('host', *self.ours('rollback', NAME))
        self.page(1)

    def publish(self, version: int, image: bytes) -> None:
        folder = f'version-{version}'
        files = {'unix/latest': f'{folder}\n'.encode(), f'unix/{folder}/{NAME}': image}
        self.commit(f'Publish version {version}', files)

    def commit(self, subject: str, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            path = self.root / 'site' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if path.name == NAME else 0o644)
        self.run('site', 'git', 'add', '.', shown=False)
        self.run('site', 'git', 'commit', '-q', '-m', subject)
        self.run('site', 'git', 'push', '-q', '-u', 'origin', 'main')

    def bytes(self, version: int) -> bytes:
        """The stand-in with this version's page; or the real image, for version 2 with one byte
        more, which no ELF loader looks at: another image for git, the same for a visitor."""
        if self.image is None:
            return standin.text(version)
        try:
            return self.image.read_bytes() + b'\0' * (version - 1)
        except OSError as error:
            raise errors.Refused(f'cannot read {self.image}: {error.strerror}') from None

    def page(self, version: int) -> None:
        """Fetch the page and show it; raises Refused when it is not that of `version`."""
        self.said.line(f'   $ curl {self.address}')
        try:
            with urllib.request.urlopen(self.address, timeout=10) as answer:  # noqa: S310
                text = answer.read(4096).decode(errors='replace')
        except (urllib.error.URLError, OSError) as error:
            raise errors.Refused(f'{self.address} does not answer: {error}') from None
        self.quote('\n'.join(text.splitlines()[:6]))
        if self.image is None and f'version {version}' not in text:
            raise errors.Refused(f'this is not the page of version {version}')

    def cron(self, refused: bool = False) -> None:
        """What cron runs, with as little environment as cron gives."""
        self.run('host', *self.ours('pull', '--quiet'), refused=refused, path='/usr/bin:/bin')

    def run(
        self, place: str, *command: str, shown: bool = True, refused: bool = False, path: str = ''
    ) -> None:
        """Run `command` in a folder of ours and show both; raises Refused when it fails, or when
        it should have been `refused` and was not."""
        words = shlex.join(['mirage-hooks', *command[4:]] if command[0] == sys.executable
                           else command)
        if shown:
            self.said.line(f'   {place}$ {words}')
        environment = {
            'PATH': path or os.environ.get('PATH', ''), 'HOME': str(self.root / 'home'),
            'LANG': 'C.UTF-8', 'USER': os.environ.get('USER', 'you'),
            # A person's own hooks, signing keys and aliases stay out.
            'GIT_CONFIG_GLOBAL': os.devnull, 'GIT_CONFIG_NOSYSTEM': '1',
            **{f'GIT_{role}_{key}': value for role in ('AUTHOR', 'COMMITTER')
               for key, value in (('NAME', 'Demo'), ('EMAIL', 'demo@example.org'))},
        }
        done = subprocess.run(
            command, cwd=self.root / place, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
        )
        if shown or done.returncode:
            self.quote(done.stdout.decode(errors='replace'))
        if bool(done.returncode) != refused:
            wanted = 'should have failed' if refused else 'should have succeeded'
            raise errors.Refused(f'`{words}` ended with {done.returncode}, and {wanted}')

    def ours(self, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, '-I', '-m', 'mirage_hooks', *arguments)

    def heading(self, text: str) -> None:
        self.said.line(f'\n== {text}  ({time.monotonic() - self.began:.1f} s)')

    def quote(self, text: str) -> None:
        for line in text.splitlines():
            self.said.line(f'     {report.plain(line)}')

    @property
    def address(self) -> str:
        return f'http://127.0.0.1:{self.port}/'

    def farewell(self) -> None:
        number = os.getuid()
        stepped_down = ('setpriv', f'--reuid={number}', f'--regid={number}', '--clear-groups')
        command = shlex.join((
            *(stepped_down if number >= targets.FIRST_USER else ()),
            *self.ours('-C', str(self.host), 'stop', NAME),
        ))
        self.said.line(f'\nIt goes on running at {self.address}, all of it in {self.root}.')
        self.said.line(f'To stop and remove it:\n  {command} && rm -rf {self.root}')

    def strike(self) -> None:
        """End what was started and remove the folder, whatever happened before."""
        state = self.host / '.git' / ownership.FOLDER
        pipe.dismiss(state)
        processes.end([process for _, process in processes.marked(state)])
        shutil.rmtree(self.root, ignore_errors=True)
        self.said.line(f'\nAll of it is stopped, and {self.root} removed.')


class Visitor(threading.Thread):
    """Asks the site at `port` all the time while its block runs, and counts."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.over = threading.Event()
        self.asked: list[bool] = []  # whether each request was answered
        self.rows: list[tuple[str, int, int]] = []

    def __enter__(self) -> Visitor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        while not self.over.wait(EVERY):
            self.asked.append(self.answered())

    def answered(self) -> bool:
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=5)
        try:
            connection.request('GET', '/')
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def saw(self, what: str) -> None:
        """Put down what was asked since the last time, during `what`."""
        asked, self.asked = self.asked, []
        self.rows.append((what, len(asked), asked.count(False)))

    def told(self) -> list[str]:
        rows = [[what, str(asked), str(failed)] for what, asked, failed in self.rows]
        return report.table([['during', 'requests', 'failed'], *rows])


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == '__main__':
    sys.exit(main())
