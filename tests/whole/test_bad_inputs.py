"""Whatever a repository or configuration holds: it is refused by name, and what serves goes on."""

from __future__ import annotations

import bz2
import gzip
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import elf
from tests.deployment import Deployment, called, git, run, web

A, B = 'a' * 40, 'b' * 40
IMAGE = f'xen/{B}/www'
AGAIN = 'publish the image again'
GONE = 'publish again; older releases may have been removed from the repository'
PLAIN = 'commit a plain file in its place'

Make = Callable[[Path], None]


class Bad(NamedTuple):
    """What a site commits, and what the host says of it."""

    name: str
    make: Make
    reason: str
    hint: str = ''


def pointer(content: bytes) -> Make:
    def make(site: Path) -> None:
        (site / 'xen' / 'latest').write_bytes(content)

    return make


def image(content: bytes, name: str = 'www') -> Make:
    """A release folder with `content` as its only image."""
    return folder({name: content})


def folder(files: dict[str | bytes, bytes]) -> Make:
    def make(site: Path) -> None:
        made = site / 'xen' / B
        made.mkdir()
        for name, content in files.items():
            path = made / os.fsdecode(name)
            path.write_bytes(content)
            path.chmod(0o755)
        pointer(B.encode() + b'\n')(site)

    return make


def link(site: Path) -> None:
    (site / 'xen' / 'latest').unlink()
    (site / 'xen' / 'latest').symlink_to(f'{A}/www')


def linked_image(site: Path) -> None:
    folder({'config.ml': b''})(site)
    (site / IMAGE).symlink_to('/bin/sh')


def submodule(path: str) -> Make:
    def make(site: Path) -> None:
        pointer(B.encode() + b'\n')(site)
        commit = git(site, 'rev-parse', 'HEAD')
        git(site, 'update-index', '--add', '--cacheinfo', f'160000,{commit},{path}')

    return make


def removed(path: str) -> Make:
    return lambda site: (site / path).unlink()


def as_folder(path: str) -> Make:
    def make(site: Path) -> None:
        (site / path).unlink(missing_ok=True)
        (site / path).mkdir(parents=True)
        (site / path / 'file').write_text('inside\n')
        if path != 'xen/latest':
            pointer(B.encode() + b'\n')(site)

    return make


def no_plain_path(shown: str) -> str:
    return f"xen/latest is neither an image nor a pointer: '{shown}' is not a plain path"


LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:' + b'0' * 64 + b'\nsize 9\n'
LFS_HINT = 'commit the image itself: git keeps it small by deltas'
NO_PATH = 'xen/latest says {!r}, which is not a path inside the repository'
BOMB = bz2.compress(bytes(3 << 20))

