"""What one of several hosts does where they take an image in turn. What it asks the cluster by is a
stand-in, in which the test is the other hosts; test_cluster_rollout has three real ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_hooks.deploying import standing
from mirage_hooks.deploying.rollout import Stage
from mirage_hooks.deploying.standing import Told
from mirage_hooks.host.pacemaker import ATTRIBUTE
from tests.deploying.test_placed import ocf
from tests.deployment import Deployment, git, web
from tests.patience import until

WHY = 'http://beta/ did not answer'
LONG = 2 * 3600.0  # seconds; the deadline is an hour

PROGRAM = """#!/usr/bin/python3 -S
import json, pathlib, sys
from urllib.parse import quote
folder = pathlib.Path({folder!r})
name, *given = pathlib.Path(sys.argv[0]).name, *sys.argv[1:]
if (folder / 'down').exists():
    sys.exit('Could not connect to the CIB: Transport endpoint is not connected')
if name == 'crm_node':
    print('alpha')
if name == 'crm_attribute':
    words = dict(zip(given[::2], given[1::2]))
    (folder / words['--node']).write_text(words['--update'])
if name == 'cibadmin':
    print('<nodes>')
    for path in folder.iterdir():
        print(f'<node uname="{{path.name}}"><instance_attributes><nvpair name="{attribute}" '
              f'value="{{path.read_text()}}"/></instance_attributes></node>')
    print('</nodes>')
if name == 'crm_mon':
    print('<pacemaker-result><summary><current_dc with_quorum="true"/></summary><nodes>')
    for path in folder.iterdir():
        print(f'<node name="{{path.name}}" online="true"/>')
    print('</nodes></pacemaker-result>')
"""


class Others:
    """All that the cluster knows: what each host told of www."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()

    def tell(self, host: str, image: str, stage: Stage, ago: float = 0, seen: float = 0) -> None:
        at = time.time()
        told = standing.written(Told(1, 'a' * 40, stage == 'serves', image, stage, round(at - ago),
                                     round(at - seen), WHY if stage == 'left' else ''))
        (self.folder / host).write_text(' '.join(
            f'{key}={value.replace(" ", "%20")}' for key, value in told.items()))

    def told(self) -> Told:
        """What alpha, which is this host, told last."""
        words = (word.partition('=') for word in (self.folder / 'alpha').read_text().split(' '))
        return standing.read({key: value for key, _, value in words})


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Others:
    programs, made = tmp_path / 'programs', Others(tmp_path / 'told')
    programs.mkdir()
    for name in ('crm_node', 'crm_attribute', 'cibadmin', 'crm_mon'):
        path = programs / name
        path.write_text(PROGRAM.format(folder=str(made.folder), attribute=ATTRIBUTE.format('www')))
        path.chmod(0o755)
    monkeypatch.setenv('PATH', f'{programs}:{Path("/usr/bin")}:/bin:/usr/sbin:/sbin')
    return made


@pytest.fixture
def configure(deployment: Deployment) -> Callable[..., None]:
    def configured(**keys: object) -> None:
        deployment.configure(placement={'clone': True}, rollout={
            'canary': 'beta', 'after': '10m', 'deadline': '1h'}, drain='1s', **keys)
    return configured


@pytest.fixture
def alpha(
    deployment: Deployment, others: Others, configure: Callable[..., None]
) -> Deployment:
    """It serves release 1, as Pacemaker wants; beta goes first."""
    configure()
    deployment.publish(web('one'), 'a' * 40)
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    assert ocf(deployment, 'start').returncode == 0
    return deployment


def blob(alpha: Deployment) -> str:
    """What git calls the image that is published now."""
    latest = git(alpha.site, 'show', 'HEAD:xen/latest').split('/')[-1]
    return git(alpha.site, 'rev-parse', f'HEAD:xen/{latest}/www')


def push(alpha: Deployment, page: str = 'two') -> str:
    """Publish it, and what git calls it; this host has not seen it yet."""
    alpha.publish(web(page), f'{len(page)}' * 40)
    return blob(alpha)


def test_mirage_yml_may_change_long_after_its_image_came(
    alpha: Deployment, others: Others, configure: Callable[..., None]
) -> None:
    others.tell('alpha', blob(alpha), 'serves', LONG, LONG)
    others.tell('beta', blob(alpha), 'serves', LONG, LONG)
    configure(memory=48)
    said = alpha.mirage('pull')
    assert 'now runs' in said.stdout and said.returncode == 0
    ocf(alpha, 'stop')
    configure(memory=56)
    said = alpha.mirage('pull')
    assert 'is now ready here' in said.stdout and said.returncode == 0


