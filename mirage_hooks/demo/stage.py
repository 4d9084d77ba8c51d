"""The play itself: a hub, a site that publishes and a host that deploys, step by step."""

from __future__ import annotations

import os
import shlex
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from .. import targets
from ..host import processes
from ..messages import errors
from ..state import ownership, pipe
from ..switching import switch
from . import standin, transcript, visitor

NAME = 'www'
ONE_PORT = (
    'What failed did so while the one port went from the old release to the new one. Where both\n'
    '   can listen on it at once nothing fails: `mirage-hooks check` says what is in the way here.'
)


class Stage:
    """The three repositories below `root`, and what happens between them. `image` is a real one to
    show in place of the stand-in."""

    def __init__(self, root: Path, image: Path | None) -> None:
        self.root = root
        self.image = image
        self.port = switch.spare_port()
        self.host = root / 'host'
        self.shown = transcript.Transcript(root)

    def play(self) -> None:
        self.build()
        self.deploys(1, 'cron pulls')
        with visitor.Visitor(self.port) as somebody:
            self.deploys(2, 'a person pulls')
            somebody.saw('a good image')
            self.refuses()
            somebody.saw('a bad image')
            self.returns()
            somebody.saw('a rollback')
        self.shown.heading('What a person can ask')
        self.shown.run('host', *transcript.ours('status'))
        self.shown.run('host', *transcript.ours('history'))
        every = f'{visitor.EVERY * 1000:.0f} ms'
        self.shown.heading(f'What a visitor saw who asked every {every} since version 1')
        self.shown.quote('\n'.join(somebody.told()))
        if somebody.missed():
            self.shown.line('   ' + ONE_PORT)

    def build(self) -> None:
        self.shown.heading('A hub, a site that publishes to it, and a host that deploys from it')
        (self.root / 'home').mkdir()
        self.shown.run('', 'git', 'init', '-q', '--bare', '-b', 'main', 'hub.git')
        self.shown.run('', 'git', 'clone', '-q', 'hub.git', 'site')
        self.shown.run('site', 'git', 'checkout', '-q', '-B', 'main', shown=False)
        self.commit('A deployment repository', {'README': b'Images are published here.\n'})
        self.shown.run('', 'git', 'clone', '-q', 'hub.git', 'host')
        settings = self.root / 'mirage.yml'
        settings.write_text(
            f'unikernels:\n  {NAME}:\n    image: unix/latest\n'
            f'    network: {{mode: socket, port: {self.port}, ipv4: 127.0.0.1/8}}\n'
            f'    health: {{http: "{self.address}", within: 10s}}\n'
        )
        self.shown.quote(settings.read_text())
        self.shown.run(
            '', *transcript.ours('install', 'host', '--config', 'mirage.yml', '--no-cron')
        )

    def deploys(self, version: int, how: str) -> None:
        what = f'Version {version}' if self.image is None else self.told(version)
        self.shown.heading(f'{what}: the site publishes, {how}')
        self.publish(version, self.bytes(version))
        if how == 'cron pulls':
            self.cron()
        else:
            self.shown.run('host', 'git', 'pull', '--quiet')
        self.page(version)

    def refuses(self) -> None:
        if self.image is None:
            self.shown.heading('Version 3 is broken: it changes nothing')
            self.publish(3, standin.BROKEN)
        else:
            self.shown.heading('Version 3 is a text and no image: it changes nothing')
            self.publish(3, b'This is no image.\n')
        self.cron(refused=True)
        self.page(2)

    def returns(self) -> None:
        self.shown.heading('Back to version 1, from local files alone')
        self.shown.run('host', *transcript.ours('rollback', NAME))
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
        self.shown.run('site', 'git', 'add', '.', shown=False)
        self.shown.run('site', 'git', 'commit', '-q', '-m', subject)
        self.shown.run('site', 'git', 'push', '-q', '-u', 'origin', 'main')

    def bytes(self, version: int) -> bytes:
        """The stand-in with this version's page; or the real image, for version 2 with one byte
        more, which no ELF loader looks at: another image for git, the same for a visitor."""
        if self.image is None:
            return standin.text(version)
        try:
            return self.image.read_bytes() + b'\0' * (version - 1)
        except OSError as error:
            raise errors.Refused(f'cannot read {self.image}: {error.strerror}') from None

    def told(self, version: int) -> str:
        """What `version` is, where there is a real image and no other to follow it."""
        return ('Version 1 is your image' if version == 1 else
                'Version 2 is your image and one byte more, and shows the same page')

    def page(self, version: int) -> None:
        """Fetch the page and show it; raises Refused when it is not that of `version`."""
        self.shown.line(f'   $ curl {self.address}')
        try:
            with urllib.request.urlopen(self.address, timeout=10) as answer:  # noqa: S310
                text = answer.read(4096).decode(errors='replace')
        except (urllib.error.URLError, OSError) as error:
            raise errors.Refused(f'{self.address} does not answer: {error}') from None
        self.shown.quote('\n'.join(text.splitlines()[:6]))
        if self.image is None and f'version {version}' not in text:
            raise errors.Refused(f'this is not the page of version {version}')

    def cron(self, refused: bool = False) -> None:
        """What cron runs, with as little environment as cron gives."""
        pull = transcript.ours('pull', '--quiet')
        self.shown.run('host', *pull, refused=refused, path='/usr/bin:/bin')

    @property
    def address(self) -> str:
        return f'http://127.0.0.1:{self.port}/'

    def farewell(self) -> None:
        number = os.getuid()
        stepped_down = ('setpriv', f'--reuid={number}', f'--regid={number}', '--clear-groups')
        command = shlex.join((
            *(stepped_down if number >= targets.FIRST_USER else ()),
            *transcript.ours('-C', str(self.host), 'stop', NAME),
        ))
        self.shown.line(f'\nIt goes on running at {self.address}, all of it in {self.root}.')
        self.shown.line(f'To stop and remove it:\n  {command} && rm -rf {self.root}')

    def strike(self) -> None:
        """End what was started and remove the folder, whatever happened before."""
        state = self.host / '.git' / ownership.FOLDER
        pipe.dismiss(state)
        processes.end([process for _, process in processes.marked(state)])
        shutil.rmtree(self.root, ignore_errors=True)
        self.shown.line(f'\nAll of it is stopped, and {self.root} removed.')