BAD = (
    Bad('a pointer out of the repository', pointer(b'../../etc/passwd\n'),
        NO_PATH.format('../../etc/passwd')),
    Bad('a pointer up in its middle', pointer(b'x/../../../etc\n'),
        NO_PATH.format('x/../../../etc')),
    Bad('an absolute pointer', pointer(b'/etc/passwd\n'), NO_PATH.format('/etc/passwd')),
    Bad('a pointer to its own folder', pointer(b'.\n'), NO_PATH.format('.')),
    Bad('a pointer with an empty step', pointer(b'a//b\n'), NO_PATH.format('a//b')),
    Bad('a pointer that is a symbolic link', link, 'xen/latest is a symbolic link', PLAIN),
    Bad('a pointer with a NUL', pointer(b'aaa\0bbb\n'), no_plain_path('aaa\\x00bbb')),
    Bad('a pointer of 10 MB', pointer(b'a' * 10_000_000),
        'xen/latest is neither an image nor a pointer: longer than 4096 bytes'),
    Bad('a pointer that is not UTF-8', pointer(b'caf\xe9\n'),
        'xen/latest is neither an image nor a pointer: not plain text'),
    Bad('a pointer in Unicode', pointer('release-\u202egnp\n'.encode()),
        'xen/latest is neither an image nor a pointer: not plain text'),
    Bad('a pointer of two lines', pointer(f'{A}\n{B}\n'.encode()),
        'xen/latest is neither an image nor a pointer: 2 lines, one wanted'),
    Bad('an empty pointer', pointer(b''), 'xen/latest is empty', AGAIN),
    Bad('a blank pointer', pointer(b'\n'),
        'xen/latest is neither an image nor a pointer: it is blank'),
    Bad('a pointer with a carriage return', pointer(B.encode() + b'\r\n'),
        no_plain_path(B + '\\r')),
    Bad('a pointer that colours the terminal', pointer(b'\x1b[2J\x1b]0;title\x07\n'),
        no_plain_path('\\x1b[2J\\x1b]0;title\\x07')),
    Bad('a pointer for a shell', pointer(b'$(reboot);`reboot`|x\n'),
        no_plain_path('$(reboot);`reboot`|x')),
    Bad('a pointer that looks like an option', pointer(b'--help\n'),
        'xen/latest points to xen/--help, which commit COMMIT does not have',
        'publish again: pointer and image belong into one commit'),
    Bad('a pointer with a glob', pointer(b'*\n'), no_plain_path('*')),
    Bad('a pointer of 4000 characters', pointer(b'a' * 4000),
        f'xen/latest points to {("xen/" + "a" * 4000)[:200]}…, which commit COMMIT does not have',
        'publish again: pointer and image belong into one commit'),
    Bad('a pointer to nothing', pointer(B.encode() + b'\n'),
        f'xen/latest points to xen/{B}, which commit COMMIT does not have',
        'publish again: pointer and image belong into one commit'),
    Bad('a pointer to itself', pointer(b'latest\n'),
        'xen/latest is not an image: it is neither an ELF file nor a script',
        'publish what `mirage build` made'),
    Bad('no pointer', removed('xen/latest'), 'commit COMMIT has no xen/latest',
        'publish an image, or fix `image:`'),
    Bad('a pointer that is a folder', as_folder('xen/latest'), 'xen/latest is a folder',
        'name the pointer file or the image in it'),
    Bad('a pointer that is an LFS pointer', pointer(LFS),
        'xen/latest is a Git LFS pointer, not an image', LFS_HINT),
    Bad('a folder that lost its image', folder({'config.ml': b'let () = ()\n'}),
        f'xen/{B} holds no image, only config.ml', GONE),
    Bad('a folder of two images', folder({'one.xen': b'\x7fELF', 'two.xen.bz2': b'BZh'}),
        f'xen/{B} holds 2 images: one.xen, two.xen.bz2',
        'name one with `image:`, or set `target:`, in mirage.yml'),
    Bad('images whose names colour the terminal',
        folder({'\x1b[31mred\n.xen': b'\x7fELF', '\u202egnp.xen': b'\x7fELF'}),
        f'xen/{B} holds 2 images: \\x1b[31mred\\x0a.xen, \\u202egnp.xen',
        'name one with `image:`, or set `target:`, in mirage.yml'),
    Bad('files whose names are not UTF-8', folder({b'caf\xe9.txt': b'', 'ls;reboot.md': b''}),
        f'xen/{B} holds no image, only caf\\xe9.txt, ls;reboot.md', GONE),
    Bad('an image whose name is not UTF-8', image(b'nonsense', os.fsdecode(b'caf\xe9')),
        f'xen/{B}/caf\\xe9 is not an image: it is neither an ELF file nor a script',
        'publish what `mirage build` made'),
    Bad('an image that is a symbolic link', linked_image, f'{IMAGE} is a symbolic link', PLAIN),
    Bad('a submodule as release folder', submodule(f'xen/{B}'), f'xen/{B} is a submodule', PLAIN),
    Bad('a submodule as image', submodule(IMAGE), f'xen/{B} holds no image, only www', GONE),
    Bad('a folder as image', as_folder(IMAGE), f'xen/{B} holds no image, only www', GONE),
    Bad('an empty image', image(b''), f'{IMAGE} is empty', AGAIN),
    Bad('an image that is an LFS pointer', image(LFS),
        f'{IMAGE} is a Git LFS pointer, not an image', LFS_HINT),
    Bad('a text', image(b'hello\n'),
        f'{IMAGE} is not an image: it is neither an ELF file nor a script',
        'publish what `mirage build` made'),
    Bad('a truncated ELF file', image(elf.write(elf.CODE)[:70]),
        f'{IMAGE} is a truncated ELF file: its program headers should end at byte 120 of 70',
        'build and publish the image again'),
    Bad('an object file', image(elf.write(elf.CODE, type=elf.ET_REL)),
        f'{IMAGE} is not an image: it is an object file'),
    Bad('a core dump', image(elf.write(elf.CODE, type=elf.ET_CORE)),
        f'{IMAGE} is not an image: it is a core dump'),
    Bad('an image for a target that is not launched', image(elf.solo5(4)),
        'the image is built for muen, which mirage-hooks does not launch',
        'build it for one of unix, spt, hvt, virtio, xen'),
    Bad('a broken bzip2 archive', image(b'BZh9nonsense', 'www.xen.bz2'),
        f'{IMAGE}.xen.bz2 is a broken bzip2 archive: Invalid data stream'),
    Bad('a truncated gzip archive', image(gzip.compress(b'#!/bin/sh\n')[:-4], 'www.xen.gz'),
        f'{IMAGE}.xen.gz is a truncated gzip archive'),
    Bad('an archive that goes on', image(gzip.compress(b'#!/bin/sh\n') + b'more', 'www.xen.gz'),
        f'{IMAGE}.xen.gz goes on after the end of its gzip archive'),
    Bad('an archive of nothing', image(bz2.compress(b''), 'www.xen.bz2'),
        f'{IMAGE}.xen.bz2 is a bzip2 archive of nothing'),
    Bad('an archive in an archive', image(bz2.compress(gzip.compress(b'x')), 'www.xen.bz2'),
        f'{IMAGE}.xen.bz2 is a gzip archive inside a bzip2 archive'),
    Bad('a decompression bomb', image(BOMB, 'www.xen.bz2'),
        f'{IMAGE}.xen.bz2 unpacks to more than 2 MB',
        'raise `unpacked_limit` in mirage.yml if this is a real image'),
    Bad('a raw image that is too large', image(b'#!/bin/sh\n' + bytes(3 << 20)),
        f'{IMAGE} has more than 2 MB',
        'raise `unpacked_limit` in mirage.yml if this is a real image'),
    Bad('a script of an interpreter that this host lacks', image(b'#!/nonexistent/sh\n'),
        f'{IMAGE} wants the interpreter /nonexistent/sh, which this host does not have'),
    Bad('a script without an interpreter', image(b'#!sh\n'),
        f'{IMAGE} is not an image: its first line names no interpreter by its full path',
        'begin it with a line such as #!/bin/sh, below 256 bytes and ended as Unix does'),
    Bad('an image that ends at once', image(b'#!/bin/sh\nexit 1\n'),
        'it ended with exit code 1'),
    Bad('an image that ends well', image(b'#!/bin/sh\nexit 0\n'),
        'it ended with exit code 0'),
    Bad('an image that kills itself',
        image(b'#!/bin/sh\nkill -SEGV $$\n'),
        'it ended with exit code 139: memory fault'),
    Bad('an image that does not listen', image(b'#!/bin/sh\nexec sleep 60\n'),
        'it did not listen on port PORT within 5s'),
    Bad('an image that serves the wrong thing', image(web('two')),
        "http://127.0.0.1:PORT/ answered without 'one' within 5s"),
)


