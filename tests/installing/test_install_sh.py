"""install.sh, as an ordinary user with an empty home, from a clone that cannot be written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.deployment import ROOT
from tests.guests.scene import needs
from tests.patience import PATIENCE
from tests.rig import wheels as carried
from tests.spool import Spool, lacking

NOBODY = 65534
PARTS = ('install.sh', 'setup.cfg', 'pyproject.toml', 'constraints.txt', 'LICENSE',
         'DESCRIPTION.md', 'mirage_hooks', 'hooks')


class Person:
    """An ordinary user with a home, a clone of ours, and a deployment repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.tmp, self.clone = folder / 'home', folder / 'tmp', folder / 'clone'
        self.repository = self.home / 'www'
        self.prefix = self.home / '.local/share/mirage-hooks'
        for made in (self.home, self.tmp, self.clone):
            made.mkdir()
        for part in PARTS:
            source, target = ROOT / part, self.clone / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
            elif source.exists():
                shutil.copy(source, target)
        subprocess.run(('git', 'init', '-q', self.repository), check=True)
        self.spool = None if lacking() else Spool(folder / 'spool')
        if os.geteuid() == 0:
            folder.chmod(0o755)
            for path in (self.home, self.tmp, *self.home.rglob('*')):
                os.chown(path, NOBODY, NOBODY)
        self.seal()

    def seal(self) -> None:
        subprocess.run(('chmod', '-R', 'a=rX,u-w', self.clone), check=True)
        (self.clone / 'install.sh').chmod(0o555)

    def command(self, *command: str, **environment: str) -> tuple[str, ...]:
        kept = {key: value for key, value in os.environ.items() if key.startswith('PIP_')}
        full = {**kept, 'HOME': str(self.home), 'TMPDIR': str(self.tmp), 'PATH': '/usr/bin:/bin',
                'PIP_CACHE_DIR': str(self.folder / 'home/.cache-of-pip'), **environment}
        words = ('env', '-i', *(f'{key}={value}' for key, value in full.items()), *command)
        if self.spool is None:
            return words
        return self.spool.command(
            'setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups', *words
        )

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*command, **environment), cwd=self.folder, text=True, timeout=PATIENCE,
            capture_output=True, check=False, stdin=subprocess.DEVNULL,
        )

    def install(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.clone / 'install.sh'), *arguments, **environment)

    def left(self) -> list[str]:
        """What is in the home and the temporary folder, but for the repository and pip's cache."""
        return sorted(
            str(path.relative_to(self.folder))
            for top in (self.home, self.tmp) for path in top.rglob('*')
            if not path.is_relative_to(self.repository) and '.cache-of-pip' not in str(path)
        )

    def hooks(self) -> list[str]:
        found = (self.repository / '.git/hooks').iterdir()
        return sorted(path.name for path in found if path.suffix != '.sample')


@pytest.fixture
def person() -> Iterator[Person]:
    # Not below pytest's own folder, which others may not enter.
    with tempfile.TemporaryDirectory(prefix='install-sh-') as folder:
        yield Person(Path(folder))


