"""An old deployment repository's scripts become the mirage.yml that does the same; none runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mirage_hooks import config, errors, model
from mirage_hooks.installing import adopt, install, slim, starter, xlfile
from mirage_hooks.repository import Repository
from tests import elf
from tests.deployment import Deployment, git, run
from tests.spool import Spool, lacking
from tests.test_shapes import log

__all__ = ['log']

COMMIT = '1' * 40
PV = elf.write(elf.CODE, sections={'__xen_guest': b'GUEST_OS=Mini-OS,XEN_VER=xen-3.0\0'}, entry=0)
PVH = elf.write(elf.CODE, *elf.notes(elf.note(b'Xen', 18, bytes(4))))
# The original's files, written anew from their description.
TEMPLATE = """\
name = '@NAME@'
memory = '256'
kernel = '@KERNEL@'
vif = ['bridge=xenbr0']
on_crash = 'restart'
@DISK@
"""
HOOK = """\
#!/bin/sh
touch "$(dirname "$0")/ran"
HTTP=mort.io
unset GIT_DIR
sudo xl create "$HTTP"
"""
CRONTAB = '*/7 * * * * cd $HOME/host && git pull\n'


@pytest.fixture
def old(deployment: Deployment) -> Deployment:
    """The original's layout; the host's clone has its hook as a link into the work tree."""
    write(deployment, {'xl.conf.in': TEMPLATE, 'scripts/post-merge.hook': HOOK,
                       'scripts/crontab': CRONTAB})
    deployment.publish(PV, COMMIT, name='mortio.xen')
    git(deployment.folder, 'clone', '-q', str(deployment.hub), str(deployment.host))
    (deployment.host / '.git/hooks/post-merge').symlink_to('../../scripts/post-merge.hook')
    return deployment


def write(deployment: Deployment, files: dict[str, str]) -> None:
    for path, text in files.items():
        place = deployment.site / path
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)


def adopted(deployment: Deployment, **files: str) -> adopt.Adopted:
    """What is read when the old repository has `files` (by stem) changed."""
    names = {'xl': 'xl.conf.in', 'hook': 'scripts/post-merge.hook', 'crontab': 'scripts/crontab'}
    write(deployment, {names[stem]: text for stem, text in files.items()})
    deployment.commit('other scripts')
    git(deployment.host, 'pull', '-q')
    return adopt.adopt(Repository(deployment.host))


def read(found: adopt.Adopted) -> dict[str, model.Unikernel]:
    return config.parse(found.text.encode(), 'adopted').unikernels


def test_the_original_layout_becomes_a_whole_mirage_yml(old: Deployment) -> None:
    commit = git(old.host, 'rev-parse', 'HEAD')[:12]
    guess = '"mortio.xen" is a PV image, as up to 3.8, and not called mir-NAME'
    scripts = 'scripts/crontab, scripts/post-merge.hook, xl.conf.in'
    assert adopt.adopt(Repository(old.host)) == adopt.Adopted(
        text=f"""\
# What should run on this host, for the deployment repository {old.host}
# Adopted from {scripts} of commit {commit}.
branch: master

unikernels:
  mort.io:
    image: xen/latest
    target: xen
    memory: 256
    mirage: "3.0"  # guessed: {guess}
    network:
      mode: static
      bridge: xenbr0
      # The address is compiled into the image; to give another:
      # ipv4: ADDRESS/PREFIX
      # gateway: ADDRESS
    # How to tell that it serves; without it, to stay up is enough:
    # health: {{http: "http://ADDRESS/", within: 30s}}
    # a disk, if one was given: "@DISK@"
