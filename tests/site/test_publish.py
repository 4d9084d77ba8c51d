"""Publishing, against real repositories: files, ssh, hooks, races."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mirage_hooks import config
from mirage_hooks import image as images
from mirage_hooks.cli.main import main
from mirage_hooks.git.repository import Repository
from mirage_hooks.messages import errors
from mirage_hooks.site import bundle, ci, layout
from mirage_hooks.site import deployment as elsewhere
from tests import elf
from tests.deployment import ROOT, free_port, git, run
from tests.guests.scene import needs
from tests.patience import PATIENCE
from tests.signing import sign_with, ssh_key
from tests.sshd import Sshd

HVT, SPT, MUEN, XEN = 1, 2, 4, 6  # Solo5's targets
NET = 2
A, B, C, D = (digit * 40 for digit in 'abcd')
KEY = '-----BEGIN OPENSSH PRIVATE KEY-----\nabc\ndef=\n-----END OPENSSH PRIVATE KEY-----\n'
VARIABLES = ('CI', 'DEPLOY', 'DEPLOY_KEY', 'DEPLOY_KNOWN_HOSTS', 'XENIMG', 'MIRDIR',
             'MIRAGE_BACKEND', 'TRAVIS_COMMIT', 'TRAVIS_BRANCH', 'TRAVIS_PULL_REQUEST',
             'TRAVIS_REPO_SLUG',
             'GITHUB_SHA', 'GITHUB_REF_NAME', 'GITHUB_EVENT_NAME', 'GITHUB_REPOSITORY',
             'CI_COMMIT_SHA', 'GIT_SSH_COMMAND')


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to publish from, outside of every repository and of every CI."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(bundle, 'TOOLS', ())
    folder = tmp_path / 'build'
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """An empty bare repository."""
    folder = tmp_path / 'hub.git'
    git(tmp_path, 'init', '-q', '--bare', '-b', 'master', str(folder))
    return folder


def spt(text: str = 'one', target: int = SPT) -> bytes:
    """An image that differs by `text`."""
    return elf.solo5(target, elf.entry(b'service', NET)) + text.encode()


def put(name: str, content: bytes) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content)
    return name


def mirage(*arguments: str) -> int:
    return main(list(arguments))


def released(hub: Path, commit: str, text: str, *more: str) -> None:
    assert mirage('publish', put('dist/www.spt', spt(text)), '--to', str(hub), '--source', commit,
                  *more) == 0


def tree(hub: Path, branch: str = 'master') -> dict[str, str]:
    """Mode of every file."""
    lines = git(hub, 'ls-tree', '-r', branch).splitlines()
    return {line.split('\t')[1]: line.split(' ')[0] for line in lines}


def show(hub: Path, path: str) -> bytes:
    return subprocess.run(['git', 'show', f'master:{path}'], cwd=hub, check=True,
                          capture_output=True).stdout


def test_an_empty_repository_gets_image_description_config_and_pointer(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put('config.ml', b'let () = ()\n')
    released(hub, A, 'one')
    assert tree(hub) == {
        'spt/.latest/www.spt': '100755',
        f'spt/{A}/config.ml': '100644',
        f'spt/{A}/www.json': '100644',
        f'spt/{A}/www.spt': '100755',
        'spt/latest': '100644',
    }
    assert show(hub, 'spt/latest') == f'{A}\n'.encode()
    assert show(hub, f'spt/{A}/www.spt') == show(hub, 'spt/.latest/www.spt') == spt('one')
    assert show(hub, f'spt/{A}/config.ml') == b'let () = ()\n'
    told = json.loads(show(hub, f'spt/{A}/www.json'))
    digest = run('sha256sum', 'dist/www.spt', cwd=Path()).stdout.split()[0]
    size = len(spt('one'))
    published = told.pop('published')
    assert len(published) == 20 and published.endswith('Z')
    assert told == {
        'name': 'www', 'target': 'spt', 'digest': f'sha256:{digest}', 'size': size, 'source': A,
        'versions': {'mirage-hooks': '0.1.0'},
    }
    assert git(hub, 'log', '-1', '--format=%B', 'master') == (
        f'Publish www for spt from {A[:12]}\n\nImage: spt/{A}/www.spt\nImage-Target: spt\n'
        f'Image-Digest: sha256:{digest}\nImage-Size: {size}\nSource-Commit: {A}'
    )
    commit = git(hub, 'rev-parse', 'master')
    assert capsys.readouterr().out == (
        f'published spt/{A}/www.spt (spt (Solo5 ABI 2), 1.0 kB, network service) '
        f'on master {commit[:12]} of {hub}\n'
    )


def test_the_host_finds_and_takes_what_was_published_in_every_packing(
    hub: Path, tmp_path: Path
) -> None:
    for packing in ('', 'bzip2', 'gzip'):
        more = ('--compress', packing) if packing else ()
        released(hub, A, f'as {packing}', *more)
        repository = Repository(hub)
        found = repository.find(
            repository.commit('master'), 'www', config.Unikernel(image='spt/latest')
        ) if not packing else None
        path = f'spt/{A}/www.spt' + layout.PACKED[packing]
        raw = {'': bytes, 'bzip2': bz2.decompress, 'gzip': gzip.decompress}[packing]
        assert raw(show(hub, path)) == spt(f'as {packing}')
        if found:
            with repository.open(found.blob) as stream:
                taken = images.take(stream, tmp_path / 'taken', name='www', limit=1 << 20)
            assert (found.path, taken.target) == (path, 'spt')


def test_other_files_and_releases_stay_as_they_are(hub: Path, tmp_path: Path) -> None:
    site = tmp_path / 'old'
    git(tmp_path, 'clone', '-q', str(hub), str(site))
    for path in ('README.md', 'xen/latest', f'xen/{B}/mir-www.xen.bz2', 'scripts/post-merge.hook'):
        put(str(site / path), path.encode())
    git(site, 'add', '-A')
    git(site, 'commit', '-q', '-m', f'adding {B} for xen')
    git(site, 'push', '-q', 'origin', 'HEAD:master')
    before = tree(hub)
    released(hub, A, 'one')
    after = tree(hub)
    assert before.items() <= after.items()
    assert set(after) - set(before) == {
        'spt/latest', f'spt/{A}/www.spt', f'spt/{A}/www.json', 'spt/.latest/www.spt'}
    assert git(hub, 'rev-parse', 'master^') == git(site, 'rev-parse', 'HEAD')


def test_the_same_image_again_is_nothing_to_do(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    released(hub, A, 'one')
    before = git(hub, 'rev-parse', 'master')
    capsys.readouterr()
    for commit in (A, B):
        released(hub, commit, 'one')
        assert git(hub, 'rev-parse', 'master') == before
        assert capsys.readouterr().out == (
            f'nothing to do: spt/{commit}/www.spt (spt (Solo5 ABI 2), 1.0 kB, '
            f'network service) is the newest on master of {hub} already\n'
        )


def test_going_back_to_an_earlier_image_is_published(hub: Path) -> None:
    for commit, text in ((A, 'one'), (B, 'two'), (A, 'one')):
        released(hub, commit, text)
    assert show(hub, 'spt/latest') == f'{A}\n'.encode()


def test_new_bytes_of_the_same_commit_take_the_place_of_the_old(hub: Path) -> None:
    released(hub, A, 'one')
    released(hub, A, 'two')
    assert show(hub, f'spt/{A}/www.spt') == show(hub, 'spt/.latest/www.spt') == spt('two')


def test_targets_names_and_branches_lie_side_by_side(hub: Path) -> None:
    released(hub, A, 'one')
    assert mirage('publish', put('dist/www.hvt', spt(target=HVT)), '--to', str(hub),
                  '--source', A) == 0
    assert mirage('publish', 'dist/www.spt', '--to', str(hub), '--source', A, '--name', 'mort.io',
                  '--layout', '{branch}/{name}/{target}/{commit}') == 0
    assert mirage('publish', 'dist/www.spt', '--to', str(hub), '--source', A, '--name', 'flat',
                  '--layout', 'images') == 0
    released(hub, A, 'one', '--branch', 'next')
    assert list(tree(hub)) == [
        'hvt/.latest/www.hvt', f'hvt/{A}/www.hvt', f'hvt/{A}/www.json', 'hvt/latest',
        'images/flat.json', 'images/flat.spt',
        'master/mort.io/spt/.latest/mort.io.spt',
        f'master/mort.io/spt/{A}/mort.io.json', f'master/mort.io/spt/{A}/mort.io.spt',
        'master/mort.io/spt/latest',
        'spt/.latest/www.spt', f'spt/{A}/www.json', f'spt/{A}/www.spt', 'spt/latest',
    ]
    assert list(tree(hub, 'next')) == [
        'spt/.latest/www.spt', f'spt/{A}/www.json', f'spt/{A}/www.spt', 'spt/latest']


def test_unikernels_that_share_a_pointer_stay_next_to_each_other(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    released(hub, A, 'one')
    capsys.readouterr()
    assert mirage('publish', put('blog.spt', spt('blog')), '--to', str(hub), '--source', B,
                  '--compress', 'gzip') == 0
    assert capsys.readouterr().out.startswith('next to it, as it was: www\npublished ')
    assert show(hub, 'spt/latest') == f'{B}\n'.encode()
    assert {path for path in tree(hub) if B in path} == {
        f'spt/{B}/{file}' for file in ('blog.spt.gz', 'blog.json', 'www.spt', 'www.json')}
    assert show(hub, f'spt/{B}/www.spt') == spt('one')
    released(hub, C, 'two')
    assert {path for path in tree(hub) if C in path} == {
        f'spt/{C}/{file}' for file in ('blog.spt.gz', 'blog.json', 'www.spt', 'www.json')}
    host, found = Repository(hub), config.Unikernel(image='spt/latest')
    tip = host.commit('master')
    assert [host.find(tip, name, found).path for name in ('www', 'blog')] == [
        f'spt/{C}/www.spt', f'spt/{C}/blog.spt.gz']


def test_one_packing_of_an_image_takes_the_place_of_another(hub: Path) -> None:
    packed = {'': (), '.bz2': ('--compress', 'bzip2'), '.gz': ('--compress', 'gzip')}
    for ending in ('', '.bz2', '.gz', ''):
        released(hub, A, ending, *packed[ending])
        assert {path for path in tree(hub) if '/www.spt' in path} == {
            f'spt/{A}/www.spt{ending}', *(() if ending else ('spt/.latest/www.spt',))}


@pytest.mark.parametrize(('layout', 'said'), [
    ('spt/latest', 'spt/latest is there already, and is a file'),
    ('spt/latest/{commit}', 'spt/latest is there already, and is a file'),
    ('spt', 'spt/www.spt is there already, and is a folder'),
])
def test_nothing_else_in_the_tree_makes_room(
    hub: Path, capsys: pytest.CaptureFixture[str], layout: str, said: str
) -> None:
    released(hub, A, 'one')
    released(hub, A, 'two', '--layout', 'spt/www.spt')
    before = git(hub, 'rev-parse', 'master')
    capsys.readouterr()
    assert mirage('publish', put('www.spt', spt()), '--to', str(hub), '--source', B,
                  '--layout', layout) == 1
    assert capsys.readouterr().err == (
        f'mirage-hooks: {said}\n  hint: --layout or --name: another one\n')
    assert git(hub, 'rev-parse', 'master') == before


def test_keep_leaves_the_newest_the_pointed_and_what_is_no_release(
    hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for commit, text in ((C, 'old'), (A, 'older'), (D, 'newer')):
        released(hub, commit, text)
    work = tmp_path / 'work'
    git(tmp_path, 'clone', '-q', str(hub), str(work))
    (work / 'spt' / C / 'www.json').unlink()
    (work / 'spt' / 'stable').write_text(f'{C}\n')
    put(str(work / 'spt' / 'fosdem14' / 'www.spt'), spt('talk'))
    git(work, 'add', '-A')
    git(work, 'commit', '-q', '-m', 'by hand')
    git(work, 'push', '-q', 'origin', 'HEAD:master')
    capsys.readouterr()
    released(hub, B, 'newest', '--keep', '2')
    folders = sorted({path.split('/')[1] for path in tree(hub)})
    kept = {C, B, 'fosdem14', 'latest', '.latest', 'stable'}
    assert set(folders) == kept
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == [f'removed spt/{A}', f'removed spt/{D}']
    assert git(hub, 'log', '-1', '--format=%b', 'master').splitlines()[:3] == [
        'Remove 2 older releases:', f'spt/{A}', f'spt/{D}']


def test_releases_without_a_description_are_as_old_as_the_history_says(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = hub.parent / 'work'
    git(hub.parent, 'clone', '-q', str(hub), str(work))
    for number, commit in enumerate((B, A, D)):
        put(str(work / 'spt' / commit / 'www.spt'), spt(commit))
        put(str(work / 'spt' / 'latest'), f'{commit}\n'.encode())
        git(work, 'add', '-A')
        monkeypatch.setenv('GIT_COMMITTER_DATE', f'2017-01-0{number + 1}T00:00:00Z')
        git(work, 'commit', '-q', '-m', f'adding {commit}')
    git(work, 'push', '-q', 'origin', 'HEAD:master')
    released(hub, C, 'new', '--keep', '3')
    assert sorted({path.split('/')[1] for path in tree(hub)}) == [
        '.latest', A, C, D, 'latest']


def test_the_clone_stays_small_however_old_the_repository_is(hub: Path, tmp_path: Path) -> None:
    work = tmp_path / 'work'
    git(tmp_path, 'clone', '-q', str(hub), str(work))
    for number in range(30):
        put(str(work / 'xen' / f'{number:040x}' / 'www.xen'), os.urandom(200_000))
        put(str(work / 'xen' / 'latest'), b'%040x\n' % number)
        git(work, 'add', '-A')
        git(work, 'commit', '-q', '-m', 'one more')
    git(work, 'push', '-q', 'origin', 'HEAD:master')
    clone = elsewhere.Deployment(f'file://{hub}', tmp_path / 'clone')
    assert _size(hub) > 6_000_000
    assert _size(clone.folder / 'objects') < 20_000
    assert len(clone.files()) == 31


def test_a_server_that_cannot_filter_does_no_harm(hub: Path, home: Path) -> None:
    released(hub, A, 'one')
    text = (home / '.gitconfig').read_text()
    (home / '.gitconfig').write_text(text.replace('allowFilter = true', 'allowFilter = false'))
    released(hub, B, 'two', '--keep', '1')
    assert sorted(tree(hub)) == [
        'spt/.latest/www.spt', f'spt/{B}/www.json', f'spt/{B}/www.spt', 'spt/latest']


def test_a_pull_costs_a_fraction_of_the_image(hub: Path, tmp_path: Path) -> None:
    """git deltas only between blobs of one path; the original's layout has a new one each time."""
    noise = os.urandom(1_000_000).hex()
    host = tmp_path / 'host'
    released(hub, A, noise)
    git(tmp_path, 'clone', '-q', '--depth=1', f'file://{hub}', str(host))
    released(hub, B, noise[:1_000_000] + 'edited' + noise[1_000_000:])
    assert run('env', f'GIT_TRACE_PACKFILE={tmp_path}/wire', 'git', 'pull', '-q',
               cwd=host).returncode == 0
    assert (host / f'spt/{B}/www.spt').stat().st_size > 2_000_000
    assert (tmp_path / 'wire').stat().st_size < 5_000