@pytest.fixture(scope='module')
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that an installation needs, for a host without a network."""
    folder = Path(tempfile.mkdtemp(prefix='wheels-'))
    folder.chmod(0o755)
    carried.download(folder)
    return folder


@pytest.fixture(autouse=True, scope='module')
def _no_wheels_left(wheels: Path) -> Iterator[None]:
    yield
    shutil.rmtree(wheels)


@pytest.fixture
def offline(wheels: Path) -> dict[str, str]:
    return {'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': str(wheels), 'PIP_CONFIG_FILE': os.devnull}


def test_the_demo_in_an_empty_home_leaves_nothing(person: Person) -> None:
    shutil.rmtree(person.repository)
    done = person.install('--demo')
    assert (done.returncode, done.stderr) == (0, '')
    assert 'Hello from version 1' in done.stdout
    assert 'Hello from version 2' in done.stdout
    assert 'www: REFUSED: ' in done.stdout
    assert person.left() == []
    assert not (person.home / '.cache-of-pip').exists()


@needs('crontab')
def test_install_upgrade_and_uninstall(person: Person, offline: dict[str, str]) -> None:
    began = time.monotonic()
    done = person.install(str(person.repository), '--no-cron', **offline)
    took = time.monotonic() - began
    assert (done.returncode, done.stderr) == (0, '')
    hooks = person.repository / '.git/hooks'
    settings = person.home / '.config/mirage-hooks/www.yml'
    environment = person.prefix / (person.prefix / 'current').readlink()
    assert done.stdout.splitlines() == [
        f'Making a Python environment in {environment} …',
        'Putting mirage-hooks and what it needs into it (about 15 s) …',
        f'hooks: post-merge, post-receive, post-rewrite, pre-receive in {hooks}',
        f'mirage.yml: {settings} is new: say there what should run',
        'cron: none, unchanged',
        f'completion for bash, zsh and fish, and a manual page: in {person.home}/.local/share',
        f'{person.home}/.local/bin is not on your PATH: call '
        f'{person.home}/.local/bin/mirage-hooks, or add it.',
    ]
    assert (hooks / 'post-merge').read_text().startswith(
        f'#!{person.prefix}/current/bin/python -I\n'
    )
    share = person.home / '.local/share'
    assert all((share / place).read_text() for place in (
        'bash-completion/completions/mirage-hooks', 'zsh/site-functions/_mirage-hooks',
        'fish/vendor_completions.d/mirage-hooks.fish', 'man/man1/mirage-hooks.1',
    ))
    version = person.run(f'{person.home}/.local/bin/mirage-hooks', '--version')
    assert version.stdout == 'mirage-hooks 0.1.0\n'
    _second_run_is_fast_and_changes_nothing(person, offline, took)
    _another_source_is_upgraded_to(person, offline)
    gone = person.install('--uninstall', str(person.repository))
    assert (gone.returncode, gone.stderr) == (0, '')
    assert gone.stdout.splitlines() == [
        f'hooks: post-merge, post-receive, post-rewrite, pre-receive taken out of {hooks}',
        f'kept: {settings}',
        f'{person.prefix} is gone: no repository used it any more.',
    ]
    assert person.hooks() == []
    assert [path for path in person.left() if 'config' not in path] == [
        'home/.local', 'home/.local/bin', 'home/.local/share', 'home/.local/state'
    ]


def _second_run_is_fast_and_changes_nothing(
    person: Person, offline: dict[str, str], first: float
) -> None:
    before = person.left()
    began = time.monotonic()
    done = person.install(str(person.repository), '--no-cron', **offline)
    assert time.monotonic() - began < first / 2
    assert done.stdout.splitlines()[:2] == [
        f'The environment in {person.prefix} is up to date.',
        f'hooks: unchanged in {person.repository}/.git/hooks',
    ]
    assert person.left() == before


def _another_source_is_upgraded_to(person: Person, offline: dict[str, str]) -> None:
    """Twice: the environment before is kept for what still runs from it, the oldest is removed."""
    def environments() -> list[str]:
        return sorted(path.name for path in person.prefix.glob('venv-*'))

    (first,) = environments()
    source = person.clone / 'mirage_hooks/__init__.py'
    for version in ('0.1.1', '0.1.2'):
        source.chmod(0o644)
        source.write_text(f"__version__ = '{version}'\n")
        assert person.install(str(person.repository), '--no-cron', **offline).returncode == 0
        said = person.run(f'{person.home}/.local/bin/mirage-hooks', '--version').stdout
        assert said == f'mirage-hooks {version}\n'
        assert len(environments()) == 2
        assert (first in environments()) == (version == '0.1.1')


@pytest.mark.long
def test_the_environment_stays_while_another_repository_uses_it(
    person: Person, offline: dict[str, str]
) -> None:
    other = person.home / 'other.git'
    assert person.run('git', 'init', '-q', '--bare', str(other)).returncode == 0
    for repository in (person.repository, other):
        done = person.install(str(repository), '--no-cron', **offline)
        assert (done.returncode, done.stderr) == (0, '')
    done = person.install('--uninstall', str(other))
    assert done.stdout.splitlines()[-1] == (
        f'Other repositories still use {person.prefix}: it stays.'
    )
    shutil.rmtree(person.repository)
    done = person.install('--uninstall', str(person.repository))
    assert done.stdout.splitlines()[-1] == (
        f'{person.prefix} is gone: no repository used it any more.'
    )


@pytest.mark.long
def test_a_failed_upgrade_leaves_the_old_environment(
    person: Person, offline: dict[str, str]
) -> None:
    assert person.install(str(person.repository), '--no-cron', **offline).returncode == 0
    before = person.left()
    source = person.clone / 'mirage_hooks/__init__.py'
    source.chmod(0o644)
    source.write_text("__version__ = '0.1.1'\n")
    nothing = {**offline, 'PIP_FIND_LINKS': str(person.tmp)}
    assert person.install(str(person.repository), '--no-cron', **nothing).returncode == 1
    # Built, switched to, and then refused by the repository:
    inside = person.repository / 'mirage.yml'
    done = person.install(str(person.repository), '--no-cron', '--config', str(inside), **offline)
    assert done.returncode == 1
    assert done.stderr == (
        f'mirage-hooks: {inside} is inside the repository, where a push could change it\n'
        '  hint: name a file outside with --config\n'
    )
    assert person.left() == before
    said = person.run(f'{person.home}/.local/bin/mirage-hooks', '--version').stdout
    assert said == 'mirage-hooks 0.1.0\n'


@pytest.mark.long
def test_a_prefix_with_a_space_works(person: Person, offline: dict[str, str]) -> None:
    prefix = person.home / 'my tools'
    done = person.install(str(person.repository), '--prefix', str(prefix), '--no-cron', **offline)
    assert (done.returncode, done.stderr) == (0, '')
    hook = person.run('git', '-C', str(person.repository), 'hook', 'run', 'post-merge', '--', '0')
    settings = person.home / '.config/mirage-hooks/www.yml'
    assert hook.stderr == (
        'mirage.yml names no unikernel: nothing to run\n'
        f'  hint: push an image; then this says what to add to {settings}\n'
    )


@pytest.mark.long
@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_the_users_crontab_gets_our_lines(person: Person, offline: dict[str, str]) -> None:
    assert person.spool is not None
    done = person.install(str(person.repository), **offline)
    assert (done.returncode, done.stderr) == (0, '')
    job = (f'{person.prefix}/bin/mirage-hooks -C {person.repository} pull --quiet '
           f'# mirage-hooks: {person.repository}\n')
    assert person.spool.read('nobody') == f'*/7 * * * * {job}@reboot sleep 20; {job}'.encode()
    assert person.install('--uninstall', str(person.repository)).returncode == 0
    assert person.spool.read('nobody') is None


# The places that root's installation goes to, covered so that this host's own stay untouched.
COVERED = '''set -e
cover=$1; shift; mount -t tmpfs tmpfs "$cover"
for place in opt etc usr/local; do
    mkdir -p "$cover/$place/upper" "$cover/$place/work"
    mount -t overlay overlay \\
        -o "lowerdir=/$place,upperdir=$cover/$place/upper,workdir=$cover/$place/work" "/$place"
done
exec "$@"
'''


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_root_installs_below_opt(tmp_path: Path, offline: dict[str, str]) -> None:
    git_dir = tmp_path / 'www.git'
    cover = tmp_path / 'cover'
    cover.mkdir()
    subprocess.run(('git', 'init', '-q', '--bare', git_dir), check=True)
    script = f'''
        {ROOT}/install.sh {git_dir}
        readlink /usr/local/bin/mirage-hooks
        mirage-hooks --version
        head -n 1 {git_dir}/hooks/post-receive /etc/mirage-hooks/www.yml
        {ROOT}/install.sh --uninstall {git_dir}
        ls -d /opt/mirage-hooks /usr/local/bin/mirage-hooks
    '''
    done = subprocess.run(
        Spool(tmp_path / 'spool').command(
            'unshare', '-m', 'sh', '-c', COVERED, 'sh', str(cover), 'sh', '-c', script
        ),
        env={**os.environ, **offline, 'PATH': '/usr/local/bin:/usr/bin:/bin:/usr/sbin'},
        text=True, capture_output=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
    )
    lines = done.stdout.splitlines()
    assert lines[2:] == [
        f'hooks: post-merge, post-receive, post-rewrite, pre-receive in {git_dir}/hooks',
        'mirage.yml: /etc/mirage-hooks/www.yml is new: say there what should run',
        'cron: */7 * * * *, and at boot',
        'WARNING: no cron daemon runs on this host, so nothing pulls by itself and nothing starts '
        'after a reboot: start it (systemctl enable --now cron, or service cron start), or have '
        f'/opt/mirage-hooks/bin/mirage-hooks -C {git_dir} pull run every few minutes',
        'completion for bash, zsh and fish, and a manual page: in /usr/local/share',
        'mirage.yml names no unikernel: nothing to run',
        '  hint: push an image; then this says what to add to /etc/mirage-hooks/www.yml',
        '/opt/mirage-hooks/bin/mirage-hooks',
        'mirage-hooks 0.1.0',
        f'==> {git_dir}/hooks/post-receive <==',
        '#!/opt/mirage-hooks/current/bin/python -I',
        '',
        '==> /etc/mirage-hooks/www.yml <==',
        f'# What should run on this host, for the deployment repository {git_dir}',
        'cron: our lines are out',
        f'hooks: post-merge, post-receive, post-rewrite, pre-receive taken out of {git_dir}/hooks',
        'kept: /etc/mirage-hooks/www.yml',
        f'kept: {git_dir}/mirage-hooks, with the releases and the history',
        '/opt/mirage-hooks is gone: no repository used it any more.',
    ]
    assert done.stderr.count('No such file or directory') == 2


def test_what_the_repository_refuses_leaves_nothing(
    person: Person, offline: dict[str, str]
) -> None:
    config = person.repository / '.git/config'
    before = config.read_bytes()
    inside = person.repository / 'mirage.yml'
    done = person.install(str(person.repository), '--no-cron', '--config', str(inside), **offline)
    assert done.returncode == 1
    assert done.stderr == (
        f'mirage-hooks: {inside} is inside the repository, where a push could change it\n'
        '  hint: name a file outside with --config\n'
    )
    assert person.left() == []
    assert person.hooks() == []
    assert config.read_bytes() == before


@pytest.mark.parametrize('named', ['/elsewhere', '../hooks', '~/hooks'])
def test_hooks_of_another_place_are_refused_before_anything_is_built(
    person: Person, named: str
) -> None:
    (person.repository / '.git/config').open('a').write(f'[core]\n\thooksPath = {named}\n')
    place = {'/elsewhere': '/elsewhere', '../hooks': f'{person.home}/hooks',
             '~/hooks': f'{person.home}/hooks'}[named]
    git_dir = person.repository / '.git'
    _refused(
        person, person.install(str(person.repository)),
        f'core.hooksPath makes git run the hooks in {place}, which is not inside {git_dir} and so '
        'not for this repository alone',
        f'give it hooks of its own: git -C {person.repository} config core.hooksPath '
        f'{git_dir}/hooks',
    )


def test_without_a_network_it_says_so_and_leaves_nothing(person: Person) -> None:
    done = person.install(
        str(person.repository), '--no-cron', PIP_NO_INDEX='1', PIP_FIND_LINKS=str(person.tmp),
        PIP_CONFIG_FILE=os.devnull,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        'install.sh: pip could not install mirage-hooks and what it needs',
        '  hint: is the package index reachable? offline: PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER',
    ]
    assert person.left() == []


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize('what', ['--demo', 'REPOSITORY'])
def test_interrupted_while_it_builds_it_leaves_nothing(
    person: Person, what: str, number: signal.Signals, code: int
) -> None:
    arguments = ('--demo',) if what == '--demo' else (str(person.repository), '--no-cron')
    installation = subprocess.Popen(
        # Tests that run in the background inherit SIGINT ignored.
        ('env', '--default-signal=INT', *person.command(
            str(person.clone / 'install.sh'), *arguments
        )),
        start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert installation.stdout is not None
    assert installation.stdout.readline().startswith('Making a Python environment in ')
    time.sleep(0.5)
    os.killpg(installation.pid, number)
    said = installation.communicate(timeout=PATIENCE)[1]
    assert installation.returncode == code
    assert said == 'install.sh: interrupted: all is left as it was\n' * (number == signal.SIGINT)
    assert person.left() == []
    assert person.hooks() == []


def _only(person: Person, *names: str) -> str:
    """A PATH with the shell's usual programs, and of git and Python only `names`."""
    folder = person.folder / 'bin'
    folder.mkdir()
    for name in ('dirname', 'id', 'cat', 'rm', 'mktemp', 'env', 'sh', *names):
        (folder / name).symlink_to(shutil.which(name, path='/usr/bin:/bin') or '/none')
    return str(folder)