""",
        when='*/7 * * * *',
        said=(
            f'adopted: mort.io, from {scripts} of commit {commit}',
            f'mort.io: guessed MirageOS 3.0, because {guess}; `mirage:` says it',
            'mort.io: its address is compiled in, or is yours to fill in; so is `health:`',
            'mort.io: if the domain that the old scripts made still runs, it holds the address: '
            '`xl destroy mort.io`, then `mirage-hooks deploy`',
        ),
    )


@pytest.mark.usefixtures('log')  # its xl: a plan wants one on PATH
def test_it_is_the_xl_file_of_the_old_scripts_that_is_planned(old: Deployment) -> None:
    install.install(old.host, old.folder / 'new.yml', when='', old=True)
    done = old.mirage('deploy', '--dry-run', '--json')
    assert done.returncode == 0, done.stderr
    for line in ("memory = 256", "type = 'pv'", 'bridge=xenbr0', 'mort.io-1'):
        assert line in done.stdout
    assert 'extra' not in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason='a bridge of its own needs root')
def test_the_old_repository_deploys_as_it_is(old: Deployment, log: Path) -> None:
    install.install(old.host, old.folder / 'new.yml', when='', old=True)
    before = git(old.host, 'rev-parse', 'HEAD')
    done = bridged(old, 'deploy')
    assert (done.returncode, done.stderr) == (0, '')
    assert 'mort.io: release 1 (xen pv, ' in done.stdout
    assert log.read_text() == 'xl create\n'
    assert old.current('mort.io').path == f'xen/{COMMIT}/mortio.xen'
    assert git(old.host, 'rev-parse', 'HEAD') == before
    assert git(old.host, 'status', '--porcelain') == ''
    assert not (old.host / 'scripts/ran').exists()


def bridged(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `mirage-hooks` where there is a bridge xenbr0."""
    return run(
        'unshare', '-n', '-m', 'sh', '-c',
        'mount -t sysfs sys /sys && ip link add xenbr0 type bridge && ip link set xenbr0 up '
        '&& exec "$@"', 'sh',
        *deployment.command(*arguments), cwd=deployment.folder,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason='a bridge of its own needs root')
def test_nothing_is_started_beside_the_old_scripts_domain(old: Deployment, log: Path) -> None:
    install.install(old.host, old.folder / 'new.yml', when='', old=True)
    domain = log.with_name('stubs') / 'domains/mort.io'
    domain.touch()
    reason = 'the domain mort.io runs and is not ours: it may hold the address'
    hint = 'hint: xl destroy mort.io, then mirage-hooks deploy'
    done = bridged(old, 'pull', '--quiet')
    assert (done.returncode, done.stdout.splitlines()[-3:]) == (
        1, [f'mort.io: REFUSED: {reason}', f'  {hint}', 'mort.io: nothing runs']
    )
    assert (bridged(old, 'pull', '--quiet').stdout, log.exists()) == ('', False)
    failure = old.state().of('mort.io').failure()
    assert failure is not None and 0 < failure.retry - failure.at <= 61
    told = bridged(old, 'check').stdout
    assert f'MISSING  mort.io: {reason}\n         {hint}\n' in told
    domain.unlink()
    assert bridged(old, 'deploy').returncode == 0
    assert log.read_text() == 'xl create\n'
    seen = 'ok       mort.io: nobody else was seen with its name or address\n'
    assert seen in bridged(old, 'check').stdout
    # Once ours is live, a domain that takes the old name is no reason to stop, but is told.
    domain.touch()
    done = bridged(old, 'deploy')
    assert (done.returncode, log.read_text()) == (0, 'xl create\n')
    warning = f'mort.io: WARNING: {reason}\n  {hint}\n'
    assert warning in done.stdout
    assert bridged(old, 'pull', '--quiet').stdout == ''  # told already
    assert f'MISSING  mort.io: {reason}\n         {hint}\n' in bridged(old, 'check').stdout
    assert f'  WARNING: {reason}\n' in bridged(old, 'status').stdout
    # It ended: two would be worse than one.
    domain.with_name(old.current('mort.io').plan.domain).unlink()
    done = bridged(old, 'pull', '--quiet')
    assert (done.returncode, f'mort.io: REFUSED: {reason}\n' in done.stdout) == (1, True)
    domain.unlink()
    done = bridged(old, 'deploy')
    assert (done.returncode, log.read_text()) == (0, 'xl create\n' * 2)


