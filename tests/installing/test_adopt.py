"""An old deployment repository's scripts become the mirage.yml that does the same; none runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mirage_hooks import config
from mirage_hooks.config import reading
from mirage_hooks.git.repository import Repository
from mirage_hooks.installing import (
    adopt,
    compiled,
    draft,
    install,
    slim,
    starter,
    uninstall,
    xlfile,
)
from mirage_hooks.messages import errors
from tests import elf
from tests.deployment import Deployment, git, run
from tests.git.test_shapes import log
from tests.spool import Spool, lacking

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


def installed(deployment: Deployment) -> list[str]:
    """Adopt, and install, as a person who has read it; what installing said."""
    draft.write(deployment.host, deployment.folder / 'new.yml')
    return install.install(deployment.host, when='')


def read(found: adopt.Adopted) -> dict[str, config.Unikernel]:
    return reading.parse(found.text.encode(), 'adopted').unikernels


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
      compiled_in: true  # the image has its address already
      # Not found, neither in the image nor on this host. Fill it in:
      # ipv4: ADDRESS/PREFIX
      # gateway: ADDRESS
    # With `ipv4:` a new image is proved next to the old one, and a switch loses no
    # request; without it the old one is stopped first, as the old scripts did (139 of
    # 847 requests failed, 6.9 s without an answer). To have it so with `ipv4:` too:
    # switch: replace
    # How to tell that it serves; without it, to answer ping or to stay up is enough:
    # health: {{http: "http://ADDRESS/", within: 30s}}
    # a disk, if one was given: "@DISK@"
""",
        when='*/7 * * * *',
        said=(
            f'adopted: mort.io, from {scripts} of commit {commit}',
            f'mort.io: guessed MirageOS 3.0, because {guess}; `mirage:` says it',
            'mort.io: its address is compiled in, and was not found: fill it in, and no switch '
            'loses a request',
            'mort.io: if the domain that the old scripts made still runs, it holds the address: '
            '`xl destroy mort.io`, then `mirage-hooks deploy`',
        ),
    )


@pytest.mark.usefixtures('log')  # its xl: a plan wants one on PATH
def test_it_is_the_xl_file_of_the_old_scripts_that_is_planned(old: Deployment) -> None:
    installed(old)
    done = old.mirage('deploy', '--dry-run', '--json')
    assert done.returncode == 0, done.stderr
    for line in ("memory = 256", "type = 'pv'", 'bridge=xenbr0', 'mort.io-1'):
        assert line in done.stdout
    assert 'extra' not in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason='a bridge of its own needs root')
def test_the_old_repository_deploys_as_it_is(old: Deployment, log: Path) -> None:
    installed(old)
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
def test_nothing_is_started_next_to_the_old_scripts_domain(old: Deployment, log: Path) -> None:
    installed(old)
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
    assert f'PROBLEM  mort.io: {reason}\n         {hint}\n' in told
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
    assert f'PROBLEM  mort.io: {reason}\n         {hint}\n' in bridged(old, 'check').stdout
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
    said = installed(old)
    assert said[1] == (
        f'WARNING: the post-merge hook was a link to {script}, which any push can change: it does '
        f'not run any more, and is kept as {hook}.tracked-not-run; to run it by hand: {script}'
    )
    assert said[2] == f'mirage.yml: {old.folder}/new.yml'
    assert hook.with_name('post-merge.tracked-not-run').is_symlink()
    assert not (old.host / 'scripts/ran').exists()
    assert git(old.host, 'status', '--porcelain') == ''


