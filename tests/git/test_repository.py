"""The wanted image is found in the commit's tree, in every layout that there has been."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
from pathlib import Path

import pytest

from mirage_hooks import config
from mirage_hooks.git.repository import Repository
from mirage_hooks.messages import errors
from tests.deployment import Deployment, git, run, web

A = 'a' * 40
ELF = b'\x7fELF and so on'


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository for trees that are written without a work tree."""
    made = tmp_path_factory.mktemp('trees')
    subprocess.run(('git', 'init', '-q', '--bare', str(made)), check=True)
    return made


def committed(folder: Path, files: dict[str, bytes], modes: dict[str, str] | None = None) -> str:
    """A commit of `files`, on no branch."""
    index = {'GIT_INDEX_FILE': str(folder / 'index'), 'GIT_DIR': str(folder)}
    (folder / 'index').unlink(missing_ok=True)
    lines = []
    for path, content in files.items():
        oid = _git(folder, {}, 'hash-object', '-w', '--stdin', input=content)
        lines.append(f'{(modes or {}).get(path, "100755")} {oid}\t{path}\0')
    _git(folder, index, 'update-index', '-z', '--index-info', input=''.join(lines).encode())
    tree = _git(folder, index, 'write-tree')
    return _git(folder, {}, 'commit-tree', '-m', 'made', tree)


def _git(folder: Path, variables: dict[str, str], *arguments: str, input: bytes = b'') -> str:
    done = subprocess.run(
        ('env', *(f'{key}={value}' for key, value in variables.items()), 'git', *arguments),
        cwd=folder, input=input, stdout=subprocess.PIPE, check=True,
    )
    return done.stdout.decode().strip()


def found(
    folder: Path, commit: str, image: str = 'xen/latest', name: str = 'mort.io',
    target: str | None = None,
) -> tuple[str, str]:
    """(the image's path, the notice)."""
    wanted = config.Unikernel(image=image, target=target)  # type: ignore[arg-type]
    one = Repository(folder).find(commit, name, wanted)
    return one.path, one.notice


@pytest.mark.parametrize('file', [
    'mir-mort.io.xen.bz2', 'mir-mortio.xen.bz2', 'mort.io.xen.bz2', 'mortio.xen.bz2',
    'mir-mortio.xen.gz', 'mortio.xen.xz', 'mortio.xen.zst', 'mortio.xen', 'mort-io.xen',
    'mortio.hvt', 'mortio.spt', 'mortio.virtio', 'mortio', 'mort.io', 'mortio.bz2',
    'mir-mortio', 'MORTIO.xen',
])
def test_every_way_to_name_an_image_is_known(folder: Path, file: str) -> None:
    commit = committed(folder, {
        'xen/latest': f'{A}\n'.encode(), f'xen/{A}/config.ml': b'', f'xen/{A}/{file}': ELF,
    })
    assert found(folder, commit) == (f'xen/{A}/{file}', '')


def test_a_renamed_image_is_taken_with_a_notice(folder: Path) -> None:
    """Twice a rename made the original deploy nothing, in silence."""
    commit = committed(folder, {
        'xen/latest': f'{A}\n'.encode(), f'xen/{A}/config.ml': b'', f'xen/{A}/www.xen.bz2': ELF,
        f'xen/{A}/fat1.img.bz2': b'disk',
    })
    assert found(folder, commit) == (
        f'xen/{A}/www.xen.bz2',
        f'xen/{A} holds no image named mort.io; took xen/{A}/www.xen.bz2',
    )


def test_the_only_executable_without_an_extension_is_an_image(folder: Path) -> None:
    commit = committed(
        folder,
        {'xen/latest': f'{A}\n'.encode(), f'xen/{A}/main': ELF, f'xen/{A}/notes': b'text'},
        {f'xen/{A}/notes': '100644'},
    )
    assert found(folder, commit)[0] == f'xen/{A}/main'


def test_a_folder_need_not_be_named_after_a_commit(folder: Path) -> None:
    commit = committed(folder, {'xen/latest': b'fosdem14', 'xen/fosdem14/mir-mortio.xen': ELF})
    assert found(folder, commit) == ('xen/fosdem14/mir-mortio.xen', '')


def test_a_pointer_may_name_the_image_itself(folder: Path) -> None:
    commit = committed(folder, {'latest': b'images/mortio.xen\n', 'images/mortio.xen': ELF})
    assert found(folder, commit, 'latest') == ('images/mortio.xen', '')


@pytest.mark.parametrize('content', [
    ELF, bz2.compress(ELF), gzip.compress(ELF), lzma.compress(ELF), b'(\xb5/\xfd...', b'#!/bin/sh'
], ids=['raw', 'bzip2', 'gzip', 'xz', 'zstd', 'script'])
def test_a_plain_path_needs_no_pointer(folder: Path, content: bytes) -> None:
    commit = committed(folder, {'www.img': content})
    assert found(folder, commit, 'www.img') == ('www.img', '')


def test_a_path_with_every_special_character_means_itself(folder: Path) -> None:
    path = ':(top)w*w[a]\\ é\n.xen'
    commit = committed(folder, {path: ELF, 'www.xen': ELF})
    assert found(folder, commit, path) == (path, '')


def test_the_target_chooses_among_images(folder: Path) -> None:
    commit = committed(folder, {
        'latest': b'one', 'one/mortio.xen': ELF, 'one/mortio.hvt': ELF, 'one/mortio': ELF,
    })
    assert found(folder, commit, 'latest', target='hvt') == ('one/mortio.hvt', '')
    with pytest.raises(errors.Refused) as refused:
        found(folder, commit, 'latest')
    assert str(refused.value) == 'one holds 3 images: mortio, mortio.hvt, mortio.xen'