def test_adopting_replaces_the_linked_hook_and_runs_none_of_the_scripts(old: Deployment) -> None:
    hook = old.host / '.git/hooks/post-merge'
    script = old.host / 'scripts/post-merge.hook'
    said = install.install(old.host, old.folder / 'new.yml', when='', old=True)
    assert said[1] == (
        f'WARNING: the post-merge hook was a link to {script}, which any push can change: it does '
        f'not run any more, and is kept as {hook}.tracked-not-run; to run it by hand: {script}'
    )
    assert said[2] == f'mirage.yml: {old.folder}/new.yml is new: read it, and fill in what is open'
    assert hook.with_name('post-merge.tracked-not-run').is_symlink()
    assert not (old.host / 'scripts/ran').exists()
    assert git(old.host, 'status', '--porcelain') == ''


def test_adopting_twice_changes_nothing_and_a_mended_file_stays(old: Deployment) -> None:
    path = old.folder / 'new.yml'
    install.install(old.host, path, when='', old=True)
    before = path.read_text()
    again = install.install(old.host, path, when='', old=True)
    assert again == [
        f'hooks: unchanged in {old.host}/.git/hooks', f'mirage.yml: {path}', 'cron: none, unchanged'
    ]
    path.write_text(before + '    keep: 9\n')
    assert install.install(old.host, path, when='', old=True)[2] == (
        f'WARNING: {path} is there already and stays: nothing was adopted into it; '
        'to have it written from the old scripts, move it away'
    )
    assert path.read_text() == before + '    keep: 9\n'


def test_an_old_hook_that_slim_left_dangling_is_told(old: Deployment) -> None:
    hook = old.host / '.git/hooks/post-merge'
    install.install(old.host, old.folder / 'new.yml', when='', old=True)
    slim.slim(Repository(old.host), 'master')
    said = install.uninstall(old.host)
    assert said[1] == (
        f'WARNING: {hook} is a link to {old.host}/scripts/post-merge.hook again, which is not '
        'checked out, so it does not run; to bring the files back: '
        f'git -C {old.host} sparse-checkout disable'
    )
    git(old.host, 'sparse-checkout', 'disable')
    assert hook.resolve(strict=True) == old.host / 'scripts/post-merge.hook'


def test_an_old_hook_that_leads_to_its_file_is_put_back_without_a_word(old: Deployment) -> None:
    install.install(old.host, old.folder / 'new.yml', when='', old=True)
    assert install.uninstall(old.host) == [
        'hooks: post-merge, post-receive, post-rewrite, pre-receive taken out of '
        f'{old.host}/.git/hooks',
        f'kept: {old.folder}/new.yml',
    ]


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_the_old_interval_is_kept_and_the_old_line_is_told(
    old: Deployment, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / 'spool')
    adopted(old, crontab='*/3 * * * * cd $HOME/host && git pull\n')
    line = f'*/3 * * * * cd {old.host} && git pull'
    spool.write(f'{line}\n'.encode())
    mirage = str(Path(sys.prefix) / 'bin' / 'mirage-hooks')
    done = spool.run(mirage, 'install', str(old.host), '--config', f'{tmp_path}/new.yml', '--adopt')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines()[-2:] == [
        'cron: */3 * * * *, and at boot',
        'your crontab also has its own pull, no longer needed: it can stay, or be removed '
        f'(`crontab -e`): {line}',
    ]
    table = spool.read() or b''
    assert table.splitlines()[0] == line.encode()
    assert re.match(rb'\*/3 \* \* \* \* .* pull --quiet # mirage-hooks: ', table.splitlines()[1])


@pytest.mark.parametrize(('table', 'when'), [
    ('@hourly cd /x && git pull', '@hourly'),
    ('5  4\t* * * cd /x; git -C . pull -q', '5 4 * * *'),
    ('# */7 * * * * git pull', ''),
    ('*/7 * * * * reboot', ''),
    ('$(id) * * * * git pull', ''),
    ('git pull', ''),
    ('', ''),
])
def test_the_interval_is_read_from_the_line_that_pulls(
    old: Deployment, table: str, when: str
) -> None:
    assert adopted(old, crontab=f'{table}\n').when == when


