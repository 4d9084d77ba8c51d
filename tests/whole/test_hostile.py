"""A repository full of tricks: nothing of it is executed but the image, nothing is printed raw, and
whatever is refused leaves the old release serving. Shown by every exec of a push and a pull."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deployment import Deployment, free_port, git, run, web
from tests.traced import Executed, lacking, traced

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or 'nothing')

PLAIN, PROGRAM, LINK, MODULE = '100644', '100755', '120000', '160000'
Files = dict[bytes, tuple[str, bytes]]  # by path: mode, content

NEXT = 'b' * 40
TOUCH = b'touch PWNED'  # PWNED becomes a file in the test's folder that nobody may make
ESCAPES = b'\x1b[2J\x1b]0;owned\x07\x1b[31m\x9b1A'
BIDI = '\u202egnp.\u2066\u200f\ufeff'.encode()
TRICKS = (
    b'$(TOUCH)', b'`TOUCH`', b';TOUCH;', b'|TOUCH', b'\nTOUCH\n', b"'; TOUCH; '", b'-rf', b'--help',
    b'&anchor *alias', b'!!python%object%apply:os.system ["TOUCH"]', b'"\'\\x41',
    b"kernel='%bin%sh'",     ESCAPES, BIDI, b'caf\xe9', b'\xff\xfe', b' ', b'%s%n', b'a' * 200,
)


def trick(text: bytes, folder: Path) -> bytes:
    """`text` with PWNED as a path in it; % stands for a slash in a file's name, which has none."""
    return text.replace(b'TOUCH', TOUCH).replace(b'PWNED', bytes(folder / 'pwned'))


class Hostile(NamedTuple):
    """What is committed next to the good image and pointer, or in their place; and what both hosts
    say of it, '' when they serve the new image."""

    name: str
    files: Callable[[Path], Files]
    reason: str = ''
    message: bytes = b'message'


def good() -> Files:
    """A release of page two, and the pointer to it."""
    return {b'xen/latest': (PLAIN, NEXT.encode()),
            f'xen/{NEXT}/www'.encode(): (PROGRAM, web('two'))}


def named(folder: Path) -> Files:
    """Files and folders with every trick in their names, around the image too."""
    names = [trick(name, folder).replace(b'/', b'%') for name in TRICKS]
    return {
        **good(), **{name + b'.md': (PROGRAM, b'#!/bin/sh\n' + trick(TOUCH, folder))
                     for name in names},
        **{name + b'/file': (PLAIN, b'') for name in names},
        **{f'xen/{NEXT}/'.encode() + name + b'.txt': (PROGRAM, b'') for name in names},
    }


def configured(folder: Path) -> Files:
    """What git, Python, pre-commit, we or a shell would take for orders elsewhere."""
    script = trick(b'#!/bin/sh\nTOUCH\n', folder)
    module = trick(b'import os; os.system("TOUCH")\n', folder)
    programs = (b'git', b'xl', b'ip', b'nft', b'python3', b'sh', b'hooks/post-merge',
                b'hooks/post-receive', b'hooks/post-checkout', b'.githooks/post-merge',
                b'post-receive', b'configure')
    modules = (b'sitecustomize.py', b'git.py', b'yaml.py', b'sh.py', b'mirage_hooks/__init__.py',
               b'mirage_hooks.py', b'usercustomize.py')
    return {
        **good(), **dict.fromkeys(programs, (PROGRAM, script)),
        **dict.fromkeys(modules, (PLAIN, module)),
        b'.gitattributes': (PLAIN, b'* filter=evil diff=evil merge=evil ident text eol=crlf\n'
                            b'xen/** export-subst working-tree-encoding=UTF-16\n'),
        b'.gitconfig': (PLAIN, trick(b'[filter "evil"]\n\tsmudge = TOUCH\n[diff "evil"]\n'
                                     b'\ttextconv = TOUCH\n[core]\n\tfsmonitor = TOUCH\n', folder)),
        b'.gitmodules': (PLAIN, trick(b'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c TOUCH\n'
                                      b'\tupdate = !TOUCH\n', folder)),
        b'x': (MODULE, b''),
        b'mirage.yml': (PLAIN, trick(b'unikernels: {www: {image: xen/latest, tender: "TOUCH"}}\n',
                                     folder)),
        b'.pre-commit-config.yaml': (PLAIN, trick(
            b'repos: [{repo: local, hooks: [{id: x, entry: TOUCH, language: system}]}]\n', folder)),
        b'etc': (LINK, b'/etc'), b'up': (LINK, b'../../../../..'),
        f'xen/{NEXT}/config.ml'.encode(): (LINK, b'/etc/shadow'),
    }