def _script(person: Person, text: str) -> str:
    path = person.folder / 'python-of-the-test'
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return str(path)


def _refused(
    person: Person, done: subprocess.CompletedProcess[str], reason: str, hint: str
) -> None:
    assert done.stderr == f'install.sh: {reason}\n  hint: {hint}\n'
    assert (done.returncode, done.stdout) == (1, '')
    assert person.left() == []
    assert person.hooks() == []


def test_without_git(person: Person) -> None:
    done = person.install(str(person.repository), PATH=_only(person, 'python3'))
    _refused(person, done, 'git is not installed', "apt install git, or your system's way")


def test_with_too_old_a_python(person: Person) -> None:
    path = _only(person, 'git')
    old = _script(person, 'case $1 in --version) echo Python 3.9.2;; *) exit 1;; esac')
    (Path(path) / 'python3').symlink_to(old)
    done = person.install(str(person.repository), PATH=path)
    _refused(
        person, done, 'Python 3.10 or newer is needed, and this host has Python 3.9.2',
        'install one, or name one: PYTHON=/path/to/python3 ./install.sh …',
    )


def test_without_any_python(person: Person) -> None:
    done = person.install(str(person.repository), PATH=_only(person, 'git'))
    _refused(
        person, done, 'Python 3.10 or newer is needed, and this host has no python3',
        'install one, or name one: PYTHON=/path/to/python3 ./install.sh …',
    )


