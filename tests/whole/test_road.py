"""The whole road: a site is made, built, published by its CI, pulled by the host, and answers."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from tests import spool
from tests.deployment import PYTHON, ROOT, Deployment, git, run
from tests.patience import until
from tests.site.test_publish import VARIABLES
from tests.site.test_scaffold import needs
from tests.sshd import Sshd

MIRAGE = (sys.executable, '-m', 'mirage_hooks')
# Stands in for `mirage`: its image is the demo's, with the pages of htdocs inside.
BUILDER = """#!/bin/sh
[ "$1" = configure ] || {{ echo 4.11.1; exit; }}
printf 'depends:\\nbuild:\\n\\tmkdir -p dist && {python} {builder} > dist/www' > Makefile
printf ' && chmod +x dist/www\\n' >> Makefile
"""
PAGES = f"""import pathlib, sys
sys.path.insert(0, {str(ROOT)!r})
from mirage_hooks.demo import standin
pages = {{'/' + path.name: path.read_bytes() for path in pathlib.Path('htdocs').iterdir()}}
image = standin.image(pages).replace(b'/usr/bin/env python3', {PYTHON!r}.encode())
sys.stdout.buffer.write(image)
"""


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What CI's machine has: jekyll, make, a stand-in for mirage, and mirage-hooks."""
    needs('make', 'jekyll')
    folder = tmp_path / 'tools'
    folder.mkdir()
    (folder / 'build.py').write_text(PAGES)
    programs = {
        'mirage': BUILDER.format(python=sys.executable, builder=folder / 'build.py'),
        'mirage-hooks': f'#!/bin/sh\nexec {shlex.join(MIRAGE)} "$@"\n',
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('DEPLOY', '1')


class Context:
    """From the site's folder to the page."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.site = deployment, deployment.folder / 'pages'
        deployment.configure(image='unix/latest')
        made = run(*MIRAGE, 'init', str(self.site), '--name', 'www', '--branch', 'main',
                   cwd=deployment.folder)
        assert made.returncode == 0, made.stderr
        git(deployment.folder, 'init', '-q', '-b', 'main', str(self.site))

    def publish(self, text: str, ends: int = 0) -> str:
        """Write `text`, and have CI's script build and publish it; what that says."""
        (self.site / 'index.md').write_text(f'---\ntitle: {text}\n---\n{text} page\n')
        git(self.site, 'add', '-A')
        git(self.site, 'commit', '-q', '-m', text)
        done = run(str(self.site / 'ci/build'), cwd=self.site)
        assert done.returncode == ends, done.stdout + done.stderr
        return str(done.stdout)

    def arrived(self, text: str) -> None:
        built = (self.site / '_site' / 'index.html').read_text()
        assert f'<p>{text} page</p>' in built
        assert self.deployment.page() == built
        missing = (self.site / '_site' / '404.html').read_text()
        assert self.deployment.page(path='/404.html') == missing


@pytest.fixture
def road(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv('DEPLOY_TO', f'file://{deployment.hub}')
    return Context(deployment)


def test_from_an_empty_folder_to_a_page_by_pull(road: Context) -> None:
    road.publish('first')
    road.deployment.clone('--filter=blob:none')
    assert road.deployment.mirage('deploy').returncode == 0
    road.arrived('first')
    road.publish('second')
    assert road.deployment.pull().returncode == 0
    road.arrived('second')


def test_from_an_empty_folder_to_a_page_by_push(road: Context, tmp_path: Path) -> None:
    road.deployment.hooks(road.deployment.hub, 'post-receive')
    for text in ('first', 'second'):
        said = road.publish(text)
        assert 'remote: www: release' in said
        road.arrived(text)
    # One that does not serve is pushed all the same, but the build does not end well.
    (tmp_path / 'tools/build.py').write_text('print("#!/bin/sh\\nexit 2")')
    said = road.publish('third', ends=1)
    assert 'remote: www: REFUSED: it ended with exit code 2' in said
    assert said.splitlines()[-1] == 'but the host refused it, as it says above'
    assert '<p>second page</p>' in road.deployment.page()


@pytest.mark.skipif(bool(spool.lacking()), reason=spool.lacking())
def test_from_an_empty_folder_to_a_page_by_a_deploy_key_and_cron(
    road: Context, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, host = sshd.address(road.deployment.hub), road.deployment.host
    monkeypatch.setenv('DEPLOY_TO', hub)
    monkeypatch.setenv('DEPLOY_KEY', (sshd.folder / 'deploy').read_text())
    monkeypatch.setenv('DEPLOY_KNOWN_HOSTS', sshd.known())
    monkeypatch.setenv('GIT_SSH_COMMAND', 'ssh -F none -o ConnectionAttempts=20')
    road.publish('first')
    known = tmp_path / 'known'
    known.write_text(sshd.known())
    ssh = ('ssh', '-F', 'none', '-i', str(sshd.folder / 'deploy'), '-o', 'IdentitiesOnly=yes',
           '-o', f'UserKnownHostsFile={known}')
    crontabs = spool.Spool(tmp_path / 'spool')
    with crontabs.cron():
        with monkeypatch.context() as on_the_host:
            on_the_host.delenv('GIT_SSH_COMMAND')
            git(tmp_path, 'clone', '-q', '-c', f'core.sshCommand={shlex.join(ssh)}', hub, str(host))
            done = crontabs.run(*MIRAGE, 'install', str(host), '--cron', '* * * * *',
                                '--config', str(road.deployment.config))
            assert (done.returncode, done.stderr) == (0, '')
        road.publish('second')
        until(lambda: '<p>second page</p>' in road.deployment.page(), pause=0.5)
        road.arrived('second')