@pytest.fixture
def serving(shared: Deployment) -> Iterator[Deployment]:
    """The module's deployment, taken back afterwards to the good commit that it serves."""
    shared.configure(
        unpacked_limit=2, target=None,
        health=[{'tcp': f'127.0.0.1:{shared.port}', 'within': '5s'},
                {'http': f'http://127.0.0.1:{shared.port}/', 'contains': 'one', 'within': '5s'}],
    )
    good = git(shared.site, 'rev-parse', 'HEAD')
    yield shared
    git(shared.site, 'reset', '-q', '--hard', good)
    git(shared.site, 'clean', '-qfdx')
    git(shared.site, 'push', '-q', '-f', 'origin', 'HEAD:master')
    git(shared.host, 'fetch', '-q')
    git(shared.host, 'checkout', '-q', '-B', 'master', 'origin/master')


def told(text: str) -> list[str]:
    """What the host said but for the steps and the console."""
    left_out = r' +[0-9.]+ s  |    \| |  its console: mirage-hooks logs www --failed$'
    return [line for line in text.splitlines() if not re.match(left_out, line)]


@pytest.mark.parametrize('bad', BAD, ids=lambda bad: bad.name.replace(' ', '-'))
def test_a_bad_commit_is_refused_by_name(
    serving: Deployment, bad: Bad
) -> None:
    good = git(serving.site, 'rev-parse', 'HEAD')
    bad.make(serving.site)
    if 'submodule' not in bad.name:
        git(serving.site, 'add', '-A')
    else:
        git(serving.site, 'add', 'xen/latest')
    git(serving.site, 'commit', '-q', '-m', bad.name)
    git(serving.site, 'push', '-q', 'origin', 'HEAD:master')
    before = serving.processes()
    said = serving.pull().stderr
    commit = git(serving.site, 'rev-parse', 'HEAD')[:12]
    lines = [line.replace(str(serving.port), 'PORT') for line in told(said)]
    assert '\n'.join(lines) == '\n'.join([
        f'www: REFUSED: {bad.reason.replace("COMMIT", commit)}',
        *([f'  hint: {bad.hint}'] if bad.hint else []),
        f'www: {called(1, web("one"), good)} goes on running',
    ])
    assert said.isprintable() or set(said) - {'\n'} == {c for c in said if c.isprintable()}
    assert serving.page() == 'one'
    assert serving.processes() == before