def test_without_the_venv_module(person: Person) -> None:
    bare = _script(person, 'case $2 in *venv*) exit 1;; *) exec /usr/bin/python3 "$@";; esac')
    done = person.install(str(person.repository), PYTHON=bare)
    _refused(person, done, f'{bare} has no venv module',
             "apt install python3-venv, or your system's way")


def test_a_folder_that_is_no_repository(person: Person) -> None:
    done = person.install(str(person.tmp))
    _refused(person, done, f'{person.tmp} is not a git repository',
             'name a clone or a bare repository')


def test_a_file_in_the_place_of_a_folder(person: Person) -> None:
    done = person.install('/etc/passwd')
    _refused(person, done, '/etc/passwd is no folder', 'name a clone or a bare repository')
    done = person.install(str(person.repository), '--prefix', '/etc/passwd/tools')
    _refused(person, done, '/etc/passwd is no folder',
             'move it away, or choose another place (--prefix)')


def test_without_a_home(person: Person) -> None:
    done = person.run('env', '-u', 'HOME', str(person.clone / 'install.sh'), str(person.repository))
    _refused(
        person, done, "HOME is not set, and there a user's commands go",
        'HOME=/home/… ./install.sh …, or run it from a login: sudo -iu USER',
    )


@pytest.mark.parametrize('name', ['current', 'previous', 'bin/mirage-hooks'])
def test_what_is_not_ours_is_not_replaced(person: Person, name: str) -> None:
    prefix = person.folder / 'app'
    prefix.mkdir(mode=0o777)
    prefix.chmod(0o777)
    place = prefix / name
    place.parent.mkdir(exist_ok=True)
    place.parent.chmod(0o777)
    place.symlink_to('/bin/sh')
    done = person.install(str(person.repository), '--prefix', str(prefix))
    _refused(person, done, f'{place} is there and is not ours',
             'move it away, or choose another place (--prefix)')
    assert str(place.readlink()) == '/bin/sh'


