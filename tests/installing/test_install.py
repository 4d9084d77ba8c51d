"""Installing changes what it says and no more; uninstalling puts all of it back."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from mirage_hooks import config
from mirage_hooks.config import reading, reference
from mirage_hooks.git.repository import Repository
from mirage_hooks.host import ports, processes
from mirage_hooks.installing import (
    hookfolder,
    install,
    installation,
    mirageyml,
    published,
    schedule,
    starter,
    uninstall,
)
from mirage_hooks.messages import errors
from tests import elf
from tests.deployment import Deployment, git, run, web
from tests.guests.scene import needs
from tests.patience import until
from tests.spool import Spool, lacking

needs_spool = pytest.mark.skipif(bool(lacking()), reason=lacking())
Act = Callable[[Path], list[str]]
MIRAGE = str(Path(sys.prefix) / 'bin' / 'mirage-hooks')


@pytest.fixture
def host(deployment: Deployment) -> Path:
    """A clone without hooks."""
    deployment.publish(web('one'), name='mir-mort.io.xen')
    git(deployment.folder, 'clone', '-q', str(deployment.hub), str(deployment.host))
    return deployment.host


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / 'spool')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A person's mirage.yml."""
    path = tmp_path / 'mine.yml'
    path.write_text('unikernels: {}\n')
    return path


def picture(folder: Path) -> dict[str, tuple[str, int, bytes]]:
    """Every file, link and folder below `folder`: kind, mode and content."""
    found = {}
    for path in sorted(folder.rglob('*')):
        if path.is_symlink():
            found[str(path)] = ('link', 0, os.fsencode(path.readlink()))
        elif path.is_dir():
            found[str(path)] = ('folder', path.stat().st_mode, b'')
        else:
            found[str(path)] = ('file', path.stat().st_mode, path.read_bytes())
    return found


def test_the_hooks_are_copies_run_by_the_absolute_interpreter_alone(
    host: Path, file: Path
) -> None:
    said = install.install(host, file, when='')
    folder = host / '.git/hooks'
    assert said[0] == f'hooks: post-merge, post-receive, post-rewrite, pre-receive in {folder}'
    for name in hookfolder.NAMES:
        hook = folder / name
        assert not hook.is_symlink()
        assert stat.S_IMODE(hook.stat().st_mode) == 0o755
        assert hook.read_text().splitlines()[0] == f'#!{sys.executable} -I'
    assert git(host, 'config', 'mirage.config') == str(file)
    assert git(host, 'status', '--porcelain') == ''


@needs('crontab')
def test_a_second_run_changes_nothing(host: Path, file: Path) -> None:
    install.install(host, file, when='')
    before = picture(host / '.git')
    assert install.install(host, when='') == [
        f'hooks: unchanged in {host}/.git/hooks', f'mirage.yml: {file}', 'cron: none, unchanged',
    ]
    assert picture(host / '.git') == before


def test_uninstalling_puts_everything_back(host: Path, file: Path) -> None:
    hook = host / '.git/hooks/post-merge'
    hook.write_text('#!/bin/sh\nexit 0\n')
    hook.chmod(0o750)
    (host / '.git/hooks/post-rewrite').symlink_to('/nowhere/at/all')
    git(host, 'config', 'a.b', 'c')
    before = picture(host / '.git')
    install.install(host, file, when='')
    assert picture(host / '.git') != before
    assert uninstall.uninstall(host) == [
        'hooks: post-merge, post-receive, post-rewrite, pre-receive taken out of '
        f'{host}/.git/hooks',
        f'kept: {file}',
    ]
    # git leaves an emptied section's name behind, or not, by version.
    assert git(host, 'config', '--local', '--list').count('mirage') == 0
    after = picture(host / '.git')
    for one in (before, after):
        del one[str(host / '.git/config')]
    assert after == before
    assert file.exists()


def test_the_hook_that_was_there_runs_first_with_its_arguments(
    deployment: Deployment, host: Path, file: Path
) -> None:
    hook = host / '.git/hooks/post-merge'
    hook.write_text('#!/bin/sh\necho "mine $# $1"\n')
    hook.chmod(0o755)
    said = install.install(host, file, when='')
    assert f'the post-merge hook that was there runs first, as {hook}.before-mirage-hooks' in said
    deployment.publish(web('two'), name='mir-mort.io.xen')
    done = deployment.pull()
    port = next(port for port in range(8080, 65536) if ports.free('127.0.0.1', port))
    assert done.stderr.splitlines() == [
        'mine 1 0', 'mirage.yml names no unikernel: nothing to run',
        f'  hint: master has images: put these lines into {file} in the place of '
        f'`unikernels: {{}}`, then: mirage-hooks -C {host} deploy',
        'branch: master', 'unikernels:', '  mort.io:', '    image: xen/latest',
        f'    network: {{mode: socket, port: {port}}}',
    ]