def test_what_serves_is_not_told_as_refused_where_it_is_with_another_mirage_yml(
    alpha: Deployment, others: Others, configure: Callable[..., None]
) -> None:
    configure(arguments=['--ends'])
    assert 'REFUSED' in alpha.mirage('pull').stdout
    assert alpha.page() == 'one'
    assert (others.told().stage, others.told().image) == ('serves', blob(alpha))


def test_where_pacemaker_does_not_run_it_its_turn_ends_once_it_is_ready(
    alpha: Deployment, others: Others
) -> None:
    ocf(alpha, 'stop')
    assert others.told().stage == 'ended'
    new = push(alpha)
    others.tell('beta', new, 'serves', LONG, LONG)
    assert 'is now ready here' in alpha.mirage('pull').stdout
    assert (others.told().stage, others.told().live) == ('ready', False)


def test_who_follows_goes_back_though_it_has_converged_since(
    alpha: Deployment, others: Others
) -> None:
    new = push(alpha)
    others.tell('beta', new, 'serves', LONG, LONG)
    alpha.mirage('pull')
    assert alpha.page() == 'two'
    until(lambda: alpha.state().of('www').overlap() is None)
    for _ in range(2):
        assert alpha.mirage('pull', '--quiet').stdout == ''
    others.tell('beta', new, 'left')
    said = alpha.mirage('pull', '--quiet')
    assert f'beta, which goes first, was rolled back: {WHY}' in said.stdout
    assert alpha.page() == 'one'
    assert alpha.mirage('pull', '--quiet').stdout == ''


def test_who_follows_goes_back_to_another_image_and_not_to_the_same_with_less_memory(
    alpha: Deployment, others: Others, configure: Callable[..., None]
) -> None:
    new = push(alpha)
    others.tell('beta', new, 'serves', LONG, LONG)
    alpha.mirage('pull')
    configure(memory=48)
    alpha.mirage('pull')
    others.tell('beta', new, 'left')
    alpha.mirage('pull')
    assert alpha.page() == 'one'


@pytest.mark.parametrize('served', [True, False], ids=['it served another', 'it never served'])
def test_who_only_has_it_ready_does_not_start_it(
    alpha: Deployment, others: Others, served: bool
) -> None:
    ocf(alpha, 'stop')
    releases = alpha.state().of('www')
    if not served:
        (releases.folder(1) / 'served').unlink()
    new = push(alpha)
    others.tell('beta', new, 'serves', LONG, LONG)
    alpha.mirage('pull')
    assert releases.numbers() == ([1, 2] if served else [2])
    others.tell('beta', new, 'left')
    said = alpha.mirage('pull')
    assert f'www: REFUSED: beta, which goes first, was rolled back: {WHY}' in said.stdout
    started = ocf(alpha, 'start')
    assert alpha.page() == ('one' if served else '')
    assert started.returncode == (0 if served else 5), started.stderr
    assert alpha.mirage('pull', '--quiet').stdout == ''


def test_while_the_cluster_cannot_be_asked_what_serves_goes_on(
    alpha: Deployment, others: Others
) -> None:
    new = push(alpha)
    others.tell('beta', new, 'serves', LONG, LONG)
    alpha.mirage('pull')
    (others.folder / 'down').touch()
    said = alpha.mirage('pull', '--quiet')
    assert (said.stdout, said.returncode) == ('', 0)
    assert alpha.page() == 'two'


def test_what_is_reverted_waits_no_more(alpha: Deployment, others: Others) -> None:
    new = push(alpha)
    others.tell('beta', new, 'taking')
    assert 'waits for its turn' in alpha.mirage('pull').stdout
    assert (others.told().stage, others.told().image) == ('waits', new)
    assert json.loads((alpha.state().root / 'keeper.json').read_text())['due']
    alpha.publish(web('one'), 'c' * 40)
    alpha.mirage('pull')
    assert alpha.state().of('www').held() is None
    assert not alpha.state().kept.exists() or not json.loads(alpha.state().kept.read_text())['due']
    assert (others.told().stage, others.told().image) == ('serves', blob(alpha))
    assert 'waits for its turn' not in alpha.mirage('status').stdout


def test_what_waits_is_told_whatever_was_refused_before(
    alpha: Deployment, others: Others
) -> None:
    refused = push(alpha, 'refused')
    others.tell('beta', refused, 'refused')
    assert 'REFUSED' in alpha.mirage('pull').stdout
    assert others.told().stage == 'refused'
    new = push(alpha)
    others.tell('beta', new, 'taking')
    alpha.mirage('pull')
    first = others.told()
    assert (first.stage, first.image) == ('waits', new)
    alpha.dismiss()
    alpha.mirage('pull')
    assert others.told() == first
    (alpha.config).write_text('unikernels: [')
    alpha.mirage('pull')
    assert alpha.state().of('www').held() is None
