"""What a repository weighs as releases pile up, and what one more costs on the wire: ours against
the original's way, on the same images.

The images are made here: the bytes of this host's programs, of which each release exchanges a
fiftieth, at eight places, for bytes of others, as a site does that is rebuilt with a new page. A
rebuild that moves code about changes more: of the original site's own last images, of 10 MB, a pull
brought 0.01 to 0.93 MB in our way and 2.65 MB in the original's. Our hub's weight is that of a pack
of deltas, as after `git gc`. For the original's way only the releases that are measured are packed
by bz2; to fill its history there are random bytes of the same length, which is what bz2's output is
to git."""

from __future__ import annotations

import bz2
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mirage_hooks.installing import slim
from mirage_hooks.site import bundle, publish
from tests import elf

CHANGED, PLACES = 50, 8
# Stands in for ssh, and counts what goes over the wire both ways.
SSH = '#!/bin/sh\nfor last; do :; done\ntee -a "$WIRE" | sh -c "$last" | tee -a "$WIRE"\n'
COLUMNS = ('releases', 'way', 'the hub', "a host's clone", 'publish, on the wire',
           'pull, on the wire', 'a publish takes', 'a pull takes')


def measure(folder: Path, counts: tuple[int, ...], size: int) -> list[str]:
    """A table for repositories of `counts` releases, rising, of images of `size` bytes."""
    (folder / 'ssh').write_text(SSH)
    (folder / 'ssh').chmod(0o755)
    os.environ.update(GIT_SSH_COMMAND=str(folder / 'ssh'), WIRE=str(folder / 'wire'))
    made, chance, image = images(size), random.Random(2014), folder / 'www.xen'
    packed = len(bz2.compress(next(made)))
    ours, theirs = (_hub(folder / f'{name}.git') for name in ('ours', 'theirs'))
    lines = [_row(COLUMNS), _row(['---'] * len(COLUMNS))]
    done = 0
    for count in counts:
        numbers = range(done, count - 1)
        _import(ours, ((each, next(made)) for each in numbers), '', 'xen/.latest/www.xen')
        _import(theirs, ((each, chance.randbytes(packed)) for each in numbers), '.bz2')
        image.write_bytes(next(made))
        lines.append(_row([str(count), 'ours', *_ours(folder, ours, image, count - 1)]))
        old = _theirs(folder, theirs, image, count - 1)
        lines.append(_row([str(count), "the original's", *old]))
        done = count
    return lines


def images(size: int) -> Iterator[bytes]:
    """One release after another, the same in every run on this host."""
    chance = random.Random(2016)
    programs = (path for path in sorted(Path('/usr/bin').iterdir()) if path.is_file())
    bytes_of_programs = bytearray()
    while len(bytes_of_programs) < 3 * size:
        bytes_of_programs += next(programs).read_bytes()
    head = elf.solo5(6)
    image = bytearray(head) + bytes_of_programs[: size - len(head)]
    piece = size // CHANGED // PLACES
    while True:
        for _ in range(PLACES):
            at, other = chance.randrange(len(head), size - piece), chance.randrange(size, 2 * size)
            image[at : at + piece] = bytes_of_programs[other : other + piece]
        yield bytes(image)


def _ours(folder: Path, hub: Path, image: Path, number: int) -> list[str]:
    """The host's clone is what install.sh --from makes, with the one image that runs."""
    host = folder / 'host'
    settings = [word for key, value in slim.SETTINGS.items() for word in ('-c', f'{key}={value}')]
    git(folder, 'clone', '-q', '--filter=blob:none', '--sparse', *settings, f'hub:{hub}', str(host))
    _read(host)
    weights = _weight(hub), _weight(host)
    wanted = bundle.Wanted(image=image, to=f'hub:{hub}', name='www', source=_name(number))
    published, publishing = _counted(lambda: publish.publish(wanted))
    pulled, pulling = _counted(lambda: _pull(host))
    shutil.rmtree(host)
    return [*map(_mb, (*weights, published, pulled)), f'{publishing:.1f} s', f'{pulling:.1f} s']


def _pull(host: Path) -> None:
    git(host, 'fetch', '-q', '--no-filter', 'origin')
    git(host, 'pull', '-q')
    _read(host)