def around(**files: tuple[str, bytes]) -> Callable[[Path], Files]:
    """The good release with `files` in it (`pointer` is xen/latest, `image` the image)."""
    def made(folder: Path) -> Files:
        found = good()
        for name, (mode, content) in files.items():
            path = {'pointer': b'xen/latest', 'image': f'xen/{NEXT}/www'.encode()}[name]
            found[path] = (mode, trick(content, folder))
        return found

    return made


def only(name: bytes, content: bytes = b'\x7fELF') -> Callable[[Path], Files]:
    """A release folder with one file of this name."""
    return lambda folder: {
        b'xen/latest': (PLAIN, NEXT.encode()),
        f'xen/{NEXT}/'.encode() + trick(name, folder).replace(b'/', b'%'): (PROGRAM, content),
    }


def many(folder: Path) -> Files:
    return {b'xen/latest': (PLAIN, NEXT.encode()),
            **{f'xen/{NEXT}/{number:05}.txt'.encode(): (PLAIN, b'') for number in range(10_000)}}


MESSAGE = ESCAPES + BIDI + b'\n\n$(TOUCH) `TOUCH`\n\ngpgsig x\n- !!python/object/apply:os.system\n'
NOT_PLAIN = 'xen/latest is neither an image nor a pointer: '
SHORT = f'xen/{NEXT}'
HOSTILE = (
    Hostile('a message and files of tricks', named, message=MESSAGE),
    Hostile('orders for git, Python and us', configured),
    Hostile('a pointer for a shell', around(pointer=(PLAIN, b'$(TOUCH)')), NOT_PLAIN),
    Hostile('a pointer for a terminal', around(pointer=(PLAIN, ESCAPES)), NOT_PLAIN),
    Hostile('a pointer for xl', around(pointer=(PLAIN, b"x'\nkernel='/bin/sh")), NOT_PLAIN),
    Hostile('a pointer out of the tree', around(pointer=(LINK, b'/etc/passwd')),
            'xen/latest is a symbolic link'),
    Hostile('a script without an interpreter', around(image=(PROGRAM, b'TOUCH\n')),
            f'{SHORT}/www is not an image: it is neither an ELF file nor a script'),
    Hostile('a script of a relative interpreter', around(image=(PROGRAM, b'#!git TOUCH\n')),
            f'{SHORT}/www is not an image: its first line names no interpreter by its full path'),
    Hostile('an image out of the tree', around(image=(LINK, b'/bin/sh')),
            f'{SHORT}/www is a symbolic link'),
    Hostile('an ELF file of tricks', only(b'www;$(TOUCH)' + ESCAPES + b'.xen'),
            f'{SHORT}/www;$(touch '),
    Hostile('an image of a very long name', only(b'x' * 5000 + b'.xen', b'nonsense'),
            f'{SHORT}/{"x" * 100}'),
    Hostile('a folder named .git', lambda folder: {
        **around(pointer=(PLAIN, b'nowhere'))(folder),
        b'.git/hooks/post-merge': (PROGRAM, trick(b'#!/bin/sh\nTOUCH\n', folder)),
        b'.GIT/config': (PLAIN, trick(b'[core]\n\tfsmonitor = TOUCH\n', folder)),
        b'..': (PLAIN, b''), b'git~1/hooks/post-merge': (PROGRAM, b''),
    }, 'xen/latest points to xen/nowhere, which commit '),
    Hostile('a folder of ten thousand files', many,
            f'{SHORT} holds no image, only 00000.txt, 00001.txt, '),
)