def hooks(deployment: Deployment) -> dict[str, str]:
    """Every hook that git would run, with where it leads or what it is."""
    found = (deployment.host / '.git/hooks').iterdir()
    return {path.name: str(path.readlink()) if path.is_symlink() else path.read_text()
            for path in found if path.suffix != '.sample'}


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_adopting_writes_a_file_and_nothing_that_would_deploy_it(
    old: Deployment, tmp_path: Path, log: Path
) -> None:
    spool = Spool(tmp_path / 'spool')
    adopted(old, crontab='*/3 * * * * cd $HOME/host && git pull\n')
    table = b'*/3 * * * * cd $HOME/host && git pull\n'
    spool.write(table)
    before = hooks(old)
    mirage, file = str(Path(sys.prefix) / 'bin' / 'mirage-hooks'), tmp_path / 'new.yml'
    done = spool.run(mirage, 'install', str(old.host), '--config', str(file), '--adopt')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines()[0] == (
        f'mirage.yml: {file} is new: read it, and fill in what is open'
    )
    assert done.stdout.splitlines()[-4:] == [
        'nothing else is changed: no hook, no cron line, nothing is started; what the old scripts '
        'made goes on',
        f'1. read {file}',
        f'2. see what it would do: mirage-hooks -C {old.host} check; mirage-hooks -C {old.host} '
        'deploy --dry-run',
        f"3. go live: mirage-hooks install --cron '*/3 * * * *' {old.host} && mirage-hooks -C "
        f'{old.host} deploy',
    ]
    assert (spool.read(), hooks(old), old.state().root.exists()) == (table, before, False)
    done = old.mirage('deploy', '--dry-run')
    assert (done.returncode, 'bridge=xenbr0' in done.stdout) == (0, True)
    # The old scripts' hook goes on, and is the only one.
    git(old.host, 'config', 'core.hooksPath', '/dev/null')
    old.publish(PV, '3' * 40, name='mortio.xen')
    old.pull()
    assert (log.exists(), old.history(), hooks(old)) == (False, [], before)
    git(old.host, 'config', '--unset', 'core.hooksPath')
    done = spool.run(mirage, 'install', '--cron', '*/3 * * * *', str(old.host))
    assert (done.returncode, done.stderr) == (0, '')
    assert {'post-receive', 'pre-receive'} <= hooks(old).keys()
    assert re.search(rb'^\*/3 \* .* pull --quiet # mirage-hooks: ', spool.read() or b'', re.M)


@pytest.mark.parametrize(('when', 'option'), [
    (None, ''), ('', '--no-cron '), ('@hourly', '--cron @hourly '),
])
def test_adopting_says_how_to_go_live_as_it_was_asked(
    old: Deployment, when: str | None, option: str
) -> None:
    said = draft.write(old.host, old.folder / 'new.yml', when)
    assert said[-1] == (f'3. go live: mirage-hooks install {option}{old.host} && mirage-hooks -C '
                        f'{old.host} deploy')


def test_adopting_twice_changes_nothing_and_an_edited_file_stays(old: Deployment) -> None:
    path = old.folder / 'new.yml'
    draft.write(old.host, path)
    before = path.read_text()
    again = draft.write(old.host, path)
    assert again[0] == f'mirage.yml: {path}'
    assert [line for line in again if 'WARNING' in line or 'adopted' in line] == []
    path.write_text(before + '    keep: 9\n')
    assert draft.write(old.host, path)[1] == (
        f'WARNING: {path} is there already and stays: nothing was adopted into it; '
        'to have it written from the old scripts, move it away'
    )
    assert path.read_text() == before + '    keep: 9\n'