def test_a_hook_that_git_does_not_run_is_said_not_to_run(host: Path, file: Path) -> None:
    hook = host / '.git/hooks/post-merge'
    hook.write_text('#!/bin/sh\nexit 1\n')
    hook.chmod(0o644)
    lost = host / '.git/hooks/post-rewrite'
    lost.symlink_to('/nowhere/at/all')
    assert install.install(host, file, when='')[1:3] == [
        f'the {one.name} hook that was there cannot be executed, so git did not run it: it is kept '
        f'as {one}.before-mirage-hooks, and does not run' for one in (hook, lost)
    ]


def test_a_link_into_the_work_tree_is_kept_but_never_run_again(
    deployment: Deployment, host: Path, file: Path
) -> None:
    script = host / 'scripts' / 'post-merge.hook'
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\ntouch {deployment.folder}/pwned\n')
    script.chmod(0o755)
    hook = host / '.git/hooks/post-merge'
    hook.symlink_to('../../scripts/post-merge.hook')
    said = install.install(host, file, when='')
    assert said[1] == (
        f'WARNING: the post-merge hook was a link to {script}, which any push can change: it '
        f'does not run any more, and is kept as {hook}.tracked-not-run; '
        f'to run it by hand: {script}'
    )
    deployment.publish(web('two'))
    assert deployment.pull().returncode == 0
    assert not (deployment.folder / 'pwned').exists()
    uninstall.uninstall(host)
    assert str(hook.readlink()) == '../../scripts/post-merge.hook'


def test_a_chain_of_links_through_the_work_tree_counts_as_one_into_it(
    tmp_path: Path, host: Path
) -> None:
    (tmp_path / 'outside').write_text('#!/bin/sh\n')
    (host / 'tracked').symlink_to(tmp_path / 'outside')
    (host / '.git/hooks/post-merge').symlink_to(host / 'tracked')
    found = hookfolder.place(host / '.git/hooks', 'post-merge', host)
    assert found.found == 'tracked'


def test_a_link_elsewhere_keeps_running(tmp_path: Path, host: Path, file: Path) -> None:
    (tmp_path / 'outside').write_text('#!/bin/sh\n')
    hook = host / '.git/hooks/post-merge'
    hook.symlink_to(tmp_path / 'outside')
    install.install(host, file, when='')
    assert Path(f'{hook}.before-mirage-hooks').readlink() == tmp_path / 'outside'


def test_a_hook_put_over_ours_is_not_thrown_away(host: Path, file: Path) -> None:
    hook = host / '.git/hooks/post-merge'
    hook.write_text('#!/bin/sh\n: first\n')
    install.install(host, file, when='')
    hook.unlink()
    hook.write_text('#!/bin/sh\n: second\n')
    before = picture(host / '.git')
    with pytest.raises(errors.Refused) as refused:
        install.install(host, when='')
    kept = f'{hook}.before-mirage-hooks'
    assert refused.value.reason == (
        f'{hook} is not ours, and post-merge.before-mirage-hooks is there from an earlier one'
    )
    assert refused.value.hint == f'put what you need of both into {hook} and remove {kept}'
    assert picture(host / '.git') == before


def test_a_run_that_was_killed_between_two_steps_is_completed(host: Path, file: Path) -> None:
    hook = host / '.git/hooks/post-merge'
    hook.write_text('#!/bin/sh\n: mine\n')
    os.link(hook, f'{hook}.before-mirage-hooks')
    install.install(host, file, when='')
    assert Path(f'{hook}.before-mirage-hooks').read_text() == '#!/bin/sh\n: mine\n'
    assert 'mirage_hooks' in hook.read_text()