QUICK = ('a message and files of tricks', 'orders for git, Python and us', 'a pointer for a shell',
         'an image out of the tree', 'a folder named .git')
"""Those that are tried in every run; the others are `long`."""


class Scene(NamedTuple):
    """One site and two hosts: the hub, which is pushed to, and a clone, which pulls from it."""

    made: Deployment
    pulled: int
    """The clone's port; the hub has the deployment's."""

    def pages(self) -> tuple[str, str]:
        return self.made.page(), self.made.page(self.pulled)

    def running(self) -> list[Path]:
        """The images that run: the hub's, then the clone's."""
        return [mark / 'image' for git_dir in (self.made.hub, self.made.host / '.git')
                for mark, _ in self.made.processes(git_dir)]


@pytest.fixture(scope='module')
def scene(shared: Deployment) -> Iterator[Scene]:
    pulled = shared.port
    clone = shared.folder / 'clone.yml'
    shutil.copy(shared.config, clone)
    git(shared.host, 'config', 'mirage.config', str(clone))
    shared.port = free_port()
    shared.configure()
    shared.hooks(shared.hub)
    assert shared.mirage('deploy', repository=shared.hub).returncode == 0
    yield Scene(shared, pulled)


@pytest.fixture
def serving(scene: Scene) -> Iterator[Scene]:
    """Both hosts serve page one before each test, whatever the one before brought."""
    made = scene.made
    first = git(made.site, 'rev-parse', 'HEAD')
    assert scene.pages() == ('one', 'one')
    yield scene
    for reference in git(made.hub, 'for-each-ref', '--format=%(refname)').splitlines():
        if reference != 'refs/heads/master':
            git(made.hub, 'update-ref', '-d', reference)
    git(made.hub, 'update-ref', 'refs/heads/master', first)
    done = made.mirage('deploy', repository=made.hub)
    assert done.returncode == 0, done.stdout
    git(made.host, 'fetch', '-q', '--force', '--prune', '--no-recurse-submodules', 'origin')
    git(made.host, 'checkout', '-q', '--force', '-B', 'master', 'origin/master')
    done = made.mirage('deploy')
    assert done.returncode == 0, done.stdout


def committed(site: Path, files: Files, message: bytes) -> str:
    """A commit of `files` on top of the site's: made from trees, which may hold any name."""
    tree = _tree(site, files)
    return _told(site, 'commit-tree', '-p', 'HEAD', tree, stdin=message.replace(b'TOUCH', TOUCH))


def _tree(site: Path, files: Files) -> str:
    here = {path: file for path, file in files.items() if b'/' not in path}
    below: dict[bytes, Files] = {}
    for path, file in files.items():
        if b'/' in path:
            name, _, rest = path.partition(b'/')
            below.setdefault(name, {})[rest] = file
    stored: dict[bytes, str] = {}
    for mode, content in here.values():
        if content not in stored and mode != MODULE:
            stored[content] = _told(site, 'hash-object', '-w', '--stdin', stdin=content)
    stored[b''] = stored.get(b'', '') or _told(site, 'hash-object', '-w', '--stdin', stdin=b'')
    head = git(site, 'rev-parse', 'HEAD')
    lines = [f'{mode} {"commit" if mode == MODULE else "blob"} '
             f'{head if mode == MODULE else stored[content]}\t'.encode() + path
             for path, (mode, content) in here.items()]
    lines += [f'040000 tree {_tree(site, inner)}\t'.encode() + name
              for name, inner in below.items()]
    return _told(site, 'mktree', '-z', stdin=b''.join(line + b'\0' for line in lines))