YAML = (
    ('', '1:1: the file is empty: it takes a mapping, such as '
     '{unikernels: {www: {image: xen/latest}}}'),
    ('- www\n', '1:1: the file is a list: it takes a mapping, such as '
     '{unikernels: {www: {image: xen/latest}}}'),
    ('unikernels: {www: {image: a}, www: {image: b}}\n',
     '1:31: www stands twice, first in line 1: keep one of them'),
    ('unikernels:\n\twww: {}\n',
     '2:1: a tab: mirage.yml is indented by spaces, such as two for each level'),
    ('unikernels: {www: {image: a, memory: lots, keep: 0}}\n',
     "1:38: www.memory is 'lots': it takes a whole number from 1 to 1048576, such as 128"),
    ('unikernels: {www: {image: a, memorry: 1}}\n',
     '1:30: www.memorry is unknown: did you mean memory?'),
    ('unikernels: {www: !!python/object/apply:os.system ["touch /tmp/no"]}\n',
     '1:19: www has the tag !!python/object/apply:os.system, which means nothing here: leave it '
     'out, and put text in quotes, such as "text"'),
    ('a: &a [1]\n---\nb: 2\n',
     '2:1: a second document begins here: mirage.yml is one, without --- between its lines'),
)


@pytest.mark.parametrize(('text', 'reason'), YAML, ids=range(len(YAML)))
def test_a_bad_mirage_yml_is_refused_and_the_old_release_answers(
    serving: Deployment, text: str, reason: str
) -> None:
    """Every wrong key and its message is in test_config."""
    good = git(serving.site, 'rev-parse', 'HEAD')
    serving.config.write_text(text)
    done = serving.mirage('pull', '--quiet')
    assert done.returncode == 1
    said = [line for line in done.stdout.splitlines() if line.startswith('www: ')]
    assert said[0] == f'www: REFUSED: {serving.config}:{reason}'
    more = f'  hint: more is wrong in it: mirage-hooks check {serving.config}'
    assert (more in done.stdout.splitlines()) == ('keep: 0' in text)
    assert said[-1] == f'www: {called(1, web("one"), good)} goes on running'
    assert serving.page() == 'one'
    again = serving.mirage('pull', '--quiet')
    assert (again.returncode, again.stdout) == (1, '')  # told once


def refused(done: subprocess.CompletedProcess[str], *lines: str) -> None:
    """Assert that a command ended with 1 and said exactly `lines`."""
    assert (done.returncode, told(done.stdout) + told(done.stderr)) == (1, list(lines))


def goes_on(deployment: Deployment) -> str:
    good = git(deployment.site, 'rev-parse', 'HEAD')
    return f'www: {called(1, web("one"), good)} goes on running'


def test_a_missing_branch_is_refused(serving: Deployment) -> None:
    serving.configure(branch='live')
    refused(
        serving.mirage('deploy'),
        f'www: REFUSED: {serving.host} has no branch live; it has master',
        '  hint: push it, or name another in mirage.yml: branch: …',
        goes_on(serving),
    )
    assert serving.page() == 'one'


