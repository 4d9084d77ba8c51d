"""An ordinary user and a real sudo, with the very lines that `check` prints and no other."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mirage_hooks.host import processes
from mirage_hooks.state import taps
from tests import wired
from tests.deployment import run
from tests.wired import Wired

USER = 65534  # nobody: every host has it, and it may do nothing


def missing() -> str:
    """What this machine lacks; '' for nothing."""
    if lacking := wired.missing():
        return lacking
    for program in ('sudo', 'setpriv'):
        if not shutil.which(program):
            return f'{program} is missing'
    readable = run('setpriv', f'--reuid={USER}', '--clear-groups', 'test', '-r', __file__,
                   cwd=Path('/'))
    return f'nobody may not read {Path(__file__).parent}' if readable.returncode else ''


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or 'nothing')


class Ordinary(Wired):
    """mirage-hooks is run by nobody, and sudo reads `sudoers`: in the command's own mount
    namespace, so that this host's rules stay as they are."""

    def __init__(self, folder: Path) -> None:
        self.sudoers, self.home = folder / 'sudoers', folder / 'home'
        self.mode = '666'
        self.grant([])
        self.home.mkdir()
        (self.home / '.gitconfig').write_text('[safe]\n\tdirectory = *\n')
        super().__init__(folder)

    def grant(self, lines: list[str]) -> None:
        self.sudoers.write_text(''.join(f'{line}\n' for line in lines))
        self.sudoers.chmod(0o440)

    def give(self) -> None:
        """The host's clone belongs to nobody."""
        run('chown', '-R', f'{USER}:{USER}', str(self.host), cwd=self.folder)

    def command(self, *arguments: str) -> tuple[str, ...]:
        return self.as_nobody(*super().command(*arguments))

    def as_nobody(self, *command: str) -> tuple[str, ...]:
        return ('setpriv', f'--reuid={USER}', f'--regid={USER}', '--clear-groups', 'env',
                f'HOME={self.home}', *command)

    def mirage(
        self, *arguments: str, repository: Path | None = None, before: str = 'true'
    ) -> Any:
        return super().mirage(*arguments, before=self.mounted())

    def end(self) -> None:
        self.dismiss()  # or it starts again what is ended here
        # Root's own look for releases passes over those that another user marked.
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mark = process.environ().get(processes.MARK, '')
                if mark.startswith(f'{self.state().root}/'):
                    process.kill()
        super().end()

    def sudo(self, *command: str) -> int:
        """The exit code of `command`, run as root by nobody."""
        done = run(*self.inside(), 'sh', '-c', f'{self.mounted()} && exec "$@"', 'sh',
                   *self.as_nobody('sudo', '-n', *command), cwd=self.folder)
        return done.returncode

    def mounted(self) -> str:
        """Shell that lays our rules over this host's, and opens the way to this Python, which may
        be below a home that is closed to others."""
        prefix, seen = Path(sys.base_prefix), self.folder / 'python'
        seen.mkdir(exist_ok=True)
        closed = [path for path in reversed(prefix.parents) if not path.stat().st_mode & 0o001]
        opened = (
            f'mount --bind {prefix} {seen}', f'mount -t tmpfs -o mode=755 none {closed[0]}',
            f'mkdir -p {prefix}', f'mount --bind {seen} {prefix}',
        ) if closed else ()
        # As udev makes it, whatever this machine has.
        node = self.folder / 'tun'
        return ' && '.join((
            f'rm -f {node} && mknod -m {self.mode} {node} c 10 200',
            f'mount --bind {node} /dev/net/tun', *opened,
            f'mount --bind {self.sudoers} /etc/sudoers',
            'mount -t tmpfs none /etc/sudoers.d',
        ))


@pytest.fixture
def site() -> Iterator[Ordinary]:
    """A clone of nobody's that has not deployed anything yet."""
    folder = Path(tempfile.mkdtemp(prefix='mirage-hooks-'))  # pytest's own are root's alone
    folder.chmod(0o755)
    made = Ordinary(folder)
    # Else it takes another hardware address at each start, which the neighbours may not hear of.
    made.configure(arguments=['--mac=02:00:00:00:00:77'])
    try:
        made.release()
        made.clone()
        made.give()
        yield made
    finally:
        made.end()
        shutil.rmtree(folder)