def _told(site: Path, *arguments: str, stdin: bytes) -> str:
    done = subprocess.run(('git', *arguments), cwd=site, input=stdin, capture_output=True,
                          check=True)
    return done.stdout.decode().strip()


WALLS = ('/usr/bin/bwrap', '/usr/bin/setpriv', '/usr/bin/prlimit')
"""What every image is walled in by, before it is executed itself."""


def allowed(one: Executed, images: list[Path], hub: Path) -> bool:
    """Whether this may run: git, our hooks, Python, the walls, a release's image."""
    path = Path(one.path)
    if path.name in ('sh', 'dash', 'bash'):  # git itself, to reach a repository by its path
        return one.arguments in [('-c', f"git-{way}-pack '{hub}'", f"git-{way}-pack '{hub}'")
                                 for way in ('receive', 'upload')]
    if path.is_relative_to('/usr') and re.fullmatch(r'git(-(receive|upload)-pack)?', path.name):
        return True
    if one.path in WALLS:
        return not any('touch' in word for word in one.arguments)
    if one == Executed('/usr/bin/true', ()):  # whether bubblewrap works at all
        return True
    hooks = [folder / name for folder in (hub / 'hooks', hub.parent / 'host/.git/hooks',
                                          Path('hooks'), Path('.git/hooks'))
             for name in ('pre-receive', 'post-receive', 'post-merge')]
    python = (Path(sys.executable), Path(sys.executable).resolve())
    return path in (*hooks, *python) or path in (*images, Path('/image'))


def ours(said: str) -> str:
    """What the hook said, without what git itself did."""
    lines = [line.removeprefix('remote: ') for line in said.split('\n')]
    return '\n'.join(line for line in lines
                     if not re.match(r'(error|fatal|warning|hint|Aborting|Please|Updating)', line))


def assert_harmless(text: str) -> None:
    """A terminal would obey nothing in `text`, and a person could read it all."""
    assert [character for character in text if character != '\n' and not character.isprintable()] \
        == []
    assert max(map(len, text.split('\n'))) < 12_000


def asked(scene: Scene) -> str:
    """What can be asked of the hosts: half of it of each, for both keep the same."""
    questions = {scene.made.hub: ('status', 'history', 'logs www', 'deploy'),
                 scene.made.host: ('logs www --failed', 'deploy --dry-run', 'pull --quiet')}
    return ''.join(
        done.stdout + done.stderr for repository, commands in questions.items()
        for command in commands
        for done in (scene.made.mirage(*command.split(), repository=repository),)
    )


@pytest.mark.parametrize('hostile', [
    pytest.param(hostile, marks=[] if hostile.name in QUICK else pytest.mark.long,
                 id=hostile.name.replace(' ', '-'))
    for hostile in HOSTILE
])
def test_nothing_but_the_image_is_executed_and_nothing_is_printed_raw(
    serving: Scene, hostile: Hostile
) -> None:
    made = serving.made
    before = serving.running()
    commit = committed(made.site, hostile.files(made.folder), hostile.message)
    pushed, by_push = traced(
        'git', 'push', '-q', str(made.hub), f'+{commit}:refs/heads/master', cwd=made.site)
    pulled, by_pull = traced('git', 'pull', '-q', cwd=made.host)
    git_took_it = git(made.host, 'rev-parse', 'HEAD') == commit
    after = serving.running()
    images = [*before, *after, *(one.parent.parent / str(int(one.parent.name) + 1) / 'image'
                                 for one in before)]
    assert [one for one in by_push + by_pull if not allowed(one, images, made.hub)] == []
    assert not (made.folder / 'pwned').exists()
    for said in (ours(pushed.stderr), ours(pulled.stderr) if git_took_it else ''):
        assert_harmless(said)
        if said and hostile.reason:
            assert f'www: REFUSED: {hostile.reason}' in said
    assert pushed.returncode == 0, pushed.stderr
    if hostile.reason:
        assert serving.pages() == ('one', 'one')
        assert after == before
    else:
        assert serving.pages() == ('two', 'two')
    assert_harmless(asked(serving))
    assert not (made.folder / 'pwned').exists()


