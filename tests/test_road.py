"""The whole road: a site is made, built, published by its CI, pulled by the host, and answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.deployment import ROOT, Deployment, git, run, web
from tests.test_publish import VARIABLES
from tests.test_scaffold import needs

# Stands in for `mirage`: its image is the stand-in web server with the page of htdocs inside.
BUILDER = """#!/bin/sh
[ "$1" = configure ] || {{ echo 4.11.1; exit; }}
printf 'depends:\\nbuild:\\n\\tmkdir -p dist && {python} {builder} > dist/www' > Makefile
printf ' && chmod +x dist/www\\n' >> Makefile
"""


@pytest.mark.parametrize('bare', [False, True], ids=['pull', 'push'])
def test_from_an_empty_folder_to_a_page(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare: bool
) -> None:
    needs('make', 'jekyll')
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    _tools(tmp_path / 'tools', monkeypatch)
    monkeypatch.setenv('DEPLOY', '1')
    monkeypatch.setenv('DEPLOY_TO', f'file://{deployment.hub}')
    deployment.configure(image='unix/latest')
    if bare:
        deployment.hooks(deployment.hub, 'post-receive')
    site = tmp_path / 'pages'
    made = run(sys.executable, '-m', 'mirage_hooks', 'init', str(site), '--name', 'www',
               '--branch', 'main', cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    git(tmp_path, 'init', '-q', '-b', 'main', str(site))
    for text in ('first', 'second'):
        (site / 'index.md').write_text(f'---\ntitle: {text}\n---\n{text} page\n')
        git(site, 'add', '-A')
        git(site, 'commit', '-q', '-m', text)
        done = run(str(site / 'ci/build'), cwd=site)
        assert done.returncode == 0, done.stdout + done.stderr
        if bare:
            assert 'remote: www: release' in done.stdout
        elif text == 'first':
            deployment.clone('--filter=blob:none')
            assert deployment.mirage('deploy').returncode == 0
        else:
            assert deployment.pull().returncode == 0
        assert f'<p>{text} page</p>' in deployment.page()


def _tools(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    image = web('PAGE').decode()
    (folder / 'build.py').write_text(
        "page = open('htdocs/index.html', 'rb').read()\n"
        "escaped = ''.join('\\\\x%02x' % byte for byte in page)\n"
        f"print({image!r}.replace('PAGE', escaped))\n"
    )
    programs = {
        'mirage': BUILDER.format(python=sys.executable, builder=folder / 'build.py'),
        'mirage-hooks': f'#!/bin/sh\nexec {sys.executable} -m mirage_hooks "$@"\n',
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