def _read(host: Path) -> None:
    """What a deployment reads: the pointer, and the one image it names."""
    release = git(host, 'cat-file', 'blob', 'HEAD:xen/latest')
    subprocess.run(
        ('git', 'cat-file', 'blob', f'HEAD:xen/{release}/www.xen'), cwd=host, check=True,
        stdout=subprocess.DEVNULL,
    )


def _theirs(folder: Path, hub: Path, image: Path, number: int) -> list[str]:
    """CI and the host clone all of it. The files of the work tree are added up, not written."""
    host, site = folder / 'host', folder / 'site'
    cloned, cloning = _counted(
        lambda: git(folder, 'clone', '-q', '--no-checkout', f'hub:{hub}', str(host)))
    listed = git(host, 'ls-tree', '-r', '-l', 'HEAD').splitlines()
    weights = _weight(hub), _weight(host) + sum(int(line.split()[3]) for line in listed)
    git(folder, 'clone', '-q', '--shared', '--no-checkout', str(host), str(site))
    pushed, pushing = _counted(lambda: _push(site, hub, image, number))
    pulled, pulling = _counted(lambda: git(host, 'fetch', '-q', 'origin'))
    shutil.rmtree(site)
    shutil.rmtree(host)
    return [*map(_mb, (*weights, cloned + pushed, pulled)), f'{cloning + pushing:.1f} s',
            f'{pulling:.1f} s']


def _push(site: Path, hub: Path, image: Path, number: int) -> None:
    packed = bz2.compress(image.read_bytes(), 9)
    _import(site, [(number, packed)], '.bz2')
    git(site, 'push', '-q', f'hub:{hub}', 'master')


def _hub(path: Path) -> Path:
    git(path.parent, 'init', '-q', '--bare', '-b', 'master', str(path))
    git(path, 'config', 'uploadpack.allowFilter', 'true')
    return path


def _import(
    repository: Path, releases: Iterable[tuple[int, bytes]], extension: str, stable: str = ''
) -> None:
    """Add a commit for each of `releases`: the image with its extension, and once more at the
    path `stable` when there is one. Images come first: fast-import makes deltas of neighbours."""
    known = bool(git(repository, 'for-each-ref', 'refs/heads/master'))
    numbers = []
    with subprocess.Popen(
        ('git', '-c', 'fastimport.unpackLimit=0', 'fast-import', '--quiet',
         # What is packed has no delta: not to look for one saves minutes.
         f'--depth={0 if extension else 50}'), cwd=repository, stdin=subprocess.PIPE,
    ) as importer:
        assert importer.stdin is not None
        for number, image in releases:
            numbers.append(number)
            importer.stdin.write(b'blob\nmark :%d\n' % (number + 1))
            importer.stdin.write(b'data %d\n' % len(image) + image + b'\n')
        for number in numbers:
            first = known and number == numbers[0]
            importer.stdin.write(_commit(number, extension, stable, first).encode())
    assert importer.returncode == 0


def _commit(number: int, extension: str, stable: str, first: bool) -> str:
    name = _name(number)
    message = f'adding {name} for xen'
    return '\n'.join([
        'commit refs/heads/master',
        f'committer A <a@example.org> {1451606400 + number} +0000',
        f'data {len(message)}\n{message}',
        *(['from refs/heads/master^0'] if first else []),
        f'M 100755 :{number + 1} xen/{name}/www.xen{extension}',
        *([f'M 100755 :{number + 1} {stable}'] if stable else []),
        f'M 100644 inline xen/latest\ndata {len(name) + 1}\n{name}\n', '',
    ])


def _name(number: int) -> str:
    return random.Random(number).randbytes(20).hex()


def git(folder: Path, *arguments: str) -> str:
    """As the tests' own, but however long it takes: the original's clone takes minutes."""
    done = subprocess.run(('git', *arguments), cwd=folder, check=True, text=True,
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return done.stdout.strip()


def _counted(act: Callable[[], object]) -> tuple[int, float]:
    """Bytes on the wire and seconds of `act`."""
    wire = Path(os.environ['WIRE'])
    wire.write_bytes(b'')
    began = time.perf_counter()
    act()
    return wire.stat().st_size, time.perf_counter() - began


def _weight(repository: Path) -> int:
    return sum(path.lstat().st_size for path in repository.rglob('*') if path.is_file())


def _mb(count: int) -> str:
    return f'{count / 1e6:.1f} MB' if count >= 1e6 else f'{count / 1e3:.0f} KB'


def _row(cells: Iterable[str]) -> str:
    return f'| {" | ".join(cells)} |'