def test_an_installed_repository_is_not_adopted_anew_under_its_hooks(old: Deployment) -> None:
    installed(old)
    path = old.folder / 'new.yml'
    said = draft.write(old.host, path)
    assert said == [f'mirage.yml: {path}']  # all is as it was, and live already
    path.unlink()
    before = hooks(old)
    with pytest.raises(errors.Refused) as refused:
        draft.write(old.host, path)
    assert (refused.value.reason, refused.value.hint) == (
        f'mirage-hooks is installed in {old.host}: its hooks would deploy the new file before '
        'anybody has read it',
        f'mirage-hooks install --uninstall {old.host}, then again',
    )
    assert (path.exists(), hooks(old)) == (False, before)


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_cron_lines_of_ours_are_not_given_an_unread_file(old: Deployment, tmp_path: Path) -> None:
    spool = Spool(tmp_path / 'spool')
    mirage = str(Path(sys.prefix) / 'bin' / 'mirage-hooks')
    ours = f'* * * * * {mirage} -C {old.host} pull --quiet # mirage-hooks: {old.host}\n'.encode()
    spool.write(ours)
    file = tmp_path / 'new.yml'
    done = spool.run(mirage, 'install', str(old.host), '--config', str(file), '--adopt')
    assert (done.returncode, done.stderr) == (1, (
        f'mirage-hooks: mirage-hooks is installed in {old.host}: its cron lines would deploy the '
        f'new file before anybody has read it\n'
        f'  hint: mirage-hooks install --uninstall {old.host}, then again\n'
    ))
    assert (file.exists(), spool.read()) == (False, ours)


def text(word: str) -> bytes:
    """`word` as OCaml keeps a constant: its length in words, and zeros up to the next one."""
    raw = word.encode()
    words = len(raw) // 8 + 1
    padding = words * 8 - len(raw) - 1
    return (words << 10 | 0x3fc).to_bytes(8, 'little') + raw + bytes(padding) + bytes([padding])


PAGES = b'ADDR="192.0.2.1" 192.0.2.1/24\n<b>198.51.100.7</b>'


@pytest.mark.parametrize(('words', 'found'), [
    (('8.8.8.8', '46.43.42.137/28', '46.43.42.129', '224.0.0.251'),
     compiled.Address('46.43.42.137/28', '46.43.42.129')),
    (('46.43.42.129', '46.43.42.137', '255.255.255.128', '8.8.8.8'),
     compiled.Address('46.43.42.137/25', '46.43.42.129')),
    (('46.43.42.137', '255.255.255.128', '46.43.42.254', '8.8.8.8'),
     compiled.Address('46.43.42.137/25', '46.43.42.254')),
    (('192.0.2.7/24',), compiled.Address('192.0.2.7/24', '')),
    (('192.0.2.7/24', '192.0.2.1', '192.0.2.2'), compiled.Address('192.0.2.7/24', '')),
    (('192.0.2.7', '255.255.255.0'), compiled.Address('192.0.2.7/24', '')),
    (('192.0.2.7/24', '192.0.2.8/24'), None),
    (('192.0.2.7', '192.0.2.8', '255.255.255.0'), None),  # which is the gateway?
    (('192.0.2.7', '198.51.100.1', '255.255.255.0'), None),
    (('192.0.2.7', '255.255.255.0', '255.255.0.0'), None),
    (('192.0.2.7', '255.0.255.0'), None),
    (('192.0.2.7/99', '300.0.2.7/24', '127.0.0.1/8', '0.0.0.0/0'), None),
    ((), None),
])
def test_the_compiled_in_address_is_read_from_the_image(
    tmp_path: Path, words: tuple[str, ...], found: compiled.Address | None
) -> None:
    image = tmp_path / 'image'
    image.write_bytes(PV + bytes(-len(PV) % 8) + b''.join(map(text, ('GET', *words))) + PAGES)
    assert compiled.address(image) == found


def test_an_address_in_the_image_is_written_so_that_a_switch_loses_no_request(
    old: Deployment
) -> None:
    old.publish(PV + b''.join(map(text, ('46.43.42.137/28', '46.43.42.129'))), '4' * 40,
                name='mortio.xen')
    found = adopted(old)
    wanted = read(found)['mort.io']
    assert wanted.network == config.Static(
        bridge='xenbr0', ipv4='46.43.42.137/28', gateway='46.43.42.129', compiled_in=True
    )
    assert wanted.overlapped == wanted.network
    assert read(adopt.Adopted(found.text.replace('# switch:', 'switch:'), '', ()))[
        'mort.io'].overlapped is None
    assert '      ipv4: 46.43.42.137/28  # found in the image: check it\n' in found.text
    assert '    # health: {http: "http://46.43.42.137/", within: 30s}\n' in found.text
    assert found.said[2] == ('mort.io: its address 46.43.42.137/28, gateway 46.43.42.129, was '
                             'found in the image: check it')