def test_a_repository_that_does_not_exist(person: Person) -> None:
    done = person.install('/nowhere')
    _refused(person, done, '/nowhere does not exist', 'clone it first')


@pytest.mark.skipif(os.geteuid() != 0, reason='giving a file to another user needs root')
def test_a_repository_of_another_user(person: Person) -> None:
    os.chown(person.repository, 0, 0)
    os.chown(person.repository / '.git', 0, 0)
    done = person.install(str(person.repository))
    _refused(
        person, done, f'git refuses {person.repository}: it belongs to another user, root',
        "run this as its owner: sudo -u root ./install.sh …; git's own way out, safe.directory, "
        'would run as you whatever root writes into its configuration and hooks',
    )


def test_a_repository_that_cannot_be_written(person: Person) -> None:
    (person.repository / '.git').chmod(0o555)
    done = person.install(str(person.repository))
    (person.repository / '.git').chmod(0o755)
    _refused(
        person, done, f'no permission to write into {person.repository}/.git',
        'run this as the user that owns it, or choose another place (--prefix)',
    )


def test_a_prefix_that_cannot_be_written(person: Person) -> None:
    done = person.install(str(person.repository), '--prefix', '/usr/lib/mirage-hooks')
    _refused(
        person, done, 'no permission to write into /usr/lib',
        'run this as the user that owns it, or choose another place (--prefix)',
    )


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        ((), 'name a repository, or --demo'),
        (('--nonsense',), '--nonsense is not known'),
        (('--cron',), '--cron wants a value'),
        (('--prefix=', 'x'), '--prefix wants a value'),
        (('a', 'b'), 'one repository at a time, not also b'),
        (('--demo', 'a'), '--demo goes only with --keep and --image'),
        (('--keep', 'a'), '--keep and --image go with --demo'),
        (('--cron', '@daily', '--no-cron', 'a'), 'one of --cron, --timer and --no-cron'),
        (('--cron', '@daily', '--timer', 'a'), 'one of --cron, --timer and --no-cron'),
        (('--stop', 'a'), '--stop and --purge go with --uninstall'),
    ],
)
def test_a_command_line_that_cannot_be_understood(
    person: Person, arguments: tuple[str, ...], reason: str
) -> None:
    done = person.install(*arguments)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == f'install.sh: {reason}\n  hint: ./install.sh --help\n'