def test_two_unikernels_share_a_release_folder(folder: Path) -> None:
    commit = committed(folder, {'latest': b'one', 'one/www.xen': ELF, 'one/dns.xen': ELF})
    assert found(folder, commit, 'latest', 'www') == ('one/www.xen', '')
    assert found(folder, commit, 'latest', 'dns') == ('one/dns.xen', '')


@pytest.mark.parametrize('options', [
    ('--filter=blob:none',), ('--filter=blob:none', '--sparse'), ('--filter=blob:none', '--bare'),
], ids=' '.join)
def test_a_partial_clone_fetches_the_pointer_and_one_image(
    deployment: Deployment, options: tuple[str, ...]
) -> None:
    """Three pointers, three images and one config.ml are there: of the seven blobs, two come."""
    for number, page in enumerate(('one', 'two', 'three')):
        deployment.publish(web(page) + b'#' * 100_000, str(number) * 40)
    git(deployment.folder, 'clone', '-q', '--no-checkout', *options, f'file://{deployment.hub}',
        str(deployment.host))
    git_dir = deployment.host if '--bare' in options else deployment.host / '.git'
    deployment.hooks(git_dir)
    assert missing(deployment.host) == 7
    assert deployment.mirage('deploy').returncode == 0
    assert deployment.page() == 'three'
    assert missing(deployment.host) == 5
    assert deployment.mirage('deploy').returncode == 0
    assert missing(deployment.host) == 5


def missing(repository: Path) -> int:
    """How many objects of all history the clone does not have."""
    listed = git(repository, 'rev-list', '--objects', '--missing=print', '--all')
    return sum(line.startswith('?') for line in listed.splitlines())


def test_an_image_that_a_partial_clone_cannot_get_is_an_outside_cause(
    deployment: Deployment,
) -> None:
    deployment.publish(web('one'), A)
    deployment.clone('--filter=blob:none', '--no-checkout')
    deployment.hub.rename(deployment.folder / 'away')
    done = deployment.mirage('deploy')
    assert done.returncode == 1
    pointer = git(deployment.site, 'rev-parse', 'HEAD:xen/latest')[:12]
    assert [line for line in done.stdout.splitlines() if line.startswith(('www', '  hint'))] == [
        f'www: REFUSED: git cannot read object {pointer}',
        '  hint: in a partial clone it comes from the remote: is that reachable? '
        '`git fsck` checks a whole one',
        'www: nothing runs',
    ]


@pytest.fixture
def serving(deployment: Deployment) -> Deployment:
    deployment.publish(bz2.compress(web('one')), A, name='mir-www.xen.bz2')
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    return deployment


def test_new_bytes_under_an_unchanged_pointer_are_deployed(serving: Deployment) -> None:
    serving.publish(bz2.compress(web('two')), A, name='mir-www.xen.bz2')
    serving.pull()
    assert serving.page() == 'two'


@pytest.mark.parametrize('name', ['mir-www.xen.bz2', 'www.xen.gz', 'www'])
def test_the_same_image_packed_anew_is_not_restarted(serving: Deployment, name: str) -> None:
    before = serving.processes()
    again = {'gz': gzip.compress, 'bz2': lambda image: bz2.compress(image, 1) + bz2.compress(b''),
             'www': bytes}[name.rpartition('.')[2]](web('one'))
    serving.publish(again, 'b' * 40, name=name)
    done = serving.pull()
    assert done.stderr.splitlines()[-1].endswith('runs, nothing to do')
    assert serving.processes() == before
    assert serving.current().path == f'xen/{"b" * 40}/{name}'


def test_the_same_image_clears_the_refusal_of_one_in_between(serving: Deployment) -> None:
    serving.publish(b'nonsense', 'b' * 40)
    serving.pull()
    serving.publish(gzip.compress(web('one')), 'c' * 40, name='www.xen.gz')
    serving.pull()
    assert serving.state().of('www').failure() is None


def test_a_large_image_that_is_refused_does_not_disturb_the_next(deployment: Deployment) -> None:
    """Both are read from one `git cat-file`: what is left of the first must not be taken for the
    second."""
    deployment.configure(f"""unpacked_limit: 1
unikernels:
  big: {{image: xen/latest}}
  www: {{image: xen/latest, network: {{mode: socket, port: {deployment.port}}}, confirm: 100ms}}
""")
    deployment.publish(b'#!/bin/sh\n' + bytes(range(256)) * 20_000, A, name='big', push=False)
    deployment.publish(web('one'), A)
    deployment.clone()
    done = deployment.mirage('deploy')
    assert [line for line in done.stdout.splitlines() if line.startswith(('big', 'www'))] == [
        f'big: REFUSED: xen/{A}/big has more than 1 MB', 'big: nothing runs',
        f'www: release 1 (unix, {len(web("one"))} bytes, commit '
        f'{git(deployment.site, "rev-parse", "HEAD")[:12]}) now runs',
    ]
    assert deployment.page() == 'one'


def test_an_image_that_was_lost_from_the_state_folder_is_put_back(serving: Deployment) -> None:
    (serving.state().of('www').folder(1) / 'image').unlink()
    assert serving.mirage('deploy').returncode == 0
    assert serving.page() == 'one'
    assert (serving.state().of('www').folder(serving.current().number) / 'image').exists()


def test_a_command_works_from_a_folder_of_the_work_tree(serving: Deployment) -> None:
    assert run(*serving.command('status', repository=Path()),
               cwd=serving.host / 'xen').returncode == 0