def test_a_detached_head_is_refused_when_no_branch_is_named(serving: Deployment) -> None:
    git(serving.host, 'checkout', '-q', '--detach')
    refused(
        serving.mirage('deploy'),
        f'www: REFUSED: {serving.host} is on no branch (detached HEAD)',
        '  hint: name the branch to deploy in mirage.yml: branch: master',
        goes_on(serving),
    )
    assert serving.page() == 'one'


@pytest.mark.parametrize(('named', 'reason', 'hint'), [
    ('/nonexistent/mirage.yml', 'cannot read /nonexistent/mirage.yml: No such file or directory',
     'git config mirage.config names that file: write it, or name another: git config '
     'mirage.config /path/mirage.yml'),
    ('/', 'cannot read /: Is a directory',
     'git config mirage.config names that file: write it, or name another: git config '
     'mirage.config /path/mirage.yml'),
    ('', 'HOST has no mirage.yml yet',
     'is this the deployment repository? Another is named with -C; if it is: '
     'mirage-hooks install REPOSITORY'),
])
def test_a_mirage_config_that_names_no_file_is_refused(
    serving: Deployment, named: str, reason: str, hint: str
) -> None:
    git(serving.host, 'config', 'mirage.config', named)
    try:
        refused(
            serving.mirage('deploy'),
            f'mirage-hooks: {reason.replace("HOST", str(serving.host))}', f'  hint: {hint}',
        )
        assert serving.page() == 'one'
    finally:
        git(serving.host, 'config', 'mirage.config', str(serving.config))


def test_a_stale_index_lock_is_refused_by_the_pull_and_named_by_check(
    serving: Deployment,
) -> None:
    (serving.site / 'README').write_text('new\n')
    serving.commit('document')
    lock = serving.host / '.git' / 'index.lock'
    lock.touch()
    try:
        refused(
            serving.mirage('pull', '--quiet'),
            f"mirage-hooks: git: Unable to create '{lock}': File exists",
            f'  hint: if no git runs in {serving.host}, one that was killed left it: rm {lock}',
        )
        assert serving.page() == 'one'
        assert serving.mirage('check').stdout.splitlines()[:2] == [
            f'PROBLEM  git: {lock} is there: git pull refuses to work next to it',
            f'         hint: if no git runs here, it was left by one that was killed: rm {lock}',
        ]
    finally:
        lock.unlink()


def test_an_unreachable_remote_is_refused_and_what_is_here_still_converged(
    serving: Deployment,
) -> None:
    git(serving.host, 'remote', 'set-url', 'origin', '/nonexistent/hub.git')
    try:
        refused(
            serving.mirage('pull', '--quiet'),
            "mirage-hooks: git: '/nonexistent/hub.git' does not appear to be a git repository",
        )
        assert serving.page() == 'one'
    finally:
        git(serving.host, 'remote', 'set-url', 'origin', f'file://{serving.hub}')


def test_an_empty_repository_is_refused(deployment: Deployment) -> None:
    deployment.hooks(deployment.hub)
    refused(
        deployment.mirage('deploy', repository=deployment.hub),
        f'www: REFUSED: {deployment.hub} has no branch master; it is empty',
        '  hint: push it, or name another in mirage.yml: branch: …', 'www: nothing runs',
    )


def test_a_repository_with_sha256_names_is_refused(deployment: Deployment) -> None:
    git(deployment.folder, 'init', '-q', '--object-format=sha256', str(deployment.host))
    git(deployment.host, 'commit', '-q', '--allow-empty', '-m', 'empty')
    git(deployment.host, 'config', 'mirage.config', str(deployment.config))
    refused(
        deployment.mirage('deploy'),
        f'www: REFUSED: {deployment.host} names its objects by SHA-256, which cannot be read yet',
        '  hint: make it anew with git init --object-format=sha1', 'www: nothing runs',
    )


def test_a_folder_that_is_no_repository_is_refused(deployment: Deployment) -> None:
    refused(
        deployment.mirage('status', repository=deployment.folder),
        f'mirage-hooks: {deployment.folder} is not a git repository',
        '  hint: give a clone or a bare repository with -C',
    )
    refused(
        deployment.mirage('status', repository=deployment.folder / 'no'),
        f'mirage-hooks: {deployment.folder / "no"} does not exist',
    )


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, to give a repository away')
def test_a_repository_of_another_owner_is_left_to_its_owner(
    serving: Deployment,
) -> None:
    os.chown(serving.host, 65534, 65534)
    os.chown(serving.host / '.git', 65534, 65534)
    try:
        refused(
            serving.mirage('deploy'),
            f'mirage-hooks: git refuses {serving.host}: it belongs to another user, nobody',
            "  hint: run this as its owner: sudo -u nobody …; git's own way out, safe.directory, "
            'would run as root whatever nobody writes into its configuration and hooks',
        )
        assert serving.page() == 'one'
    finally:
        os.chown(serving.host, 0, 0)
        os.chown(serving.host / '.git', 0, 0)