def test_help_is_printed(person: Person) -> None:
    done = person.install('--help')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('./install.sh --demo [--keep] [--image FILE]\n')


@pytest.mark.skipif(shutil.which('shellcheck') is None, reason='not installed: shellcheck')
def test_shellcheck_is_content() -> None:
    scripts = [ROOT / 'install.sh', ROOT / 'tests/run', ROOT / '.ci/run']
    done = subprocess.run(('shellcheck', *scripts), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, '')


@pytest.mark.parametrize('place', ['constraints.txt', 'tests/constraints.txt'])
def test_everything_that_is_put_in_has_a_version_and_hashes(place: str) -> None:
    pinned = {}
    for block in re.split(r'\n(?=\S)', (ROOT / place).read_text()):
        if not block.startswith('#'):
            line, *hashes = block.split(' \\\n')
            name, version = line.partition(';')[0].strip().split('==')
            pinned[name] = version
            assert hashes and all(re.fullmatch(r' +--hash=sha256:[0-9a-f]{64}\n?', one)
                                  for one in hashes), line
    for wanted in metadata.requires('mirage-hooks') or ():
        if 'extra ==' not in wanted or (place.startswith('tests') and '"test"' in wanted):
            name, floor = re.match(r'([\w.-]+)(?:>=([\d.]+))?', wanted).groups()  # type: ignore
            version = pinned[name.lower().replace('.', '-')]
            assert numbers(version) >= numbers(floor), wanted


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r'\d+', version)]


def test_a_package_whose_bytes_changed_is_not_put_in(
    person: Person, offline: dict[str, str], wheels: Path
) -> None:
    altered = person.tmp / 'wheels'
    shutil.copytree(wheels, altered)
    wheel = next(altered.glob('sh-*.whl'))
    wheel.write_bytes(wheel.read_bytes() + b'\0')
    done = person.install(str(person.repository), '--no-cron',
                          **{**offline, 'PIP_FIND_LINKS': str(altered)})
    assert done.returncode == 1
    assert 'pip could not install mirage-hooks and what it needs' in done.stderr
    assert not (person.home / '.local/share/mirage-hooks').exists()
