"""`init --dns`: a name server's site, whose zones a real tool reads; with a recording mirage."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from mirage_hooks.cli.main import main
from mirage_hooks.config import reading
from mirage_hooks.site.making import scaffold
from tests.deployment import git, run
from tests.site import test_scaffold
from tests.site.test_publish import tree
from tests.site.test_scaffold import ANSWERS

log = test_scaffold.log  # a mirage on PATH that notes its calls, and makes an image for Xen
FILES = {
    'Makefile', 'README.md', '_mirage/config.ml', '_mirage/.gitignore', '_mirage/unikernel.ml',
    'ci/build', '.github/workflows/unikernel.yml', '.travis.yml', 'zones/mort.io.zone',
}
checks = pytest.mark.skipif(shutil.which('kzonecheck') is None, reason='not installed: kzonecheck')


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / 'site'
    plan = scaffold.named(scaffold.plan(folder, dns=True), ANSWERS)
    scaffold.make(folder, plan, ANSWERS)
    return folder


def made(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}


def test_every_file_is_made_with_the_users_words(site: Path) -> None:
    assert made(site) == FILES
    for path in FILES:
        text = (site / path).read_text()
        assert re.findall(r'@[A-Z0-9]+@', text) == [], path
        for word in ('jekyll', 'htdocs'):
            assert word not in text, path


def test_the_command_makes_them_once_and_says_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'ns'
    assert main(['init', '--dns', str(folder), '--name', 'Example.net']) == 0
    said = capsys.readouterr().out
    assert 'made        zones/example.net.zone\n' in said
    assert said.endswith('make zones; the README tells the road\n')
    (folder / 'zones/example.net.zone').rename(folder / 'zones/example.com.zone')
    before = made(folder)
    assert main(['init', str(folder)]) == 0  # without --dns it is still a name server's
    assert made(folder) == before
    assert 'made ' not in capsys.readouterr().out


@checks
def test_a_zone_is_checked_and_a_wrong_one_ends_the_build(site: Path) -> None:
    done = run('make', '-s', cwd=site)
    assert done.returncode == 0, done.stderr
    assert (site / '_mirage/zones/mort.io.zone').read_text() == (
        site / 'zones/mort.io.zone').read_text()
    with (site / 'zones/mort.io.zone').open('a') as zone:
        zone.write('www CNAME elsewhere\n')
    done = run('make', '-s', cwd=site)
    assert done.returncode == 2
    assert 'CNAME' in done.stdout + done.stderr


@checks
def test_ci_checks_builds_and_publishes(
    site: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, 'init', '-q', '--bare', '-b', 'main', 'deployment.git')
    git(site, 'init', '-q', '-b', 'main')
    git(site, 'add', '-A')
    git(site, 'commit', '-qm', 'zones')
    for key, value in {'MIRAGE_BACKEND': 'xen', 'MIRAGE_NET': 'static', 'DEPLOY': '1',
                       'DEPLOY_TO': str(tmp_path / 'deployment.git')}.items():
        monkeypatch.setenv(key, value)
    done = run('ci/build', cwd=site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert log.read_text() == (
        '_mirage: ADDR=46.43.42.137/28 GWS=46.43.42.129 mirage configure -t xen --net direct '
        '--no-dhcp\ndepends\nbuild\n')
    assert any(path.endswith('/mort.io.xen') for path in tree(tmp_path / 'deployment.git', 'main'))
    assert git(site, 'status', '--porcelain') == ''


def test_the_readme_s_mirage_yml_is_one(site: Path) -> None:
    text = (site / 'README.md').read_text().split('```yaml\n')[1].split('```')[0]
    one = reading.parse(text.encode(), 'mirage.yml').unikernels['mort.io']
    assert one.health[0].dns is not None
    assert (one.health[0].dns.name, one.network and one.network.server) == (
        'mort.io', '46.43.42.137:53')