def test_an_old_hook_that_slim_left_dangling_is_told(old: Deployment) -> None:
    hook = old.host / '.git/hooks/post-merge'
    installed(old)
    slim.slim(Repository(old.host), 'master')
    said = uninstall.uninstall(old.host)
    assert said[1] == (
        f'WARNING: {hook} is a link to {old.host}/scripts/post-merge.hook again, which is not '
        'checked out, so it does not run; to bring the files back: '
        f'git -C {old.host} sparse-checkout disable'
    )
    git(old.host, 'sparse-checkout', 'disable')
    assert hook.resolve(strict=True) == old.host / 'scripts/post-merge.hook'


def test_an_old_hook_that_leads_to_its_file_is_put_back_without_a_word(old: Deployment) -> None:
    installed(old)
    assert uninstall.uninstall(old.host) == [
        'hooks: post-merge, post-receive, post-rewrite, pre-receive taken out of '
        f'{old.host}/.git/hooks',
        f'kept: {old.folder}/new.yml',
    ]


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_the_old_line_is_told(old: Deployment, tmp_path: Path) -> None:
    spool = Spool(tmp_path / 'spool')
    line = f'*/3 * * * * cd {old.host} && git pull'
    spool.write(f'{line}\n'.encode())
    mirage = str(Path(sys.prefix) / 'bin' / 'mirage-hooks')
    done = spool.run(mirage, 'install', str(old.host), '--config', f'{tmp_path}/new.yml')
    assert (done.returncode, done.stderr) == (0, '')
    cron, _, pull = done.stdout.splitlines()[-3:]
    assert [cron, pull] == [
        'cron: */7 * * * *, and at boot',
        'your crontab also has its own pull, no longer needed: as long as it stays, cron mails '
        f'`Already up to date.` for it each time; remove it with `crontab -e`: {line}',
    ]
    table = spool.read() or b''
    assert table.splitlines()[0] == line.encode()


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
    assert reading.parse(granted.encode(), 'granted').unikernels == {'blog': config.Unikernel(
        image='xen/latest', target='xen', memory=64, mirage='3.0',
        networks={'0': config.Static(bridge='br0', mac='00:16:3e:00:00:01', compiled_in=True),
                  '1': config.Static(bridge='br1', compiled_in=True)},
        blocks={'xvdb': config.Block(path='/dev/vg/blog', vdev='xvdb'),
                'xvdc': config.Block(path='/srv/a,b.img', vdev='xvdc', read_only=True)},
    )}
    assert found.said[3] == (
        'blog: its disks are files of this host, which only you can grant: take the # away from '
        '`blocks:` and what belongs to it'
    )
    comments = [line.strip() for line in found.text.splitlines() if line.startswith('    #')]
    assert comments[10:] == [
        r'# a disk that is not clear: "file:fat1.img,xvdd,w"',
        r'# a disk that is not clear: "/x.qcow2,qcow2,xvde"',
        r'# a disk that is not clear: "/srv/again,raw,xvdb,rw"',
        r'# arguments: "logs=*:info color=\"on\""',
        '# How to tell that it serves; without it, to answer ping or to stay up is enough:',
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
        'blog and www got the same `image: xen/latest`: change it where one has an image of its own'
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
    settings = reading.parse(found.text.encode(), 'adopted')
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
        installed(old)
    assert sorted((old.host / '.git/hooks').iterdir()) == before
    assert not (old.folder / 'new.yml').exists()


def test_an_adopted_file_is_known_to_be_the_repository_s(old: Deployment) -> None:
    installed(old)
    assert starter.owner(old.folder / 'new.yml') == str(old.host)