def test_a_dry_run_pushes_nothing(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    released(hub, A, 'one', '--dry-run')
    assert git(hub, 'for-each-ref') == ''
    assert capsys.readouterr().out == (
        f'would publish spt/{A}/www.spt (spt (Solo5 ABI 2), 1.0 kB, network service) '
        f'on master of {hub}\n'
    )


@pytest.mark.parametrize(('content', 'more', 'said'), [
    (b'', (), 'image is empty\n  hint: build and publish the image again'),
    (b'hello', (), 'image is not an image: it is neither an ELF file nor a script\n'
     '  hint: publish what `mirage build` made'),
    (spt(target=MUEN), (), 'image is built for muen, which no host of ours runs\n'
     '  hint: targets: hvt, spt, unix, virtio, xen'),
    (None, (), 'cannot read image: No such file or directory'),
    (None, ('--to', '/nope', '--source', ''), 'cannot read image: No such file or directory'),
    (b'#!/bin/sh\n', ('--name', 'config.ml'), "a host would not take config.ml for the image of "
     "'config.ml'\n  hint: --name: another one"),
    (spt(), ('--layout', '.GIT/hooks'), "--layout '.GIT/hooks' gives '.GIT/hooks', which is not a "
     'plain path in the repository'),
    (spt(), ('--name', '../x'), "'../x' cannot be the name of a unikernel\n  hint: --name: at most "
     '40 letters, digits, dots and dashes, a letter or digit first'),
    (spt(), ('--source', 'HEAD'), "the source commit 'HEAD' is not 7 to 64 hexadecimal digits\n"
     '  hint: --source "$(git rev-parse HEAD)"'),
    (spt(), ('--source', ''), 'the commit that the image was built from is not known\n'
     '  hint: commit the site first, and publish from its folder; or name it: --source COMMIT'),
    (spt(), ('--layout', '../{commit}'), f"--layout '../{{commit}}' gives '../{A}', which is not a "
     'plain path in the repository'),
    (spt(), ('--layout', '{target.x}'), "--layout '{target.x}' is not a folder of {target}, "
     '{commit}, {name}, {branch}'),
    (spt(), ('--layout', 'a b'), "--layout 'a b' gives 'a b', which is not a plain path in the "
     'repository'),
    (spt(), ('--to', ''), 'no deployment repository is given\n  hint: --to REMOTE names it'),
])
def test_what_the_host_would_refuse_is_refused_here(
    hub: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, more: tuple[str, ...],
    said: str,
) -> None:
    if content is not None:
        put('image', content)
    assert mirage('publish', 'image', '--to', str(hub), '--source', A, *more) == 1
    assert capsys.readouterr() == ('', f'mirage-hooks: {said}\n')
    assert git(hub, 'for-each-ref') == ''


def test_a_pipe_is_not_waited_for(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo('pipe')
    assert mirage('publish', 'pipe', '--to', str(hub), '--source', A) == 1
    assert capsys.readouterr().err == 'mirage-hooks: pipe is not a file\n'


def test_a_broken_archive_is_refused(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put('image.bz2', bz2.compress(spt())[:-9])
    assert mirage('publish', 'image.bz2', '--to', str(hub), '--source', A) == 1
    assert capsys.readouterr().err.startswith('mirage-hooks: image.bz2 ')
    assert git(hub, 'for-each-ref') == ''


def test_a_packed_image_is_stored_raw(hub: Path) -> None:
    put('dist/mir-mort.io.spt.bz2', bz2.compress(spt()))
    assert mirage('publish', 'dist/mir-mort.io.spt.bz2', '--to', str(hub), '--source', A) == 0
    assert show(hub, f'spt/{A}/mort.io.spt') == spt()


def test_a_repository_out_of_reach_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put('image', spt())
    missing = tmp_path / 'missing.git'
    assert mirage('publish', 'image', '--to', str(missing), '--source', A) == 1
    assert capsys.readouterr().err == (
        f"mirage-hooks: {missing}: fatal: repository '{missing}' does not exist\n"
        '  hint: is the address right, and may this key read and write there?\n'
    )


def test_a_password_in_the_address_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    put('image', spt())
    port = free_port()
    assert mirage('publish', 'image', '--to', f'http://me:secret@127.0.0.1:{port}/x.git',
                  '--source', A) == 1
    err = capsys.readouterr().err
    assert err.startswith(f'mirage-hooks: http://127.0.0.1:{port}/x.git: fatal: ')
    assert 'secret' not in err


HOSTILE = '#!/bin/sh\nprintf "www now runs\\033[2J\\nx\\302\\233y\\n" >&2\n'


def test_the_hosts_answer_is_printed_without_its_control_characters(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _hook(hub, 'post-receive', HOSTILE)
    released(hub, A, 'one')
    assert capsys.readouterr().out.splitlines()[:2] == [
        'remote: www now runs\\x1b[2J', 'remote: x\\x9by']


def test_a_host_that_declines_is_told_and_not_asked_again(
    hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _hook(hub, 'pre-receive', HOSTILE + f'echo . >> {hub}/asked\nexit 1\n')
    put('image', spt())
    assert mirage('publish', 'image', '--to', str(hub), '--source', A) == 1
    assert capsys.readouterr() == (
        'remote: www now runs\\x1b[2J\nremote: x\\x9by\n',
        f'mirage-hooks: {hub} refuses the push: [remote rejected] (pre-receive hook declined)\n',
    )
    assert (hub / 'asked').read_text() == '.\n'
    assert git(hub, 'for-each-ref') == ''


RUNS = 'release 2 (spt (Solo5 ABI 2), 6.0 MB, network service, commit 8e92f99ab9fb) now runs'
ITSELF = 'but the host refused it, as it says above'
PERHAPS = 'but the host refused it, or what it calls blog, as it says above'
ANOTHER = 'the host runs it; of its others it refused blog, as it says above'


@pytest.mark.parametrize(('says', 'code', 'told'), [
    ('www: REFUSED: it ended with exit code 2', 1, ITSELF),
    ('mirage-hooks: REFUSED: nothing runs until that is right', 1, ITSELF),
    ('blog: REFUSED: it ended with exit code 2', 1, PERHAPS),
    ('www: still refused: it ended with exit code 2', 1, ITSELF),
    ('w.w.w: REFUSED: it ended\nw.w.w: nothing runs', 1, ITSELF),
    (f'www: {RUNS}\nblog: REFUSED: it ended\nblog: nothing runs', 0, ANOTHER),
    (f'blog: REFUSED: it ended\nblog: nothing runs\nw.w.w: {RUNS}', 0, ANOTHER),
    (f'blog: {RUNS}\nwww: REFUSED: it ended\nwww: nothing runs', 1, ITSELF),
    ('blog: still refused: it ended with exit code 2', 0, ''),
    ('    | www: REFUSED: as its console says', 0, ''),
    (f'www: {RUNS}', 0, ''),
])
def test_the_exit_code_tells_whether_the_host_took_it(
    hub: Path, capsys: pytest.CaptureFixture[str], says: str, code: int, told: str
) -> None:
    _hook(hub, 'post-receive', f"#!/bin/sh\ncat <<'END'\n{says}\nEND\n")
    assert mirage('publish', put('www.spt', spt()), '--to', str(hub), '--source', A) == code
    assert show(hub, f'spt/{A}/www.spt') == spt()
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if 'the host r' in line] == ([told] if told else [])
    assert not told or said[-1] == told


def test_a_checked_out_branch_is_refused_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = tmp_path / 'host'
    git(tmp_path, 'init', '-q', '-b', 'master', str(host))
    git(host, 'commit', '-q', '--allow-empty', '-m', 'first')
    put('image', spt())
    assert mirage('publish', 'image', '--to', str(host), '--source', A) == 1
    err = capsys.readouterr().err
    assert '(branch is currently checked out)' in err
    assert err.endswith(
        '  hint: let it be bare, or there: git config receive.denyCurrentBranch updateInstead\n')


@pytest.mark.long
def test_twenty_publishers_at_once_lose_nothing(hub: Path) -> None:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    commits = [f'{number:040x}' for number in range(20)]
    jobs = [
        subprocess.Popen(
            [sys.executable, '-m', 'mirage_hooks', 'publish',
             put(f'{commit}/www.spt', spt(commit)), '--to', str(hub), '--source', commit],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for commit in commits
    ]
    said = [job.communicate(timeout=900)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 20, said
    assert git(hub, 'rev-list', '--count', '--first-parent', 'master') == '20'
    assert git(hub, 'rev-list', '--merges', 'master') == ''
    assert {path for path in tree(hub) if path.startswith('spt/0') and path.endswith('.spt')} == {
        f'spt/{commit}/www.spt' for commit in commits}
    last = git(hub, 'log', '-1', '--format=%(trailers:key=Source-Commit,valueonly)', 'master')
    assert show(hub, 'spt/latest') == f'{last.strip()}\n'.encode()
    assert show(hub, f'spt/{last.strip()}/www.spt') == spt(last.strip())
    git(hub, 'fsck', '--strict')


@needs('ssh-keygen')
def test_the_commit_is_signed_when_git_is_told_to(hub: Path, here: Path, tmp_path: Path) -> None:
    public = ssh_key(tmp_path / 'signing')
    (tmp_path / 'signers').write_text(f'site@example.org {public}\n')
    git(here, 'init', '-q')
    sign_with(here, tmp_path / 'signing')
    released(hub, A, 'one')
    git(hub, '-c', f'gpg.ssh.allowedSignersFile={tmp_path / "signers"}', 'verify-commit', 'master')


@needs('ssh-keygen')
@pytest.mark.parametrize(('settings', 'said'), [
    ({'commit.gpgsign': 'banana'}, "git: fatal: bad boolean config value 'banana' for "
     "'commit.gpgsign'\n"),
    ({'commit.gpgsign': 'true', 'gpg.format': 'ssh', 'user.signingkey': '/no/key'},
     "git does not make the commit: error: Couldn't load public key /no/key: No such file or "
     'directory?\n'
     '  hint: commit.gpgsign is on: is the key there, and may it be used here?\n'),
])
def test_what_cannot_be_signed_as_git_is_told_is_not_published(
    hub: Path, here: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, str], said: str
) -> None:
    git(here, 'init', '-q')
    for key, value in settings.items():
        git(here, 'config', key, value)
    put('image', spt())
    assert mirage('publish', 'image', '--to', str(hub), '--source', A) == 1
    assert capsys.readouterr().err == f'mirage-hooks: {said}'
    assert git(hub, 'for-each-ref') == ''


def test_settings_of_git_that_change_what_it_says_do_no_harm(hub: Path, home: Path) -> None:
    with (home / '.gitconfig').open('a') as file:
        file.write('[clone]\n\tdefaultRemoteName = up\n[log]\n\tshowSignature = true\n')
    released(hub, A, 'one')
    released(hub, B, 'two', '--keep', '1')
    assert {path for path in tree(hub) if A in path} == set()


def test_a_new_branch_next_to_others_is_told(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    released(hub, A, 'one')
    git(hub, 'symbolic-ref', 'HEAD', 'refs/heads/main')
    capsys.readouterr()
    released(hub, B, 'two')
    assert capsys.readouterr().out.endswith(f' of {hub}, a new branch next to master\n')


def test_json_tells_all_of_it(hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    released(hub, A, 'one', '--json')
    told = json.loads(capsys.readouterr().out)
    assert (told['commit'], told['to'], told['branch'], told['place']['image']) == (
        git(hub, 'rev-parse', 'master'), str(hub), 'master', f'spt/{A}/www.spt')


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_ended_by_a_signal_it_leaves_no_key_behind(
    hub: Path, tmp_path: Path, number: signal.Signals
) -> None:
    work = tmp_path / 'temporary'
    work.mkdir()
    put('image', spt())
    put('ssh', b'#!/bin/sh\nfor word; do case $word in */key) cp "$word" "$0.key" ;; esac; done\n'
        b'echo $$ > "$0.pid"\nexec sleep 3600\n')
    Path('ssh').chmod(0o755)
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'TMPDIR': str(work),
                   'GIT_SSH_COMMAND': str(Path('ssh').resolve()), 'DEPLOY_KEY': KEY}
    with subprocess.Popen(
        [sys.executable, '-m', 'mirage_hooks', 'publish', 'image', '--to', f'me@host:{hub}',
         '--source', A], env=environment, stderr=subprocess.PIPE, text=True,
    ) as process:
        while not Path('ssh.pid').exists() or not Path('ssh.pid').read_text():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        os.kill(int(Path('ssh.pid').read_text()), signal.SIGTERM)  # git's, and not ours
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert Path('ssh.key').read_text() == KEY
    assert list(work.iterdir()) == []


def test_a_fresh_machine_without_a_name_can_publish(
    hub: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ('AUTHOR', 'COMMITTER'):
        monkeypatch.delenv(f'GIT_{role}_NAME')
        monkeypatch.delenv(f'GIT_{role}_EMAIL')
    with (home / '.gitconfig').open('a') as file:
        file.write('[user]\n\tuseConfigOnly = true\n')
    released(hub, A, 'one')
    assert git(hub, 'log', '-1', '--format=%an <%ae>', 'master') == (
        'mirage-hooks publish <mirage-hooks@localhost>')


def test_the_commit_checked_out_is_the_source_by_default(hub: Path, here: Path) -> None:
    git(here, 'init', '-q')
    git(here, 'commit', '-q', '--allow-empty', '-m', 'site')
    head = git(here, 'rev-parse', 'HEAD')
    assert mirage('publish', put('dist/www.spt', spt()), '--to', str(hub)) == 0
    assert show(hub, 'spt/latest') == f'{head}\n'.encode()


ORIGINAL = {'DEPLOY': '1', 'XENIMG': 'mort.io', 'MIRDIR': '_mirage', 'MIRAGE_BACKEND': 'xen',
            'TRAVIS_PULL_REQUEST': 'false', 'TRAVIS_BRANCH': 'master', 'TRAVIS_COMMIT': A}


def test_the_originals_variables_are_enough(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ORIGINAL.items():
        monkeypatch.setenv(name, value)
    put('_mirage/mortio.xen', spt(target=XEN))
    put('_mirage/config.ml', b'config')
    assert mirage('publish', '--to', str(hub), '--compress', 'bzip2') == 0
    assert tree(hub) == {f'xen/{A}/config.ml': '100644', f'xen/{A}/mort.io.json': '100644',
                         f'xen/{A}/mort.io.xen.bz2': '100755', 'xen/latest': '100644'}
    assert ci.remote({'TRAVIS_REPO_SLUG': 'mor1/mort-www'}) == (
        'git@github.com:mor1/mort-www-deployment.git')


@pytest.mark.parametrize(('change', 'reason'), [
    ({'DEPLOY': ''}, 'DEPLOY is not 1'),
    ({'TRAVIS_PULL_REQUEST': '12'}, 'this is a pull request'),
    ({'GITHUB_EVENT_NAME': 'pull_request'}, 'this is a pull request'),
    ({'TRAVIS_BRANCH': 'next'}, 'this is branch next, not main or master'),
    ({'TRAVIS_BRANCH': '', 'GITHUB_REF_NAME': '\x1b'}, 'this is branch \\x1b, not main or master'),
])
def test_a_build_that_must_not_deploy_says_why_and_ends_well(
    hub: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    change: dict[str, str], reason: str,
) -> None:
    for name, value in {**ORIGINAL, **change}.items():
        monkeypatch.setenv(name, value)
    assert mirage('publish', '--to', str(hub)) == 0
    assert capsys.readouterr() == (f'nothing published: {reason}\n', '')
    assert git(hub, 'for-each-ref') == ''


@pytest.mark.parametrize('variable', ['CI', 'MIRAGE_BACKEND'])
def test_a_build_of_the_matrix_that_does_not_deploy_ends_well(
    hub: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    monkeypatch.setenv(variable, 'unix')
    assert mirage('publish', '--to', str(hub)) == 0
    assert capsys.readouterr() == ('nothing published: DEPLOY is not 1\n', '')


@pytest.mark.parametrize(('arguments', 'said'), [
    ((), 'no IMAGE is given, and no variable says that this is a CI'),
    (('',), 'IMAGE is empty'),
])
def test_a_forgotten_image_is_no_success(
    hub: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert mirage('publish', *arguments, '--to', str(hub)) == 2
    assert capsys.readouterr() == ('', f'mirage-hooks: {said}\n')


def test_an_image_that_the_build_did_not_make_is_missed_aloud(
    hub: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ORIGINAL.items():
        monkeypatch.setenv(name, value)
    assert mirage('publish', '--to', str(hub)) == 1
    assert capsys.readouterr().err == (
        'mirage-hooks: no image mort.io in _mirage: looked for dist/mort.io.xen, mort.io.xen, '
        'mir-mort.io.xen, dist/mortio.xen, mortio.xen, mir-mortio.xen\n'
        '  hint: did `make build` end well?\n'
    )
    monkeypatch.delenv('XENIMG')
    assert mirage('publish', '--to', str(hub)) == 1
    assert capsys.readouterr().err == (
        'mirage-hooks: XENIMG is not set, and no image is given\n'
        "  hint: mirage-hooks publish IMAGE --to REMOTE, or set XENIMG to the image's name\n"
    )


def test_the_deploy_key_is_read_in_each_of_its_forms() -> None:
    text = KEY
    packed = base64.b64encode(text.encode()).decode()
    assert ci.key({'DEPLOY_KEY': text}) == text
    assert ci.key({'DEPLOY_KEY': packed}) == text
    assert ci.key({'DEPLOY_KEY': f'{packed[:20]}\n{packed[20:]}\n'}) == text  # as base64 prints it
    assert ci.key({'XSECRET_default_num': '2', 'XSECRET_default_0': packed[:20],
                   'XSECRET_default_1': packed[20:]}) == text
    for spoiled in (text.replace('\n', '\r\n'), text.replace('\n', ' '), text.strip()):
        assert ci.key({'DEPLOY_KEY': spoiled}) == text
    assert ci.key({}) == ''
    for variables, name in (({'DEPLOY_KEY': '!'}, 'DEPLOY_KEY'),
                            ({'XSECRET_default_num': '1'}, 'XSECRET_default_*')):
        with pytest.raises(errors.Refused) as refused:
            ci.key(variables)
        assert (refused.value.reason, refused.value.hint) == (
            f'the deploy key in {name} is not whole',
            'set DEPLOY_KEY to the private key, as it is or in base64',
        )


def test_publishing_over_ssh_with_a_deploy_key(
    hub: Path, home: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = sshd.address(hub)
    monkeypatch.setenv('GIT_SSH_COMMAND', f'ssh -F none -o UserKnownHostsFile={home}/known '
                       '-o ConnectionAttempts=20')
    monkeypatch.setenv('DEPLOY_KEY', (sshd.folder / 'deploy').read_text())
    _hook(hub, 'post-receive', HOSTILE)
    put('image', spt())
    assert mirage('publish', 'image', '--to', address, '--source', A, '--name', 'www') == 0
    assert 'remote: www now runs\\x1b[2J' in capsys.readouterr().out.splitlines()
    assert show(hub, f'spt/{A}/www.spt') == spt()
    assert (home / 'known').read_text().split() == sshd.known().split()[:3]
    # Another host in its place, and a key that it does not know.
    monkeypatch.setenv('GIT_SSH_COMMAND', 'ssh -F none')
    monkeypatch.setenv('DEPLOY_KNOWN_HOSTS', sshd.known('stranger'))
    assert mirage('publish', 'image', '--to', address, '--source', B) == 1
    assert 'Host key verification failed' in capsys.readouterr().err
    monkeypatch.setenv('DEPLOY_KNOWN_HOSTS', sshd.known())
    monkeypatch.setenv('DEPLOY_KEY', (sshd.folder / 'stranger').read_text())
    assert mirage('publish', 'image', '--to', address, '--source', B) == 1
    assert 'Permission denied (publickey' in capsys.readouterr().err
    assert git(hub, 'rev-list', '--count', 'master') == '1'


def _hook(hub: Path, name: str, text: str) -> None:
    put(str(hub / 'hooks' / name), text.encode())
    (hub / 'hooks' / name).chmod(0o755)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