def lines(checked: str) -> list[str]:
    """The sudoers lines in what `check` prints."""
    return re.findall(r'^ +hint: visudo -f /etc/sudoers\.d/mirage-hooks: (.*)$', checked, re.M)


def test_the_lines_that_check_prints_are_enough_for_taps_and_for_nothing_else(
    site: Ordinary
) -> None:
    rules = lines(site.mirage('check').stdout)
    names = taps.pattern('www', site.owner())
    assert [re.sub(r'\S+/(ip )', r'\1', rule.partition(': ')[2]) for rule in rules] == [
        f'ip tuntap add dev {names} mode tap user {USER}',
        f'ip link set dev {names} alias mirage-hooks\\ {site.owner()}',
        f'ip link set dev {names} address fe\\:ff\\:ff\\:ff\\:ff\\:ff master br0 up',
        f'ip link delete dev {names}',
    ]
    refused = site.mirage('deploy')
    assert refused.returncode == 1
    assert '  hint: `mirage-hooks check` prints the sudoers lines' in refused.stdout
    assert site.links() == []
    site.grant(rules)
    checked = site.mirage('check')
    assert lines(checked.stdout) == []
    assert checked.stdout.count('ok       www: sudo -n ip ') == 4
    for version in (1, 2):
        done = site.mirage('deploy', 'www')
        assert done.returncode == 0, done.stdout + done.stderr
        assert site.page() == f'release-{version:04}'
        assert site.processes() == [site.current().number]
        assert site.links() == [site.current().plan.taps[0].name]
        site.release()
        run('git', '-c', 'safe.directory=*', '-c', 'core.hooksPath=/dev/null', 'pull', '-q',
            cwd=site.host)
        site.give()
    for command in ('ip link delete dev br0', 'ip link set dev wire down', 'nft list ruleset',
                    'ip link set dev wire address fe:ff:ff:ff:ff:ff master br0 up'):
        assert site.sudo(*command.split()) != 0, command
    assert (site.sudo('ip', 'link', 'delete', 'dev', site.links()[0]), site.links()) == (0, [])


def test_a_line_for_sudo_makes_the_device_node_where_udev_opened_none(site: Ordinary) -> None:
    site.mode = '600'
    rules = lines(site.mirage('check').stdout)
    assert re.sub(r'\S+/(mknod )', r'\1', rules[0].partition(': ')[2]) == (
        'mknod -m 666 /dev/mirage-hooks-tun c 10 200'
    )
    site.grant(rules)
    done = site.mirage('deploy', 'www')
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.page() == 'release-0001'
    assert site.sudo('mknod', '-m', '666', '/dev/mirage-hooks-sda', 'b', '8', '0') != 0


def test_without_root_one_release_replaces_the_other_and_check_says_so(site: Ordinary) -> None:
    assert (
        'note     www: it switches by `replace`, with a moment without an answer, and the gate '
        'does not try it: `overlap` wants root, for network namespaces and nft'
    ) in site.mirage('check').stdout.splitlines()


def test_overlap_that_is_asked_for_without_root_is_refused(site: Ordinary) -> None:
    site.configure(switch='overlap', arguments=['--mac=02:00:00:00:00:77'])
    reason = '`switch: overlap` of www wants root, for network namespaces and nft'
    hint = 'hint: run mirage-hooks as root, or leave `switch:` out of mirage.yml: an ordinary ' \
        'user gets `replace`'
    assert f'PROBLEM  www: {reason}\n         {hint}\n' in site.mirage('check').stdout
    done = site.mirage('deploy')
    assert done.returncode == 1
    assert f'www: REFUSED: {reason}\n  {hint}\n' in done.stdout
    assert (site.links(), site.processes()) == ([], [])