def test_ours_is_brought_up_to_date_where_pre_commit_put_it(host: Path, file: Path) -> None:
    install.install(host, file, when='')
    hook = host / '.git/hooks/post-merge'
    hook.rename(f'{hook}.legacy')
    hook.write_text('#!/bin/sh\n: of pre-commit\n')
    Path(f'{hook}.legacy').write_text('#!/old/python -I\nfrom mirage_hooks import hook\n')
    install.install(host, when='')
    assert hook.read_text() == '#!/bin/sh\n: of pre-commit\n'
    text = Path(f'{hook}.legacy').read_text()
    assert text == hookfolder.text('post-merge', Path(sys.executable))


@pytest.mark.parametrize('place', ["with a space and it's", 'long/' + 'x' * 130])
def test_an_interpreter_that_a_first_line_cannot_name_is_called_by_sh(
    tmp_path: Path, place: str
) -> None:
    python = tmp_path / place / 'python'
    python.parent.mkdir(parents=True)
    # A link to the test's interpreter would lose its packages: say which ones.
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    hook = tmp_path / 'hook'
    text = hookfolder.text('post-merge', python)
    assert text.startswith('#!/bin/sh\n')
    hook.write_text(text.replace('from mirage_hooks import hook', 'print(sys.flags.isolated)')
                    .replace('sys.exit(hook.main', 'print').replace('[1:]))', '[1:])'))
    hook.chmod(0o755)
    assert hookfolder.interpreter(hook) == python
    done = subprocess.run((hook, 'a b', 'c'), capture_output=True, text=True, check=True)
    assert done.stdout == "1\npost-merge ['a b', 'c']\n"


def test_the_hooks_path_inside_the_git_directory_is_used(host: Path, file: Path) -> None:
    git(host, 'config', 'core.hooksPath', '.git/ours')
    install.install(host, file, when='')
    assert sorted(path.name for path in (host / '.git/ours').iterdir()) == [*hookfolder.NAMES]
    uninstall.uninstall(host)
    assert list((host / '.git/ours').iterdir()) == []


@pytest.mark.parametrize('scope', ['--global', '--local'])
def test_a_hooks_path_elsewhere_is_refused(
    tmp_path: Path, host: Path, file: Path, scope: str
) -> None:
    git(host, 'config', scope, 'core.hooksPath', str(tmp_path / 'shared'))
    before = picture(host / '.git')
    with pytest.raises(errors.Refused) as refused:
        install.install(host, file, when='')
    assert refused.value.reason == (
        f'core.hooksPath makes git run the hooks in {tmp_path}/shared, which is not inside '
        f'{host}/.git and so not for this repository alone'
    )
    assert refused.value.hint == (
        f'give it hooks of its own: git -C {host} config core.hooksPath {host}/.git/hooks'
    )
    assert picture(host / '.git') == before
    git(host, 'config', 'core.hooksPath', f'{host}/.git/hooks')
    install.install(host, file, when='')


@pytest.mark.skipif(os.geteuid() != 0, reason='giving a file to another user needs root')
def test_a_repository_of_another_user_is_explained(host: Path, file: Path) -> None:
    for path in (host, host / '.git'):
        os.chown(path, 65534, 65534)
    with pytest.raises(errors.Refused) as refused:
        install.install(host, file, when='')
    assert refused.value.reason == f'git refuses {host}: it belongs to another user, nobody'
    assert refused.value.hint == (
        "run this as its owner: sudo -u nobody …; git's own way out, safe.directory, would run as "
        'root whatever nobody writes into its configuration and hooks'
    )


def test_a_mirage_yml_inside_the_work_tree_is_refused(host: Path) -> None:
    with pytest.raises(errors.Refused) as refused:
        install.install(host, host / 'mirage.yml', when='')
    assert refused.value.reason == (
        f'{host}/mirage.yml is inside the repository, where a push could change it'
    )
    assert refused.value.hint == 'name a file outside with --config'


def test_the_starter_is_filled_in_from_the_repository(
    deployment: Deployment, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, 'free', lambda *_: True)
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    said = install.install(host, when='')
    path = Path.home() / '.config/mirage-hooks/host.yml'
    assert said[1] == f'mirage.yml: {path} is new: it names mort.io; read it'
    # It is a unix image, which can run at once.
    assert reading.load(path) == config.Settings(branch='master', unikernels={
        'mort.io': config.Unikernel(image='xen/latest', network=config.Socket(port=8080))})
    assert path.read_text().startswith(
        f'# What should run on this host, for the deployment repository {host}\n'
    )