@pytest.fixture
def of_nobody(serving: Deployment) -> Iterator[Deployment]:
    """One whose repository belongs to another user, and whose release died."""
    if os.geteuid() != 0:
        pytest.skip('needs root, to give a repository away')
    serving.crash()
    for path in (serving.host, serving.host / '.git'):
        os.chown(path, 65534, 65534)
    yield serving
    for path in (serving.host, serving.host / '.git'):
        os.chown(path, 0, 0)
    assert serving.mirage('deploy').returncode == 0


@pytest.mark.parametrize('known', [False, True])
def test_nothing_is_started_in_a_repository_of_another_owner(
    of_nobody: Deployment, home: Path, known: bool
) -> None:
    serving = of_nobody
    if known:  # by the operator's own configuration, which git reads in any case
        with (home / '.gitconfig').open('a') as file:
            file.write(f'[mirage]\n\tconfig = {serving.config}\n')
    before = serving.history()
    for command in (('pull', '--quiet'), ('pull',), ('deploy',), ('stop', 'www'),
                    ('rollback', 'www', '1'), ('trust', '--forget')):
        refused(
            serving.mirage(*command),
            f'mirage-hooks: git refuses {serving.host}: it belongs to another user, nobody',
            "  hint: run this as its owner: sudo -u nobody …; git's own way out, safe.directory, "
            'would run as root whatever nobody writes into its configuration and hooks',
        )
    assert (serving.page(), serving.history()) == ('', before)


def test_a_state_folder_that_may_not_be_written_is_refused(serving: Deployment) -> None:
    state = serving.host / '.git' / 'mirage-hooks'
    without = ('setpriv', '--bounding-set=-dac_override', '--inh-caps=-dac_override', '--')
    (state / 'lock').chmod(0o444)
    state.chmod(0o555)
    try:
        refused(
            run(*(without if os.geteuid() == 0 else ()), *serving.command('deploy'),
                cwd=serving.folder),
            f'mirage-hooks: cannot write {state / "lock"}: Permission denied',
            '  hint: the state belongs to another user: run this as the one who installed',
        )
        assert serving.page() == 'one'
    finally:
        state.chmod(0o755)
        (state / 'lock').chmod(0o644)


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root, to mount a small disk')
def test_a_full_disk_is_refused_and_the_old_release_answers(serving: Deployment) -> None:
    """The state folder is moved to a disk of 128 KiB, mounted for this command alone, and the
    image that comes has more."""
    state = serving.host / '.git' / 'mirage-hooks'
    good = git(serving.site, 'rev-parse', 'HEAD')
    serving.publish(web('two') + b'#' * 200_000, B, push=False)
    git(serving.host, 'fetch', '-q', str(serving.site), '+HEAD:refs/heads/next')
    serving.configure(branch='next')
    script = (
        'set -e; cp -a "$0" /mnt/kept; mount -t tmpfs -o size=128k,mode=755 none "$0"; '
        'cp -a /mnt/kept/. "$0"; cat /dev/zero >"$0/filler" 2>/dev/null || true; exec "$@"'
    )
    done = run(
        'unshare', '--mount', '--', 'sh', '-c', f'mount -t tmpfs none /mnt; {script}', str(state),
        *serving.command('deploy'), cwd=serving.folder,
    )
    numbers = re.search(r'releases/([0-9]+)/', done.stdout)
    assert numbers, done
    new = state / 'unikernels/www/releases' / numbers[1]
    refused(
        done,
        f'www: REFUSED: cannot write {new}/image: No space left on device',
        f'www: {called(1, web("one"), good)} goes on running',
    )
    assert serving.page() == 'one'


def test_there_are_at_least_forty_of_them() -> None:
    assert len({bad.name for bad in BAD}) == len(BAD) >= 40
