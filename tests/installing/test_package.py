"""What an index gets: a page that reads well there, and a package that needs no clone of ours."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import msgspec
import pytest

from tests.deployment import ROOT, Deployment, git, run, web
from tests.rig import wheels


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('wheel')
    wheels.source(folder / 'source')
    subprocess.run(
        (sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-index',
         '--no-build-isolation', f'--wheel-dir={folder}', folder / 'source'),
        check=True,
    )
    (made,) = folder.glob('*.whl')
    return made


@pytest.fixture(scope='module')
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
        return Parser().parsestr(archive.read(name).decode())


def test_it_says_whose_it_is_and_what_it_needs(metadata: Message) -> None:
    assert metadata['Author'] == 'The mirage-hooks authors'
    assert metadata['Keywords'] == (
        'MirageOS,unikernel,git hooks,deployment,Xen,Solo5,blue-green'
    )
    assert metadata['Requires-Python'] == '>=3.10'
    versions = [one.rpartition(' ')[2] for one in metadata.get_all('Classifier') or ()
                if re.search(r'Python :: 3\.\d+$', one)]
    assert versions == ['3.10', '3.11', '3.12', '3.13', '3.14']


def test_every_module_and_template_of_the_package_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith('mirage_hooks/')}
    here = {str(path.relative_to(ROOT)) for ending in ('py', 'html', 'jinja', 'sh')
            for path in (ROOT / 'mirage_hooks').rglob(f'*.{ending}')}
    assert here - packed == set()


def test_its_page_leads_nowhere_that_an_index_does_not_have(metadata: Message) -> None:
    page = str(metadata.get_payload())
    assert page.startswith('# mirage-hooks\n')
    assert metadata['Description-Content-Type'] == 'text/markdown'
    links = re.findall(r'\]\(([^)]*)\)', page)
    assert [link for link in links if not link.startswith('https://')] == []


def test_installed_by_itself_its_command_makes_a_push_boot(
    wheel: Path, tmp_path: Path, deployment: Deployment
) -> None:
    """As pipx does it: an environment of its own, no install.sh, no clone."""
    environment = tmp_path / 'environment'
    run(sys.executable, '-m', 'venv', '--without-pip', str(environment), cwd=tmp_path)
    (site,) = environment.glob('lib/python*/site-packages')
    (site / 'needed.pth').write_text(f'{Path(msgspec.__file__).parents[1]}\n')
    put = run(sys.executable, '-m', 'pip', '--python', str(environment / 'bin/python'), 'install',
              '--quiet', '--no-deps', '--no-index', str(wheel), cwd=tmp_path)
    assert put.returncode == 0, put.stderr
    done = run(str(environment / 'bin/mirage-hooks'), 'install', str(deployment.hub),
               '--config', str(deployment.config), '--no-cron', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    hook = deployment.hub / 'hooks/post-receive'
    assert hook.read_text().startswith(f'#!{environment}/bin/python -I\n')
    deployment.publish(web('one'), push=False)
    pushed = run('git', 'push', 'origin', 'HEAD:master', cwd=deployment.site)
    assert 'www: release 1 (unix' in pushed.stderr
    assert deployment.page() == 'one'
    assert git(deployment.hub, 'config', 'mirage.config') == str(deployment.config)
