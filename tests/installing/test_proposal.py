"""mirage.yml names nothing: what came is told with the lines to add, and none of it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_hooks.host import ports
from mirage_hooks.installing import install
from tests.deployment import Deployment, git, run, web


@pytest.fixture
def bare(deployment: Deployment) -> Path:
    """An empty bare repository that is installed; its HEAD names a branch that nobody pushes."""
    folder = deployment.folder / 'bare.git'
    git(deployment.folder, 'init', '-q', '--bare', '-b', 'trunk', str(folder))
    deployment.config.unlink()
    deployment.configure('unikernels: {}\n')
    install.install(folder, deployment.config, when='')
    assert deployment.mirage('deploy', repository=folder).stdout == (
        'mirage.yml names no unikernel: nothing to run\n'
        f'  hint: push an image; then this says what to add to {deployment.config}\n'
    )
    return folder


def test_the_first_push_says_what_came_and_the_lines_to_add(
    deployment: Deployment, bare: Path
) -> None:
    deployment.publish(web('one'), push=False)
    pushed = run('git', 'push', '-q', str(bare), 'HEAD:main', cwd=deployment.site)
    said = [line.removeprefix('remote: ').rstrip() for line in pushed.stderr.splitlines()]
    port = next(port for port in range(8080, 65536) if ports.free('127.0.0.1', port))
    lines = ['branch: main', 'unikernels:', '  www:', '    image: xen/latest',
             f'    network: {{mode: socket, port: {port}}}']
    assert said == [
        'mirage.yml names no unikernel: nothing to run',
        f'  hint: main has images: put these lines into {deployment.config} in the place of '
        f'`unikernels: {{}}`, then: mirage-hooks -C {bare} deploy', *lines,
    ]
    assert deployment.processes(bare) == []
    status = deployment.mirage('status', repository=bare)
    assert status.stdout == (
        'mirage.yml names no unikernel: `mirage-hooks deploy` says what to add\n')
    deployment.config.write_text('\n'.join([*lines, '']))
    done = deployment.mirage('deploy', repository=bare)
    assert done.returncode == 0, done.stdout


def test_a_push_without_an_image_says_so_each_time(deployment: Deployment, bare: Path) -> None:
    for text in ('a', 'b'):
        (deployment.site / 'README').write_text(text)
        deployment.commit(text, push=False)
        pushed = run('git', 'push', '-q', str(bare), 'HEAD:main', cwd=deployment.site)
        assert [line.rstrip() for line in pushed.stderr.splitlines()] == [
            'remote: mirage.yml names no unikernel: nothing to run',
            'remote:   hint: main has no image that is known as one: name it in '
            f'{deployment.config}',
        ]


def test_only_the_first_images_of_many_are_proposed(deployment: Deployment, bare: Path) -> None:
    for number in range(9):
        folder = deployment.site / f'r{number}'
        folder.mkdir()
        (folder / f'w{number}').write_bytes(b'\x7fELF nothing that is known')
        (folder / 'latest').write_text(f'w{number}\n')
    deployment.commit('many', push=False)
    pushed = run('git', 'push', '-q', str(bare), 'HEAD:main', cwd=deployment.site)
    assert [line.split()[1] for line in pushed.stderr.splitlines() if ': w' in line] == []
    assert pushed.stderr.count('  image: ') == 5


def test_cron_says_nothing_of_it(deployment: Deployment, bare: Path) -> None:
    done = deployment.mirage('pull', '--quiet', repository=bare)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
