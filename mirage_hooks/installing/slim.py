"""What this host's clone weighs, and how it is made light: old images stay on the remote.

New packs come first and old ones go last, so that it may be killed anywhere."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from ..git import timeout
from ..git.repository import Repository
from ..host import programs
from ..image import amount
from ..messages import errors
from ..messages.report import masked
from .finding import Found, Place, fine, note

FILTER = 'blob:none'
# As in install.sh --from. To count changed lines, `git pull` would fetch every image that came and
# went; each pull leaves a pack with a whole image in it, of which gc makes a delta.
SETTINGS = {'merge.stat': 'false', 'gc.autoPackLimit': '10', 'fetch.unpackLimit': '1'}
RELEASE = re.compile(r'(?:^|/)[0-9a-f]{7,64}/[^/]+$')  # a file in a folder named after a commit
SMALL, LARGE = 1 << 20, 64 << 20  # bytes: not worth a word; worth a command
MANY, KEEP = 50, 10  # releases
PATIENCE = 3600.0  # seconds that git may take to copy, or to count, a grown clone


class Weight(msgspec.Struct, frozen=True):
    """Of the clone: `releases` in the tree of its branch, `commits` of all branches, in bytes on
    disk its objects (`history`), those among them that are no files (`light`) and its work tree
    (`files`), `partial` when old images may be missing, `remote` its URL."""

    releases: int
    commits: int
    history: int
    light: int
    files: int
    partial: bool
    remote: str


def weigh(repository: Repository, branch: str) -> Weight:
    """Without a network, and without reading an image."""
    paths = repository.files(repository.commit(branch))
    remote = repository.remote(branch)
    places = [] if repository.bare else [repository.folder / path for path in paths]
    return Weight(
        releases=len({PurePosixPath(path).parent for path in paths if RELEASE.search(path)}),
        commits=int(_git(repository.git_dir, 'rev-list', '--count', '--all')),
        history=_bytes((repository.git_dir / 'objects').rglob('*')),
        light=_light(repository.git_dir),
        files=_bytes(places),
        partial=bool(remote) and repository.setting(f'remote.{remote}.promisor') == 'true',
        remote=masked(repository.setting(f'remote.{remote}.url')) if remote else '',
    )


def told(folder: Path, weight: Weight) -> list[str]:
    """`weight` for a person, with the commands that would make it less."""
    kind = 'without the old images' if weight.partial else 'with every old image'
    files = f', and {amount(weight.files)} of files' if weight.files > SMALL else ''
    whole = weight.history + weight.files
    each = amount(whole // max(weight.commits, 1))
    lines = [f'{_counted(weight.releases, "release")} in the tree; this clone, {kind}, takes '
             f'{amount(weight.history)}{files}: {each} for each of '
             f'{_counted(weight.commits, "commit")}']
    if weight.remote and whole - weight.light > LARGE:
        lines.append(f'{amount(whole - weight.light)} of old images could stay on the remote: '
                     f'mirage-hooks -C {shlex.quote(str(folder))} slim')
    if weight.releases > MANY:
        gone = weight.releases - KEEP
        freed = weight.files * gone // weight.releases
        checkout = f', {amount(freed)} of every checkout,' if freed > SMALL else ''
        lines.append(f'{gone} old releases{checkout} could leave the tree: mirage-hooks prune '
                     f'--to {shlex.quote(weight.remote or str(folder))} --keep {KEEP} '
                     '(and the history: --history)')
    return lines


def findings(place: Place) -> Found:
    """How the clone grows, and what would make it lighter; never a reason to fail."""
    repository = place.repository
    try:
        weight = weigh(repository, repository.branch(place.settings.branch))
    except errors.Refused:
        return  # each unikernel says it
    except timeout.Late as late:
        yield note('git', f'its objects could not be counted in {late.seconds:.0f} s')
        return
    size, *more = told(repository.folder, weight)
    yield fine('git', size)
    for line in more:
        yield note('git', line)


def slim(repository: Repository, branch: str) -> tuple[int, int]:
    """Exchange the objects for those of a partial clone, and take the work tree's folders away;
    bytes before and after. Raises Refused when the remote does not have all that is here."""
    remote = repository.remote(branch)
    if not remote:
        raise errors.Refused(
            f'{branch} of {repository.folder} is pulled from nowhere: its images are here alone',
            hint='mirage-hooks prune makes a repository that is pushed to lighter',
        )
    before = weigh(repository, branch)
    objects = repository.git_dir / 'objects'
    old = _packs_and_loose(objects)
    with tempfile.TemporaryDirectory(dir=repository.git_dir, prefix='slim-') as folder:
        light = Path(folder, 'light.git')
        _clone(repository.setting(f'remote.{remote}.url'), light)
        _require_all(repository, light)
        # What was rewound is nobody's any more, but in the reflog.
        _git(repository.git_dir, 'reflog', 'expire', '--expire-unreachable=now', '--all')
        promised = {f'remote.{remote}.promisor': 'true',
                    f'remote.{remote}.partialclonefilter': FILTER}
        for key, value in {**promised, **SETTINGS}.items():
            repository.configure(key, value)
        fresh = _take_over(light / 'objects', objects)
    for path in old:
        if path not in fresh:
            path.unlink(missing_ok=True)
    if not repository.bare:
        _git(repository.folder, 'sparse-checkout', 'set', '--cone')
    after = weigh(repository, branch)
    return before.history + before.files, after.history + after.files


def _clone(url: str, folder: Path) -> None:
    said = _git(folder.parent, 'clone', '--bare', '--quiet', '--no-local', '--template=',
                f'--filter={FILTER}', '--', url, str(folder))
    if 'filtering not recognized' in said:
        raise errors.Refused(
            f'{masked(url)} cannot leave old images out of a clone',
            hint='there: git config uploadpack.allowFilter true',
        )


def _require_all(repository: Repository, light: Path) -> None:
    """A missing image is fetched again; a missing commit would be lost. What only the reflog holds
    may go when the remote had it once."""
    there = _git(light, 'for-each-ref', '--format=%(objectname)').split()
    held = _commits(repository, light, '--all', '--not', *there)
    passed = _commits(
        repository, light, '--ignore-missing', '--reflog', '--not', *there, *_seen(repository)
    )
    said = f'{repository.folder} has {len(held | passed)} commits that the remote does not have'
    if held and (stashes := _stashes(repository)):
        raise errors.Refused(
            f'{said}, with those of {stashes} stashes',
            hint='push them, or drop the branches, tags and stashes that hold them: git stash list',
        )
    if held:
        raise errors.Refused(said, hint='push them, or drop the branches and tags that hold them')
    if passed:
        raise errors.Refused(f'{said}, in the reflog alone', hint=(
            f'push them, or let them go: git -C {shlex.quote(str(repository.folder))} reflog '
            'expire --expire-unreachable=now --all'
        ))


def _commits(repository: Repository, light: Path, *which: str) -> set[str]:
    listed = _git(repository.git_dir, 'rev-list', *which,
                  GIT_ALTERNATE_OBJECT_DIRECTORIES=str(light / 'objects'))
    return set(re.findall(r'^[0-9a-f]{40,}$', listed, re.M))


def _seen(repository: Repository) -> set[str]:
    """Where the branches of remotes were, by their reflogs: old commit, new commit, who, why."""
    logs = (repository.git_dir / 'logs/refs/remotes').rglob('*')
    lines = [line for log in logs if log.is_file()
             for line in log.read_text('utf-8', errors='replace').split('\n') if line]
    return {commit for line in lines for commit in line.split(' ')[:2] if commit.strip('0')}


def _stashes(repository: Repository) -> int:
    held = _git(repository.git_dir, 'for-each-ref', 'refs/stash')
    return len(_git(repository.git_dir, 'reflog', 'refs/stash').split('\n')) if held else 0


def _take_over(source: Path, target: Path) -> set[Path]:
    """Move packs: the index last, since git looks for that first."""
    order = sorted((source / 'pack').iterdir(), key=lambda path: path.suffix == '.idx')
    for path in order:
        os.replace(path, target / 'pack' / path.name)  # noqa: PTH105
    return {target / 'pack' / path.name for path in order}


def _counted(count: int, what: str) -> str:
    return f'{count} {what}{"" if count == 1 else "s"}'


def _packs_and_loose(folder: Path) -> list[Path]:
    """Indexes first: without its index git sees no pack."""
    packs = (path for path in (folder / 'pack').iterdir() if path.is_file())
    loose = (path for path in folder.glob('[0-9a-f][0-9a-f]/*') if path.is_file())
    named = ('.idx', 'multi-pack-index')
    return [*sorted(packs, key=lambda path: not path.name.endswith(named)), *loose]


def _light(git_dir: Path) -> int:
    """What a clone without any file's content weighs: commits and trees."""
    return int(_git(git_dir, 'rev-list', '--all', '--objects', f'--filter={FILTER}',
                    '--disk-usage'))


def _bytes(places: Iterator[Path] | list[Path]) -> int:
    found = (os.lstat(path) for path in places if path.is_file() and not path.is_symlink())
    return sum(one.st_size for one in found)


def _git(folder: Path, *arguments: str, **environment: str) -> str:
    """What git prints, its warnings with it."""
    code, out, said = programs.exchange(
        'git', '-C', str(folder), *arguments, stdin=b'', timeout=PATIENCE, **environment
    )
    if code:
        lines = said.split('\n') if said else ['git said nothing']
        why = next((line for line in lines if line.startswith(('fatal: ', 'error: '))), lines[0])
        raise errors.Unavailable(f'git: {masked(why)}')
    return f'{out.decode(errors="replace")}\n{said}'.strip()