def test_bridges_addresses_disks_and_arguments_come_over(old: Deployment) -> None:
    found = adopted(old, xl="""\
name = "blog" # a comment
memory = 64; vcpus = 1
vif = [ 'bridge=br0, mac=00:16:3e:00:00:01, ip=192.0.2.9',
        "bridge=br1" ]
disk = ['phy:/dev/vg/blog,xvdb,w', 'format=raw, vdev=xvdc, access=r, target=/srv/a,b.img,',
        'file:fat1.img,xvdd,w', '/x.qcow2,qcow2,xvde', '/srv/again,raw,xvdb,rw']
extra = 'logs=*:info color="on"'
nics = 3
""")
    granted = found.text.replace('    #   ', '      ').replace('# blocks', 'blocks')
    assert read(found)['blog'].blocks == {}
    assert config.parse(granted.encode(), 'granted').unikernels == {'blog': model.Unikernel(
        image='xen/latest', target='xen', memory=64, mirage='3.0',
        networks={'0': model.Static(bridge='br0', mac='00:16:3e:00:00:01'),
                  '1': model.Static(bridge='br1')},
        blocks={'xvdb': model.Block(path='/dev/vg/blog', vdev='xvdb'),
                'xvdc': model.Block(path='/srv/a,b.img', vdev='xvdc', read_only=True)},
    )}
    assert found.said[3] == (
        'blog: its disks are files of this host, which only you can grant: take the # away from '
        '`blocks:` and what belongs to it'
    )
    comments = [line.strip() for line in found.text.splitlines() if line.startswith('    #')]
    assert comments[8:] == [
        r'# a disk that is not clear: "file:fat1.img,xvdd,w"',
        r'# a disk that is not clear: "/x.qcow2,qcow2,xvde"',
        r'# a disk that is not clear: "/srv/again,raw,xvdb,rw"',
        r'# arguments: "logs=*:info color=\"on\""',
        '# How to tell that it serves; without it, to stay up is enough:',
        '# health: {http: "http://ADDRESS/", within: 30s}',
        '# not taken over: nics = "3"',
    ]


def test_scripts_with_line_ends_of_windows_are_read_the_same(old: Deployment) -> None:
    before = adopt.adopt(Repository(old.host))
    git(old.site, 'config', 'core.autocrlf', 'false')
    windows = adopted(old, **{stem: text.replace('\n', '\r\n') for stem, text in (
        ('xl', TEMPLATE), ('hook', HOOK), ('crontab', CRONTAB))})
    commit = git(old.host, 'rev-parse', 'HEAD~1')[:12], git(old.host, 'rev-parse', 'HEAD')[:12]
    assert windows.text == before.text.replace(*commit)
    assert windows.when == before.when


def test_several_templates_become_several_unikernels(old: Deployment) -> None:
    (old.site / 'xl.conf.in').unlink()
    write(old, {'scripts/blog.xl.in': TEMPLATE, 'scripts/www.xl.in': "name='www'\nmemory=32\n"})
    found = adopted(old)
    assert {name: one.memory for name, one in read(found).items()} == {'blog': 256, 'www': 32}
    assert {name: one.image for name, one in read(found).items()} == {
        'blog': 'xen/latest', 'www': 'xen/latest'
    }
    assert found.said[-1] == (
        'blog and www got the same `image: xen/latest`: mend it where one has an image of its own'
    )


@pytest.mark.parametrize(('folder', 'name'), [
    ('blog/xen', 'mir-my-blog.xen'), ('xen/blog', 'myblog.xen'), ('my.blog', 'blog.xen')
])
def test_each_template_gets_the_pointer_to_the_image_of_its_name(
    old: Deployment, folder: str, name: str
) -> None:
    image = Path(folder) / COMMIT / name
    (old.site / image).parent.mkdir(parents=True)
    (old.site / image).write_bytes(PV)
    (old.site / 'unix').mkdir()
    (old.site / 'unix/myblog').write_bytes(PV)
    write(old, {f'{folder}/latest': f'{COMMIT}\n', 'unix/latest': 'myblog\n',
                'scripts/blog.xl.in': "name = 'my.blog'\n"})
    found = adopted(old)
    assert {name: one.image for name, one in read(found).items()} == {
        'mort.io': 'xen/latest', 'my.blog': f'{folder}/latest'
    }
    assert [line for line in found.said if 'the same' in line] == []


