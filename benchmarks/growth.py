"""What a host's clone costs as releases pile up: everything, against partial and sparse."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from tests.deployment import git

WAYS = {
    'full clone': (),
    'partial and sparse': ('--filter=blob:none', '--sparse'),
}


def measure(folder: Path, counts: tuple[int, ...], size: int) -> list[str]:
    """A table of clone size and time for repositories of `counts` releases of `size` bytes."""
    lines = ['| releases | way | size | time |', '|---|---|---|---|']
    for count in counts:
        hub = folder / f'{count}.git'
        _history(hub, count, size)
        for way, options in WAYS.items():
            cost = _clone(hub, folder / f'{count}-{way[:4]}', options)
            lines.append(f'| {count} | {way} | {cost}')
    return lines


def _clone(hub: Path, to: Path, options: tuple[str, ...]) -> str:
    began = time.perf_counter()
    git(hub.parent, 'clone', '-q', *options, f'file://{hub}', str(to))
    # What a deployment then reads: the pointer, and the one image it names.
    release = git(to, 'cat-file', 'blob', 'HEAD:xen/latest')
    subprocess.run(
        ('git', 'cat-file', 'blob', f'HEAD:xen/{release}/www.xen'), cwd=to, check=True,
        stdout=subprocess.DEVNULL,
    )
    took = time.perf_counter() - began
    used = sum(path.lstat().st_size for path in to.rglob('*') if path.is_file())
    return f'{used / 1e6:.1f} MB | {took:.2f} s |'


def _history(hub: Path, count: int, size: int) -> None:
    """A repository of `count` releases; each image differs from the last in one part of fifty."""
    chance = random.Random(2016)  # the same bytes in every run
    image = bytearray(chance.randbytes(size))
    git(hub.parent, 'init', '-q', '--bare', '-b', 'master', str(hub))
    git(hub, 'config', 'uploadpack.allowFilter', 'true')
    with subprocess.Popen(
        ('git', 'fast-import', '--quiet'), cwd=hub, stdin=subprocess.PIPE
    ) as importer:
        assert importer.stdin is not None
        for number in range(count):
            at = chance.randrange(size - size // 50)
            image[at : at + size // 50] = chance.randbytes(size // 50)
            importer.stdin.write(_release(f'{number:040x}', bytes(image), number))
    git(hub, 'repack', '-q', '-a', '-d')


def _release(name: str, image: bytes, number: int) -> bytes:
    message = f'adding {name} for xen'.encode()
    head = f'commit refs/heads/master\ncommitter A <a@example.org> {1451606400 + number} +0000\n'
    parts = [head.encode(), b'data %d\n%s\n' % (len(message), message)]
    for path, mode, content in (
        (f'xen/{name}/www.xen', '100755', image), ('xen/latest', '100644', f'{name}\n'.encode()),
    ):
        parts.append(f'M {mode} inline {path}\ndata {len(content)}\n'.encode() + content + b'\n')
    return b''.join(parts)