def test_the_starter_gives_no_port_that_is_held_or_named_by_another_repository(
    deployment: Deployment, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    others = Path.home() / '.config/mirage-hooks'
    others.mkdir(parents=True)
    (others / 'broken.yml').write_text('unikernels: [')
    with deployment.hold_port() as held:
        first = held.getsockname()[1]
        monkeypatch.setattr(published, 'PORT', first)
        (others / 'other.yml').write_text(
            f'unikernels: {{a: {{image: a, network: {{mode: socket, port: {first + 1}}}}}}}\n')
        text = starter.text(Repository(host))
        free = next(port for port in range(first + 2, 65536) if ports.free('127.0.0.1', port))
    assert text.splitlines()[-1] == f'    network: {{mode: socket, port: {free}}}'


def test_the_starter_gives_each_unix_image_a_port_and_guesses_no_bridge(
    deployment: Deployment, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    monkeypatch.setattr(ports, 'free', lambda *_: True)
    net = elf.solo5(2, elf.entry(b'service', 2))
    git(deployment.site, 'rm', '-rq', 'xen')
    for releases, name, image in (('x', 'a', web('one')), ('y', 'b', net), ('z', 'c', web('two'))):
        folder = deployment.site / releases / 'abcdef0'
        folder.mkdir(parents=True)
        (folder / name).write_bytes(image)
        (folder / name).chmod(0o755)
        (folder.parent / 'latest').write_text('abcdef0\n')
    deployment.commit('three')
    git(host, 'pull', '-q')
    text = starter.text(Repository(host))
    assert text.partition('\nunikernels:\n')[2].splitlines() == [
        '  a:',
        '    image: x/latest',
        '    network: {mode: socket, port: 8080}',
        '  b:',
        '    image: y/latest',
        '    # network: {mode: …}  # one of the three above',
        '  c:',
        '    image: z/latest',
        '    network: {mode: socket, port: 8081}',
    ]
    reading.parse(text.encode(), 'starter')


def test_every_comment_of_the_starter_can_be_used(host: Path) -> None:
    text = starter.text(Repository(host))
    example = [line[2:] for line in text.splitlines() if line.startswith('#   ')]
    for mode in ('socket', 'direct', 'static'):
        kept = [line for line in example if 'network:' not in line or f'mode: {mode}' in line]
        lines = [line for line in kept if not line.lstrip().startswith('#')]
        settings = reading.parse('\n'.join(['unikernels:', *lines]).encode(), 'starter')
        assert type(settings.unikernels['www'].network).__name__.lower() == mode


def test_the_starter_of_an_empty_repository_runs_nothing(tmp_path: Path) -> None:
    git(tmp_path, 'init', '-q', '--bare', 'www.git')
    text = starter.text(Repository(tmp_path / 'www.git'))
    assert reading.parse(text.encode(), 'starter') == config.Settings(unikernels={})


def test_the_starter_names_the_schema_that_the_installation_keeps(
    host: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the environment of install.sh, which an upgrade exchanges behind the link."""
    environment = tmp_path / 'prefix' / 'venv-1'
    (environment / 'share/man/man1').mkdir(parents=True)
    (environment / 'share/man/man1/mirage-hooks.1').write_text('.TH MIRAGE-HOOKS\n')
    current = environment.with_name('current')
    current.symlink_to('venv-1')
    monkeypatch.setattr(sys, 'prefix', str(environment))
    file.unlink()
    install.install(host, file, when='')
    assert file.read_text().splitlines()[:2] == [
        f'# What should run on this host, for the deployment repository {host}',
        f'# yaml-language-server: $schema={current}/mirage.schema.json',
    ]
    kept = json.loads((current / 'mirage.schema.json').read_text())
    assert kept == json.loads(json.dumps(reference.schema()))
    assert starter.owner(file) == str(host)


def test_a_mirage_yml_that_is_there_is_never_written(host: Path, file: Path) -> None:
    file.write_text('unikernels: {www: {image: x, memory: lots}}\n')
    said = install.install(host, file, when='')
    assert said[2] == (f"WARNING: {file}:1:38: www.memory is 'lots': it takes a whole number "
                       'from 1 to 1048576, such as 128')
    assert file.read_text() == 'unikernels: {www: {image: x, memory: lots}}\n'


def test_a_folder_in_the_place_of_a_file_is_refused(host: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.Refused) as refused:
        install.install(host, tmp_path, when='')
    assert (refused.value.reason, refused.value.hint) == (
        f'{tmp_path} is a folder', 'name a file with --config')


@pytest.mark.parametrize('act', [install.install, uninstall.uninstall])
def test_a_file_in_the_place_of_a_repository_is_refused(file: Path, act: Act) -> None:
    with pytest.raises(errors.Refused) as refused:
        act(file)
    assert (refused.value.reason, refused.value.hint) == (
        f'{file} is no folder', 'give a clone or a bare repository with -C')


def test_the_starter_of_another_repository_is_not_taken(
    tmp_path: Path, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    install.install(host, when='')
    git(tmp_path, 'clone', '-q', str(host), str(tmp_path / 'other/host'))
    with pytest.raises(errors.Refused) as refused:
        install.install(tmp_path / 'other/host', when='')
    path = Path.home() / '.config/mirage-hooks/host.yml'
    assert refused.value.reason == f'{path} was written for {host}'
    assert refused.value.hint == 'name another file with --config, or the same one to share it'


def test_a_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.Refused) as refused:
        install.install(tmp_path, when='')
    assert refused.value.reason == f'{tmp_path} is not a git repository'


@pytest.mark.parametrize(
    ('module', 'step'), [(mirageyml, 'put'), (schedule, 'put'), (installation, 'remember')]
)
def test_a_failure_half_way_leaves_everything_as_it_was(
    host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    module: ModuleType, step: str,
) -> None:
    hook = host / '.git/hooks/post-merge'
    hook.write_text('#!/bin/sh\nexit 0\n')
    real = getattr(module, step)

    def fail(*arguments: object) -> None:
        real(*arguments)
        raise errors.Unavailable('the disk is full')

    monkeypatch.setattr(module, step, fail)
    before = picture(tmp_path)
    with pytest.raises(errors.Unavailable):
        install.install(host, tmp_path / 'new' / 'mirage.yml', when='')
    after = picture(tmp_path)
    for one in (before, after):
        del one[str(host / '.git/config')]
    assert after == before
    assert 'mirage' not in git(host, 'config', '--local', '--list')


@needs_spool
@pytest.mark.parametrize('before', [None, b'', b'# mine\n0 5 * * * a\n', b'# (a)\n#\n# b\n# c\n'])
def test_our_lines_are_added_to_the_crontab_and_taken_out_again(
    host: Path, file: Path, spool: Spool, before: bytes | None
) -> None:
    if before is not None:
        spool.write(before)
    done = spool.run(MIRAGE, 'install', str(host), '--config', str(file))
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines()[-2:] == ['cron: */7 * * * *, and at boot', unserved(host)]
    job = f'{MIRAGE} -C {host} pull --quiet # mirage-hooks: {host}\n'
    ours = f'*/7 * * * * {job}@reboot sleep 20; {job}'.encode()
    assert spool.read() == (before or b'') + ours
    again = spool.run(MIRAGE, 'install', str(host))
    assert again.stdout.splitlines()[-2] == 'cron: */7 * * * *, and at boot, unchanged'
    assert spool.read() == (before or b'') + ours
    changed = spool.run(MIRAGE, 'install', str(host), '--cron', '@hourly')
    assert changed.stdout.splitlines()[-2] == 'cron: @hourly, and at boot'
    unchanged = spool.run(MIRAGE, 'install', str(host)).stdout.splitlines()
    assert unchanged[-2] == 'cron: @hourly, and at boot, unchanged'
    assert spool.read() == (before or b'') + ours.replace(b'*/7 * * * *', b'@hourly')
    gone = spool.run(MIRAGE, 'install', '--uninstall', str(host))
    assert gone.stdout.splitlines()[0] == 'cron: our lines are out'
    assert spool.read() == (before or None)


def unserved(host: Path) -> str:
    return (
        'WARNING: no cron daemon runs on this host, so nothing pulls by itself and nothing starts '
        'after a reboot: start it (systemctl enable --now cron, or service cron start), or have '
        f'{MIRAGE} -C {host} pull run every few minutes'
    )


@needs_spool
def test_where_a_cron_daemon_runs_there_is_no_warning(
    host: Path, file: Path, spool: Spool
) -> None:
    install_it = f'{MIRAGE} install {host} --config {file}'
    done = spool.run('sh', '-c', f'cron && {install_it}')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines()[2:] == ['cron: */7 * * * *, and at boot']


@needs_spool
def test_that_no_line_was_wanted_is_remembered_until_one_is_asked_for(
    host: Path, file: Path, spool: Spool
) -> None:
    def decided() -> str:
        return run('git', 'config', 'mirage.cron', cwd=host).stdout

    command = (MIRAGE, 'install', str(host), '--config', str(file))
    assert (spool.run(*command, '--no-cron').returncode, decided()) == (0, 'none\n')
    again = spool.run(*command)
    assert ('cron: none' in again.stdout, decided()) == (True, 'none\n')
    assert (spool.run(*command, '--cron', '@hourly').returncode, decided()) == (0, '')
    spool.run(*command, '--no-cron')
    assert spool.run(MIRAGE, 'install', '--uninstall', str(host)).returncode == 0
    assert decided() == ''


@needs_spool
def test_a_pull_of_the_persons_own_is_mentioned_and_left(
    host: Path, file: Path, spool: Spool
) -> None:
    spool.write(f'*/7 * * * * cd {host} && git pull\n'.encode())
    done = spool.run(MIRAGE, 'install', str(host), '--config', str(file))
    assert done.stdout.splitlines()[-1] == (
        'your crontab also has its own pull, no longer needed: as long as it stays, cron mails '
        '`Already up to date.` for it each time; remove it with `crontab -e`: '
        f'*/7 * * * * cd {host} && git pull'
    )
    assert (spool.read() or b'').startswith(f'*/7 * * * * cd {host} && git pull\n'.encode())


@needs_spool
def test_what_crontab_itself_refuses_undoes_the_rest(host: Path, file: Path, spool: Spool) -> None:
    before = picture(host / '.git')
    done = spool.run(
        MIRAGE, 'install', str(host), '--config', str(file), '--cron', '77 * * * *'
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        1, '', "mirage-hooks: cron does not understand '77 * * * *': bad minute\n"
        "  hint: give five fields that say when, as '*/7 * * * *', or a word, as @hourly\n"
    )
    assert spool.read() is None
    assert {**picture(host / '.git'), str(host / '.git/config'): ''} == {
        **before, str(host / '.git/config'): ''
    }


@needs_spool
def test_a_repository_that_was_deleted_can_still_be_taken_out_of_the_crontab(
    host: Path, file: Path, spool: Spool
) -> None:
    spool.run(MIRAGE, 'install', str(host), '--config', str(file))
    host.rename(host.with_name('gone'))
    done = spool.run(MIRAGE, 'install', '--uninstall', str(host))
    assert (done.returncode, done.stdout) == (0, 'cron: our lines are out\n')
    assert spool.read() is None


def test_without_a_crontab_program_it_says_so_and_goes_on(
    host: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mirage_hooks.host import programs

    monkeypatch.setattr(programs, 'find', lambda program: None)
    said = install.install(host, file)
    assert said[-1] == (
        'WARNING: this host has no crontab program, so nothing pulls by itself and nothing '
        f'starts after a reboot: apt install cron, or have {MIRAGE} -C {host} pull run every few '
        'minutes'
    )
    assert (host / '.git/hooks/post-merge').exists()


def test_uninstalling_says_what_still_runs_and_how_to_end_it(
    deployment: Deployment, host: Path
) -> None:
    deployment.publish(web('one'), '2' * 40)
    install.install(host, deployment.config, when='')
    assert deployment.pull().returncode == 0
    numbers = ' '.join(str(process.pid) for process in running(deployment))
    assert uninstall.uninstall(host) == [
        'hooks: post-merge, post-receive, post-rewrite, pre-receive taken out of '
        f'{host}/.git/hooks',
        f'www goes on running; to end it: kill -KILL {numbers}',
        f'kept: {deployment.config}',
        f'kept: {host}/.git/mirage-hooks, with the releases and the history',
    ]
    assert deployment.page() == 'one'
    subprocess.run(('sh', '-c', f'kill -KILL {numbers}'), check=False)
    until(lambda: running(deployment) == [])
    assert deployment.page() == ''


def running(deployment: Deployment) -> list[psutil.Process]:
    """Every process of a release, its sandbox too."""
    return [process for _, process in processes.marked(deployment.state().root)]


def test_uninstalling_with_stop_ends_the_whole_release(deployment: Deployment, host: Path) -> None:
    deployment.publish(web('one'), '2' * 40)
    install.install(host, deployment.config, when='')
    assert deployment.pull().returncode == 0
    assert uninstall.uninstall(host, stop=True) == [
        'hooks: post-merge, post-receive, post-rewrite, pre-receive taken out of '
        f'{host}/.git/hooks',
        'www: release 1 was ended',
        f'kept: {deployment.config}',
        f'kept: {host}/.git/mirage-hooks, with the releases and the history',
    ]
    assert (running(deployment), deployment.page()) == ([], '')
    assert deployment.events() == [('deployed', 1), ('stopped', 1)]


def test_a_purge_removes_the_state_of_what_does_not_run(
    deployment: Deployment, host: Path
) -> None:
    deployment.publish(web('one'), '2' * 40)
    install.install(host, deployment.config, when='')
    assert deployment.pull().returncode == 0
    before = picture(host / '.git/hooks')
    done = deployment.mirage('install', '--uninstall', '--purge', str(host))
    assert (done.returncode, done.stdout, done.stderr) == (
        1, '', 'mirage-hooks: www still runs, and without its state nothing could end it\n'
        '  hint: say --stop --purge, which ends it first, or leave --purge out\n')
    assert (picture(host / '.git/hooks'), deployment.page()) == (before, 'one')
    done = deployment.mirage('install', '--uninstall', '--stop', '--purge', str(host))
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines()[1:] == [
        'www: release 1 was ended', f'kept: {deployment.config}',
        f'removed: {host}/.git/mirage-hooks, with the releases and the history',
    ]
    assert not (host / '.git/mirage-hooks').exists()
    assert deployment.page() == ''


def test_stop_and_purge_belong_to_uninstall(deployment: Deployment, host: Path) -> None:
    done = deployment.mirage('install', '--stop', str(host))
    assert (done.returncode, done.stderr) == (
        2, 'mirage-hooks: --stop and --purge go with --uninstall\n')


def test_what_a_deleted_repository_had_started_can_be_ended(
    deployment: Deployment, host: Path
) -> None:
    deployment.publish(web('one'), '2' * 40)
    install.install(host, deployment.config, when='')
    assert deployment.pull().returncode == 0
    deployment.dismiss()
    shutil.rmtree(host)
    numbers = ' '.join(str(process.pid) for process in running(deployment))
    assert uninstall.uninstall(host) == [
        f'what it had started goes on running; to end it: kill -KILL {numbers}']
    assert uninstall.uninstall(host, stop=True) == ['what it had started was ended']
    assert running(deployment) == []
    with pytest.raises(errors.Refused) as refused:
        uninstall.uninstall(host)
    assert (refused.value.reason, refused.value.hint) == (
        f'{host} does not exist, and neither cron nor systemd knows it',
        'is its name right? Nothing is changed')


@pytest.mark.parametrize('when', ['before', 'since'])
def test_a_setting_that_was_made_by_hand_stays(host: Path, file: Path, when: str) -> None:
    if when == 'before':
        git(host, 'config', 'mirage.config', str(file))
    install.install(host, None if when == 'before' else file.with_name('other.yml'), when='')
    git(host, 'config', 'mirage.config', str(file))
    said = uninstall.uninstall(host)
    assert said[1:] == [f'kept: {file}', 'kept: git config mirage.config, which was set by hand']
    assert git(host, 'config', '--local', '--get-regexp', '^mirage') == f'mirage.config {file}'


def test_a_setting_that_the_installer_replaced_comes_back(host: Path, file: Path) -> None:
    git(host, 'config', 'mirage.config', '/etc/mine.yml')
    for other in ('a.yml', 'b.yml'):
        install.install(host, file.with_name(other), when='')
    uninstall.uninstall(host)
    assert git(host, 'config', '--local', '--get-regexp', '^mirage') == (
        'mirage.config /etc/mine.yml')


def test_what_is_written_is_utf_8_in_every_locale(deployment: Deployment) -> None:
    host, file = deployment.folder / 'bücher', deployment.folder / 'new.yml'
    git(deployment.folder, 'init', '-q', str(host))
    for _ in range(2):
        done = run(
            'env', 'LC_ALL=C', sys.executable, '-X', 'utf8=0', '-I', '-m', 'mirage_hooks',
            'install', str(host), '--config', str(file), '--no-cron', cwd=deployment.folder,
        )
        assert (done.returncode, done.stderr) == (0, '')
    assert starter.owner(file) == str(host)
    assert file.read_bytes().startswith(starter.head(Repository(host)).encode() + b'\n')