@pytest.mark.parametrize(('name', 'image', 'version', 'why'), [
    ('mir-mortio.xen', PV, '2.9',
     'MirageOS 1 and 2 called their images mir-NAME, as "mir-mortio.xen"'),
    ('mortio.xen', PVH, '3.9', '"mortio.xen" is a PVH image, as from 3.9 on'),
    ('mortio.xen', b'\x7fELF', '3.0', '"xen/latest" shows no image to tell it from'),
])
def test_the_generation_is_guessed_from_name_and_style(
    old: Deployment, name: str, image: bytes, version: str, why: str
) -> None:
    old.publish(image, '2' * 40, name=name)
    found = adopted(old)
    assert read(found)['mort.io'].mirage == version
    assert found.said[1] == f'mort.io: guessed MirageOS {version}, because {why}; `mirage:` says it'


@pytest.mark.parametrize('hostile', [
    "name='a\\nunikernels: {}'\nvif=['bridge=x\\n      interface: eth0']\n",
    "name='../../etc'\nmemory='0x7fffffffff'\nvif=['bridge=$(reboot)']\n",
    "disk=['phy:/etc/shadow\\n        sector: 1,xvda,w']\nextra='a=\\x1b[2J'\n",
    "x='\x1b]0;owned\x07'\n@EVIL@\u2028y: 1\n",
    'vif=[' * 1600,
    "vif=['" + '\\' * 8000,
    "disk=['target=/\U0001f600,xvda']\nextra='a=\U0001f600'\nname=true\n",
])
def test_hostile_scripts_make_a_plain_file_or_none(old: Deployment, hostile: str) -> None:
    found = adopted(old, xl=hostile, hook='HTTP=$(reboot)\n', crontab='* * * * * git pull\n' * 300)
    settings = config.parse(found.text.encode(), 'adopted')
    assert set(settings.unikernels) <= {'mortio', 'true'}
    assert all(char.isprintable() for line in found.text.splitlines() for char in line)
    assert all(line.isprintable() for line in found.said)
    for one in settings.unikernels.values():
        assert one.blocks == {}
        assert all(argument.isprintable() for argument in one.arguments)


def test_a_script_that_is_a_link_or_long_is_left_out(old: Deployment) -> None:
    (old.site / 'xl.conf.in').unlink()
    (old.site / 'xl.conf.in').symlink_to('/etc/passwd')
    write(old, {'scripts/long.xl.in': 'a' * (xlfile.LIMIT + 1)})
    old.commit('hostile')
    git(old.host, 'pull', '-q')
    with pytest.raises(errors.Refused) as refused:
        adopt.adopt(Repository(old.host))
    assert (refused.value.reason, refused.value.hint) == (
        f'{old.host} has no old scripts to adopt: no xl.conf.in or *.xl.in in it',
        'install without --adopt, and say in mirage.yml what should run',
    )


def test_what_cannot_be_adopted_installs_nothing(old: Deployment) -> None:
    (old.site / 'xl.conf.in').unlink()
    old.commit('no template')
    git(old.host, 'pull', '-q')
    before = sorted((old.host / '.git/hooks').iterdir())
    with pytest.raises(errors.Refused):
        install.install(old.host, old.folder / 'new.yml', when='', old=True)
    assert sorted((old.host / '.git/hooks').iterdir()) == before
    assert not (old.folder / 'new.yml').exists()


def test_an_adopted_file_is_known_to_be_the_repository_s(old: Deployment) -> None:
    install.install(old.host, old.folder / 'new.yml', when='', old=True)
    assert starter.owner(old.folder / 'new.yml') == str(old.host)
