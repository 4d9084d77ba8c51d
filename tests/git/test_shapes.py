"""Repositories of every shape: each unikernel converges on its own, and one that is refused does
not hold the others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import elf
from tests.deployment import Deployment, called, free_port, git, web

BAD = web('never', before='sys.exit(3)')

# A tender that lives until it is ended; an xl that keeps a file for each domain.
TENDER = '#!/bin/sh\necho "${{0##*/}} $*" >> {log}\nexec sleep 600\n'
XL = """#!/bin/sh
cd {domains} || exit 1
case $1 in
    create) touch "$(sed -n "s/^name = '\\(.*\\)'/\\1/p" "$2")"; echo "xl create" >> {log} ;;
    destroy) rm "$2"; echo "xl destroy $2" >> {log} ;;
    list) echo 'Name ID Mem VCPUs State Time(s)'
        for name in *; do [ ! -e "$name" ] || echo "$name 7 32 1 r----- 0.1"; done ;;
esac
"""


class Shape:
    """A deployment of several unikernels, each on a port of its own."""

    def __init__(self, deployment: Deployment, *names: str) -> None:
        self.deployment = deployment
        self.ports = {name: free_port() for name in names}

    def configure(self, **images: dict[str, Any]) -> None:
        """mirage.yml: each of `images` on its port; what it says wins."""
        self.deployment.configure(yaml.safe_dump({'unikernels': {
            name: {'network': {'mode': 'socket', 'port': self.ports[name]}, 'confirm': '100ms',
                   **wanted}
            for name, wanted in images.items()
        }}))

    def put(self, files: dict[str, bytes], branch: str = 'master') -> None:
        """Commit images and pointers, and push them to `branch`."""
        site = self.deployment.site
        for path, content in files.items():
            place = site / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            place.chmod(0o755 if place.name != 'latest' else 0o644)
        git(site, 'add', '-A')
        git(site, 'commit', '-q', '-m', 'publish')
        git(site, 'push', '-q', 'origin', f'+HEAD:{branch}')

    def pages(self) -> dict[str, str]:
        return {name: self.deployment.page(port) for name, port in self.ports.items()}

    def deploy(self) -> int:
        return int(self.deployment.mirage('deploy').returncode)

    def numbers(self) -> dict[str, int]:
        """The release of each unikernel that is live."""
        return {name: self.deployment.current(name).number for name in self.ports}


def test_several_unikernels_in_one_repository(deployment: Deployment) -> None:
    shape = Shape(deployment, 'www', 'blog', 'api')
    shape.configure(www={'image': 'www/latest'}, blog={'image': 'blog/latest'},
                    api={'image': 'images/api'})
    shape.put({'www/1/www': web('w1'), 'www/latest': b'1\n', 'images/api': web('a1'),
               'blog/1/blog': web('b1'), 'blog/latest': b'1\n'})
    deployment.clone()
    assert shape.deploy() == 0
    assert shape.pages() == {'www': 'w1', 'blog': 'b1', 'api': 'a1'}
    shape.put({'blog/2/blog': web('b2'), 'blog/latest': b'2\n'})
    done = deployment.pull()
    assert (done.returncode, shape.pages()) == (0, {'www': 'w1', 'blog': 'b2', 'api': 'a1'})
    assert shape.numbers() == {'www': 1, 'blog': 2, 'api': 1}


def test_one_refused_image_does_not_hold_the_others(deployment: Deployment) -> None:
    shape = Shape(deployment, 'www', 'blog', 'api')
    shape.configure(www={'image': 'www/latest'}, blog={'image': 'blog/latest'},
                    api={'image': 'api'})
    shape.put({'www/1/www': web('w1'), 'www/latest': b'1\n', 'api': web('a1'),
               'blog/1/blog': web('b1'), 'blog/latest': b'1\n'})
    deployment.clone()
    assert shape.deploy() == 0
    shape.put({'www/2/www': BAD, 'www/latest': b'2\n', 'blog/latest': b'nowhere\n',
               'api': web('a2')})
    deployment.pull()
    assert shape.pages() == {'www': 'w1', 'blog': 'b1', 'api': 'a2'}
    kinds = {one.unikernel: one.event for one in deployment.history()[-3:]}
    assert kinds == {'www': 'refused', 'blog': 'refused', 'api': 'deployed'}
    assert deployment.mirage('pull', '--quiet').returncode == 1
    shape.put({'www/2/www': web('w2'), 'blog/latest': b'1\n'})
    deployment.pull()
    assert shape.pages() == {'www': 'w2', 'blog': 'b1', 'api': 'a2'}
    assert deployment.mirage('pull', '--quiet').returncode == 0


def test_one_image_for_several_unikernels(deployment: Deployment) -> None:
    shape = Shape(deployment, 'www', 'staging', 'mirror')
    same = {'image': 'unix/latest'}
    shape.configure(www=same, staging={**same, 'arguments': ['--message=staging']}, mirror=same)
    shape.put({'unix/1/www': web('one'), 'unix/latest': b'1\n'})
    deployment.clone()
    assert shape.deploy() == 0
    assert shape.pages() == {'www': 'one', 'staging': 'one', 'mirror': 'one'}
    # One of them ends at an option that it does not know; the same image serves in the others.
    shape.configure(www=same, staging={**same, 'arguments': ['--nonsense=1']}, mirror=same)
    shape.put({'unix/2/www': web('two'), 'unix/latest': b'2\n'})
    deployment.pull()
    assert shape.pages() == {'www': 'two', 'staging': 'one', 'mirror': 'two'}


def test_two_images_in_one_release_folder_are_told_by_name(deployment: Deployment) -> None:
    shape = Shape(deployment, 'www', 'blog')
    shape.configure(www={'image': 'xen/latest'}, blog={'image': 'xen/latest'})
    shape.put({'xen/1/www': web('w1'), 'xen/1/mir-blog': web('b1'), 'xen/latest': b'1\n'})
    deployment.clone()
    assert shape.deploy() == 0
    assert shape.pages() == {'www': 'w1', 'blog': 'b1'}
    shape.put({'xen/2/www': web('w2'), 'xen/2/mir-blog': BAD, 'xen/latest': b'2\n'})
    deployment.pull()
    assert shape.pages() == {'www': 'w2', 'blog': 'b1'}


def test_an_image_that_is_another_s_is_not_taken(deployment: Deployment) -> None:
    shape = Shape(deployment, 'a', 'b')
    shape.configure(a={'image': 'unix/latest'}, b={'image': 'unix/latest'})
    shape.put({'unix/1/a': web('a1'), 'unix/1/mir-b': web('b1'), 'unix/latest': b'1\n'})
    deployment.clone()
    assert shape.deploy() == 0
    shape.put({'unix/2/mir-b': web('b2'), 'unix/latest': b'2\n'})
    done = deployment.pull()
    assert shape.pages() == {'a': 'a1', 'b': 'b2'}
    reason = 'unix/latest now leads to unix/2/mir-b, the image of b, and to none named a'
    hint = ("hint: give each its own pointer: mirage-hooks publish --layout "
            "'{name}/{target}/{commit}', and in mirage.yml image: a/unix/latest")
    assert done.stderr.splitlines()[-4:-1] == [
        f'a: REFUSED: {reason}', f'  {hint}',
        f'a: {called(1, web("a1"), deployment.current("a").commit)} goes on running',
    ]
    assert f'PROBLEM  a: {reason}\n         {hint}\n' in deployment.mirage('check').stdout
    assert shape.numbers() == {'a': 1, 'b': 2}
    # As the hint says.
    shape.configure(a={'image': 'a/unix/latest'}, b={'image': 'b/unix/latest'})
    shape.put({f'{name}/unix/3/{name}': web(f'{name}3') for name in 'ab'}
              | {f'{name}/unix/latest': b'3\n' for name in 'ab'})
    assert deployment.pull().returncode == 0
    assert shape.pages() == {'a': 'a3', 'b': 'b3'}


def test_a_gate_refuses_a_push_that_leaves_another_s_image_alone(deployment: Deployment) -> None:
    shape = Shape(deployment, 'a', 'b')
    shape.configure(a={'image': 'unix/latest'}, b={'image': 'unix/latest'})
    deployment.config.write_text(f'gate: true\n{deployment.config.read_text()}')
    deployment.hooks(deployment.hub)
    shape.put({'unix/1/a': web('a1'), 'unix/1/b': web('b1'), 'unix/latest': b'1\n'})
    with pytest.raises(AssertionError, match='the image of b, and to none named a'):
        shape.put({'unix/2/b': web('b2'), 'unix/latest': b'2\n'})
    assert shape.pages() == {'a': 'a1', 'b': 'b1'}


def test_a_latest_on_every_branch(deployment: Deployment) -> None:
    shape = Shape(deployment, 'www', 'staging')
    shape.configure(www={'image': 'unix/latest', 'branch': 'live'},
                    staging={'image': 'unix/latest', 'branch': 'master'})
    shape.put({'unix/1/www': web('one'), 'unix/latest': b'1\n'})
    shape.put({'unix/1/www': web('one'), 'unix/latest': b'1\n', 'note': b''}, branch='live')
    deployment.clone()
    assert shape.deploy() == 0
    assert shape.pages() == {'www': 'one', 'staging': 'one'}
    shape.put({'unix/2/www': web('two'), 'unix/latest': b'2\n'})
    assert deployment.mirage('pull', '--quiet').returncode == 0
    assert shape.pages() == {'www': 'one', 'staging': 'two'}
    git(deployment.site, 'push', '-q', 'origin', 'HEAD:live')
    assert deployment.mirage('pull', '--quiet').returncode == 0
    assert shape.pages() == {'www': 'two', 'staging': 'two'}
    # Only the branch that has a bad image is held.
    shape.put({'unix/3/www': BAD, 'unix/latest': b'3\n'})
    shape.put({'unix/3/www': web('three'), 'more': b''}, branch='live')
    assert deployment.mirage('pull', '--quiet').returncode == 1
    assert shape.pages() == {'www': 'three', 'staging': 'two'}


def test_a_push_to_one_branch_of_a_bare_repository(deployment: Deployment) -> None:
    shape = Shape(deployment, 'www', 'staging')
    shape.configure(www={'image': 'unix/latest', 'branch': 'live'},
                    staging={'image': 'unix/latest', 'branch': 'master'})
    deployment.hooks(deployment.hub)
    shape.put({'unix/1/www': web('one'), 'unix/latest': b'1\n'})
    assert shape.pages() == {'www': '', 'staging': 'one'}
    git(deployment.site, 'push', '-q', 'origin', 'HEAD:live')
    assert shape.pages() == {'www': 'one', 'staging': 'one'}


@pytest.fixture
def log(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a recording tender and `xl`, first on PATH, were called with."""
    stubs, log = deployment.folder / 'stubs', deployment.folder / 'log'
    (stubs / 'domains').mkdir(parents=True)
    for name, text in (('solo5-spt', TENDER), ('solo5-hvt', TENDER), ('xl', XL)):
        (stubs / name).write_text(text.format(log=log, domains=stubs / 'domains'))
        (stubs / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{stubs}:{os.environ["PATH"]}')
    return log


def solo5(target: int, build: int) -> bytes:
    return elf.solo5(target) + f'build {build}'.encode()


@pytest.mark.long
@pytest.mark.skipif(not os.access('/dev/kvm', os.R_OK | os.W_OK),
                    reason='/dev/kvm, which hvt needs, is not there or not for us')
def test_several_targets_of_one_site_side_by_side(deployment: Deployment, log: Path) -> None:
    kernels = {'spt': 2, 'hvt': 1, 'xen': 6}
    deployment.configure(yaml.safe_dump({'unikernels': {
        f'www-{target}': {'image': f'{target}/latest', 'target': target, 'confirm': '100ms'}
        for target in kernels
    }}))
    shape = Shape(deployment)
    shape.put({f'{target}/1/www.{target}': solo5(number, 1) for target, number in kernels.items()}
              | {f'{target}/latest': b'1\n' for target in kernels})
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout + done.stderr
    assert _called(log) == {'solo5-spt': 1, 'solo5-hvt': 1, 'xl create': 1}
    # One gets an image of another target and is refused; one is rebuilt; one stays as it is.
    shape.put({'spt/2/www.spt': solo5(6, 2), 'spt/latest': b'2\n',
               'xen/2/www.xen': solo5(6, 2), 'xen/latest': b'2\n'})
    done = deployment.pull()
    numbers = {name: deployment.current(name).number for name in ('www-spt', 'www-hvt', 'www-xen')}
    assert numbers == {'www-spt': 1, 'www-hvt': 1, 'www-xen': 2}
    assert [line for line in done.stderr.splitlines() if 'REFUSED' in line] == [
        'www-spt: REFUSED: the image is built for xen, but www-spt.target is spt'
    ]
    assert _called(log) == {'solo5-spt': 1, 'solo5-hvt': 1, 'xl create': 2, 'xl destroy': 1}
    assert sorted(path.name for path in (deployment.folder / 'stubs/domains').iterdir()) == [
        'www-xen-2'
    ]


def _called(log: Path) -> dict[str, int]:
    """How often each program was called; for xl, each command."""
    calls = [' '.join(line.split()[:2]) if line.startswith('xl ') else line.split()[0]
             for line in log.read_text().splitlines()]
    return {call: calls.count(call) for call in calls}