def test_branches_tags_and_notes_of_tricks_are_not_obeyed(serving: Scene) -> None:
    made = serving.made
    commit = git(made.site, 'rev-parse', 'HEAD')
    names = ('$(touch${IFS}pwned)', '`touch${IFS}pwned`', ';touch${IFS}pwned;', '"quoted"', '-x',
             'a\u202egnp', "'q'", '&a', '!b', '%n%s', 'refs/heads/master', 'HEAD', '\ufeffmaster')
    refs = [f'refs/{kind}/{name}' for name in names for kind in ('heads/x', 'tags/x', 'notes/x')]
    tag = _told(made.site, 'mktag', stdin=(
        f'object {commit}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\n'.encode() + MESSAGE))
    changed = committed(made.site, good(), MESSAGE)
    pushed, by_push = traced(
        'git', 'push', '-q', str(made.hub), f'{tag}:refs/tags/v1',
        *(f'{commit}:{reference}' for reference in refs), f'{changed}:refs/heads/master',
        cwd=made.site,
    )
    assert pushed.returncode == 0, pushed.stderr
    pulled, by_pull = traced('git', 'pull', '-q', '--tags', cwd=made.host)
    assert pulled.returncode == 0, pulled.stderr
    images = serving.running()
    assert [one for one in by_push + by_pull if not allowed(one, images, made.hub)] == []
    assert serving.pages() == ('two', 'two')
    assert_harmless(ours(pushed.stderr) + ours(pulled.stderr) + asked(serving))
    assert not list(made.folder.rglob('pwned'))


def test_a_replaced_object_is_not_taken_for_the_one_that_was_committed(serving: Scene) -> None:
    """A push may bring refs/replace/*: git would read another blob under the image's name."""
    made = serving.made
    commit = committed(made.site, good(), b'two')
    image = git(made.site, 'rev-parse', f'{commit}:xen/{NEXT}/www')
    other = _told(made.site, 'hash-object', '-w', '--stdin', stdin=web('evil'))
    tree = committed(made.site, {**good(), b'xen/latest': (PLAIN, b'nowhere')}, b'evil')
    done = run('git', 'push', '-q', str(made.hub), f'{other}:refs/replace/{image}',
               f'{tree}:refs/replace/{commit}', f'{commit}:refs/heads/master', cwd=made.site)
    assert done.returncode == 0, done.stderr
    assert made.page() == 'two'
    again = made.mirage('deploy', repository=made.hub)
    assert again.stdout.endswith('runs, nothing to do\n'), again.stdout


def test_a_hostile_gitmodules_does_not_keep_the_next_image_away(serving: Scene) -> None:
    """Plain `git fetch` refuses to work in a clone that has checked this file out."""
    made = serving.made
    orders = b'[submodule "x"]\n\tpath = x\n\turl = ext::x\n\tupdate = !touch pwned\n'
    files = {b'.gitmodules': (PLAIN, orders), b'x': (MODULE, b'')}
    git(made.site, 'push', '-q', 'origin', committed(made.site, files, b'x') + ':master')
    assert made.mirage('pull').returncode == 1
    poisoned = git(made.hub, 'rev-parse', 'master')
    tree = _tree(made.site, good())
    fixed = _told(made.site, 'commit-tree', '-p', poisoned, tree, stdin=b'two')
    git(made.site, 'push', '-q', 'origin', f'{fixed}:master')
    done = made.mirage('pull')
    assert done.returncode == 0, done.stdout
    assert serving.pages() == ('two', 'two')
