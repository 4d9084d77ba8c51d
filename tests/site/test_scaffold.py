"""The scaffolded site: built by the real jekyll and make, with a recording mirage."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_mock
import yaml

from mirage_hooks.cli.main import main
from mirage_hooks.messages import errors
from mirage_hooks.site.making import lacking, questions, scaffold
from tests import elf
from tests.deployment import ROOT, git, run
from tests.patience import PATIENCE
from tests.site.test_publish import VARIABLES, XEN, tree

ANSWERS = {'name': 'mort.io', 'author': 'A "B": C', 'ipv4': '46.43.42.137/28',
           'gateway': '46.43.42.129', 'deployment': 'mor1/mort-deployment', 'branch': 'main'}
FILES = ('404.md', 'Makefile', 'README.md', '_config.yml', '_layouts/default.html',
         '_mirage/config.ml', '_mirage/.gitignore', '_mirage/tls/README', '_mirage/unikernel.ml',
         'ci/build', '.github/workflows/unikernel.yml', '.gitignore', '.travis.yml', 'index.md')

PAGES = ('404.md', '_config.yml', '_layouts/default.html', 'index.md')

# Stands in for `mirage`: notes how it is called, and makes what the real one makes, by name.
RECORDING = """#!/bin/sh
[ "$1" = configure ] || {{ echo 4.11.1; exit; }}
echo "$(basename "$PWD"): ADDR=${{ADDR-}} GWS=${{GWS-}}${{TLS:+ TLS=$TLS}} mirage $*" >> {log}
while [ $# -gt 0 ]; do [ "$1" = -t ] && target=$2; shift; done
case $target in unix) image=dist/mortio ;; *) image=dist/mortio.$target ;; esac
printf 'depends:\\n\\techo depends >> {log}\\nbuild:\\n\\techo build >> {log}\\n' > Makefile
printf '\\tmkdir -p dist && cp {image} %s && chmod +x %s\\n' "$image" "$image" >> Makefile
"""


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / 'site'
    scaffold.make(folder, scaffold.plan(folder), ANSWERS)
    return folder


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the `mirage` on PATH notes its calls; its image is for Xen."""
    record = tmp_path / 'log'
    tools = tmp_path / 'tools'
    tools.mkdir()
    (tmp_path / 'image').write_bytes(elf.solo5(XEN))
    _program(tools / 'mirage', RECORDING.format(log=record, image=tmp_path / 'image'))
    _program(tools / 'mirage-hooks', f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} '
             '-m mirage_hooks "$@"\n')
    monkeypatch.setenv('PATH', f'{tools}:{os.environ["PATH"]}')
    return record


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f'{program} is missing: apt-get install {program}')


def test_every_file_is_made_with_the_users_words(site: Path) -> None:
    made = [path for path in site.rglob('*') if path.is_file()]
    assert sorted(str(path.relative_to(site)) for path in made) == sorted(FILES)
    assert [path for path in made if re.search('@[A-Z0-9]+@', path.read_text())] == []
    assert 'register "mortio"' in (site / '_mirage/config.ml').read_text()
    assert os.access(site / 'ci/build', os.X_OK)


def test_nothing_is_overwritten_and_what_is_left_alone_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'Makefile').write_text('mine')
    (folder / '.travis.yml').symlink_to('/nowhere')
    assert main(['init', str(folder), '--name', 'x']) == 0
    assert (folder / 'Makefile').read_text() == 'mine'
    assert (folder / '.travis.yml').is_symlink()
    made = [path for path in FILES if path not in ('Makefile', '.travis.yml')]
    assert capsys.readouterr().out == ''.join([
        'left alone  Makefile (the road wants its targets site, configure.socket, '
        'configure.direct, configure.xen, build)\n',
        'left alone  .travis.yml (it does not call ci/build)\n',
        'mirage-hooks init in an empty folder shows what they lack\n',
        *(f'made        {path}\n' for path in made),
        'assumed: ipv4 10.0.0.2/24, gateway 10.0.0.1, deployment OWNER/x-deployment; '
        'to be changed in README.md, ci/build\n',
        f'next: cd {folder} && git init -b main && make site; the README tells the road\n',
    ])


def test_a_second_time_everything_is_left_alone(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['init', str(site)]) == 0
    assert capsys.readouterr().out == ''.join([
        *(f'left alone  {path}\n' for path in FILES if path not in PAGES),
        'there is a site already: no pages were made\n',
        f'next: cd {site} && git init -b main && make site; the README tells the road\n',
    ])


@pytest.mark.parametrize('own', ['_config.yml', '_config.yaml', '_config.toml', 'index.html',
                                 'index.markdown'])
def test_a_site_that_is_there_gets_no_pages(tmp_path: Path, own: str) -> None:
    (tmp_path / own).write_text('mine')
    (tmp_path / '_layouts').mkdir()
    plan = scaffold.plan(tmp_path)
    assert plan == scaffold.Plan(
        make=tuple(path for path in FILES if path not in PAGES), left=(), site=True)
    scaffold.make(tmp_path, plan, ANSWERS)
    made = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*') if path.is_file()]
    assert sorted(made) == sorted([*plan.make, own])
    assert (tmp_path / own).read_text() == 'mine'


@pytest.mark.parametrize(('path', 'text', 'want'), [
    ('Makefile', 'site build: x\nconfigure.%: y\n\t: configure.xen\n#configure.socket:\n',
     'the road wants its targets configure.socket, configure.direct, configure.xen'),
    ('.gitignore', '*.pem\n_site/\n', 'git should ignore .jekyll-cache'),
    ('_mirage/.gitignore', '/htdocs/\n_build\n', 'git should ignore tls/server.*, dist'),
    ('.gitignore', '/_site\n.jekyll-cache\n', ''),
    ('README.md', '# Mine\n', 'it does not tell the road'),
    ('.travis.yml', 'script: make\n', 'it does not call ci/build'),
    ('_mirage/config.ml', '', ''),
])
def test_what_an_owners_file_lacks_is_told(
    tmp_path: Path, path: str, text: str, want: str
) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(text)
    assert lacking.lacking(tmp_path, path) == want


def test_a_file_that_init_made_lacks_nothing(site: Path) -> None:
    assert [path for path in FILES if lacking.lacking(site, path)] == []
    assert lacking.published(site) == ''


@pytest.mark.parametrize(('file', 'text', 'missing'), [
    ('_config.yml', 'title: mine\n', 'Makefile, README.md, ci'),
    ('_config.yml', 'exclude: [Makefile, vendor]\nci: README.md\n', 'README.md, ci'),
    ('_config.yml', 'exclude:\n  - README.md\n\n# more\n- "ci/"\nMakefile: x\n', 'Makefile'),
    ('_config.yml', 'exclude:\n- README.md\n- ci\n- Makefile\n', ''),
    ('_config.toml', 'exclude = [\n  "ci",\n  "Makefile"\n]\n', 'README.md'),
    ('index.html', '', 'Makefile, README.md, ci'),
])
def test_what_would_become_a_page_is_told(
    tmp_path: Path, file: str, text: str, missing: str
) -> None:
    (tmp_path / file).write_text(text)
    (tmp_path / '_config.local.yml').write_text('')
    config = '_config.yml' if file == 'index.html' else file
    want = f'exclude: [{missing}] belongs into {config}; else they become pages'
    assert lacking.published(tmp_path) == (want if missing else '')


def test_what_a_site_wants_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / '_config.yml').write_text('title: mine\n')
    given = ('--ipv4', '192.0.2.5/24', '--gateway', '192.0.2.1', '--deployment', 'me/www')
    assert main(['init', str(tmp_path), *given]) == 0
    assert capsys.readouterr().out.splitlines() == [
        *(f'made        {path}' for path in FILES if path not in PAGES),
        'there is a site already: no pages were made',
        'exclude: [Makefile, README.md, ci] belongs into _config.yml; else they become pages',
        f'next: cd {tmp_path} && git init -b main && make site; the README tells the road',
    ]


@pytest.mark.parametrize(('folder', 'readme', 'said'), [
    ('new', None, ["next: cd {} && git init -b trunk && make site; the README tells the road"]),
    ('new; id', None,
     ["next: cd '{}' && git init -b trunk && make site; the README tells the road"]),
    ('new', 'mine', ['next: cd {} && git init -b trunk && make site']),
    ('git', None, ['next: cd {} && make site; the README tells the road']),
    ('git/docs', None, [
        'GitHub and Travis read .github and .travis.yml at the top of a repository only, not in '
        'docs/: move them there, and let them call docs/ci/build',
        'next: cd {} && make site; the README tells the road']),
])
def test_the_next_step_fits_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str, readme: str | None,
    said: list[str]
) -> None:
    git(tmp_path, 'init', '-q', 'git')
    path = tmp_path / folder
    if readme:
        path.mkdir()
        (path / 'README.md').write_text(readme)
    given = ('--ipv4', '192.0.2.5/24', '--gateway', '192.0.2.1', '--deployment', 'me/www')
    assert main(['init', str(path), '--name', 'x', '--branch', 'trunk', *given]) == 0
    files = ('made ', 'left alone ', 'mirage-hooks ')
    rest = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(files)]
    assert rest == [line.replace('{}', str(path)) for line in said]


def test_without_a_terminal_the_folder_and_git_answer(tmp_path: Path) -> None:
    folder = tmp_path / '9 my site!'
    git(tmp_path, 'init', '-q', '-b', 'trunk', str(folder))
    git(folder, 'remote', 'add', 'origin', 'git@github.com:me/pages.git')
    git(folder, 'config', 'user.name', 'Me')
    assert questions.answers(folder, {}).words == {
        'name': 'my-site-', 'author': 'Me', 'ipv4': '10.0.0.2/24', 'gateway': '10.0.0.1',
        'deployment': 'me/pages-deployment', 'branch': 'trunk'}
    assert questions.answers(tmp_path / 'new', {'ipv4': '192.0.2.1/24'}).words == {
        'name': 'new', 'author': 'new', 'ipv4': '192.0.2.1/24', 'gateway': '192.0.2.2',
        'deployment': 'OWNER/new-deployment', 'branch': 'main'}


def test_on_a_terminal_only_what_was_not_given_is_asked(tmp_path: Path) -> None:
    asked = []

    def ask(question: str) -> str:
        asked.append(question)
        return ' Someone ' if 'Author' in question else ''

    given = {'name': 'www', 'ipv4': '192.0.2.5/24', 'branch': 'main'}
    assert questions.answers(tmp_path, given, ask).words == {
        **given, 'author': 'Someone', 'gateway': '192.0.2.1', 'deployment': 'OWNER/www-deployment'}
    assert asked == ['Author [www]: ', 'Gateway [192.0.2.1]: ',
                     'Deployment repository, OWNER/NAME on GitHub or an address '
                     '[OWNER/www-deployment]: ']


def test_an_assumed_word_that_stands_in_no_file_is_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ('Makefile', 'README.md'):
        (tmp_path / path).write_text('mine')
    assert main(['init', str(tmp_path), '--name', 'x']) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        'assumed: deployment OWNER/x-deployment; to be changed in ci/build',
        f'next: cd {tmp_path} && git init -b main && make site']


def test_only_what_nobody_said_is_assumed(site: Path, tmp_path: Path) -> None:
    new = tmp_path / 'new'
    git(tmp_path, 'init', '-q', str(new))
    assert questions.answers(new, {}).assumed == ('ipv4', 'gateway', 'deployment')
    assert questions.answers(new, {'ipv4': '192.0.2.5/24'}).assumed == ('gateway', 'deployment')
    git(new, 'remote', 'add', 'origin', 'git@github.com:me/pages.git')
    assert questions.answers(new, {}).assumed == ('ipv4', 'gateway')
    assert questions.answers(new, {}, lambda question: '').assumed == ()
    assert questions.answers(site, {}).assumed == ()


def test_a_wrong_answer_on_a_terminal_is_asked_again_with_the_reason(tmp_path: Path) -> None:
    asked = []
    said = iter(['x', '192.0.2.5', '192.0.2.5/24', ''])

    def ask(question: str) -> str:
        asked.append(question)
        return next(said)

    given = {key: answer for key, answer in ANSWERS.items() if key not in ('ipv4', 'gateway')}
    assert questions.answers(tmp_path, given, ask).words == {
        **given, 'ipv4': '192.0.2.5/24', 'gateway': '192.0.2.1'}
    question = 'Static address, as ADDRESS/PREFIX [10.0.0.2/24]: '
    wanted = 'ADDRESS/PREFIX is wanted, as 192.0.2.5/24\n'
    assert asked == [question, f"--ipv4 'x': {wanted}{question}",
                     f"--ipv4 '192.0.2.5': {wanted}{question}", 'Gateway [192.0.2.1]: ']


def test_control_d_ends_init_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mocker: pytest_mock.MockerFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, 'isatty', lambda: True, raising=False)
    mocker.patch('builtins.input', side_effect=EOFError)
    assert main(['init', str(tmp_path / 'site'), '--name', 'www']) == 1
    assert capsys.readouterr() == ('\n', "mirage-hooks: no answer to 'Author': nothing was made\n"
                                   '  hint: --author gives it\n')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(('key', 'answer', 'said'), [
    ('name', '$(id)', "--name '$(id)': at most 40 letters, digits, dots and dashes, a letter first "
     'is wanted'),
    ('name', 'd.ist', "--name 'd.ist': another file in _mirage is called so"),
    ('author', 'a\nb', "--author 'a\\nb': a name on one line is wanted"),
    ('ipv4', '10.0.0.2', "--ipv4 '10.0.0.2': ADDRESS/PREFIX is wanted, as 192.0.2.5/24"),
    ('ipv4', '10.0.0.256/8', "--ipv4 '10.0.0.256/8': ADDRESS/PREFIX is wanted, as 192.0.2.5/24"),
    ('gateway', 'x', "--gateway 'x': an address is wanted, as 192.0.2.1"),
    *(('deployment', address, f'--deployment {address!r}: OWNER/NAME on GitHub, or an address as '
       'git@host:path.git, https://… or /path is wanted')
      for address in ("a/b'c", '-o/x', '-oProxyCommand=id:x', 'ssh://-oProxyCommand=id/x',
                      'git@host:-x', 'git@host:a b', 'odd://host/x', 'ext::sh', '/srv/"x"',
                      '/srv/$(id)', '/srv/}x', 'https://host/`id`', '/a\n', 'x', '')),
    ('branch', '-f', "--branch '-f': letters, digits, dots, dashes and slashes is wanted"),
])
def test_an_answer_that_would_break_a_file_is_refused(
    tmp_path: Path, key: str, answer: str, said: str
) -> None:
    with pytest.raises(errors.Refused) as refused:
        questions.answers(tmp_path, {**ANSWERS, key: answer})
    assert refused.value.reason == said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(('folder', 'file'), [
    ('site', 'site'), ('site/deeper', 'site'), ('site', 'site/ci'), ('site', 'site/.github'),
])
def test_a_file_where_a_folder_must_be_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str, file: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text('mine')
    assert main(['init', str(tmp_path / folder)]) == 1
    assert capsys.readouterr().err == (
        f'mirage-hooks: {tmp_path}/{file} is a file, and init needs a folder there\n'
        '  hint: move it away, or give init another folder\n')
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == [tmp_path / file]


@pytest.mark.parametrize(('deployment', 'short', 'remote'), [
    ('mor1/www', 'mor1/www', 'git@github.com:mor1/www.git'),
    ('git@github.com:mor1/www.git', 'mor1/www', 'git@github.com:mor1/www.git'),
    *((address, address, address) for address in (
        'git@host.example:~me/www.git', 'host:www.git', 'ssh://git@[2001:db8::1]:22/srv/www.git',
        'https://host.example/www.git', 'file:///srv/www.git', '/srv/www.git')),
])
def test_a_deployment_repository_may_be_anywhere(
    tmp_path: Path, deployment: str, short: str, remote: str
) -> None:
    answers = questions.answers(tmp_path, {**ANSWERS, 'deployment': deployment}).words
    assert answers == {**ANSWERS, 'deployment': short}
    scaffold.make(tmp_path, scaffold.plan(tmp_path), answers)
    assert f'--to "${{DEPLOY_TO:-{remote}}}"\n' in (tmp_path / 'ci/build').read_text()
    assert f'an empty repository, `{short}`, and' in (tmp_path / 'README.md').read_text()


@pytest.mark.parametrize('gone', [(), ('ci/build', 'Makefile'), ('README.md', '_mirage/config.ml')])
@pytest.mark.parametrize('deployment', ['mor1/mort-deployment', 'git@host.example:www.git'])
def test_a_second_init_uses_the_words_of_the_first(
    tmp_path: Path, gone: tuple[str, ...], deployment: str
) -> None:
    scaffold.make(tmp_path, scaffold.plan(tmp_path), {**ANSWERS, 'deployment': deployment})
    before = {path: (tmp_path / path).read_text() for path in FILES}
    for path in gone:
        (tmp_path / path).unlink()
    answers = questions.answers(tmp_path, {'author': ANSWERS['author']}, _never).words
    assert answers == {**ANSWERS, 'deployment': deployment}
    scaffold.make(tmp_path, scaffold.plan(tmp_path), answers)
    assert {path: (tmp_path / path).read_text() for path in FILES} == before


def test_words_of_the_first_init_that_were_broken_since_are_not_used(site: Path) -> None:
    script = site / 'ci/build'
    script.write_text(script.read_text().replace("--name 'mort.io'", "--name '$NAME'"))
    (site / 'README.md').unlink()
    assert questions.answers(site, {}).words == {**ANSWERS, 'name': 'mortio', 'author': 'mortio'}


@pytest.mark.parametrize(('key', 'answer', 'path'), [
    ('name', 'other', 'ci/build'), ('ipv4', '192.0.2.5/24', 'Makefile'),
    ('gateway', '192.0.2.1', 'Makefile'), ('deployment', 'me/other', 'ci/build'),
    ('branch', 'next', 'ci/build'),
])
def test_other_words_than_the_first_inits_are_refused(
    site: Path, key: str, answer: str, path: str
) -> None:
    assert questions.answers(site, ANSWERS).words == ANSWERS
    (site / '.travis.yml').unlink()
    with pytest.raises(errors.Refused) as refused:
        questions.answers(site, {**ANSWERS, key: answer})
    assert (refused.value.reason, refused.value.hint) == (
        f'--{key} {answer!r}: {path} says {ANSWERS[key]}, and init changes no file that is there',
        f'change {path} yourself, or take away the files that init shall make anew')


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, mocker: pytest_mock.MockerFixture
) -> None:
    plan = scaffold.plan(tmp_path)
    mocker.patch.object(Path, 'mkdir', side_effect=PermissionError(13, 'Permission denied'))
    with pytest.raises(errors.Refused) as refused:
        scaffold.make(tmp_path, plan, ANSWERS)
    assert refused.value.reason == f'cannot write {tmp_path}/404.md: Permission denied'


def test_git_sees_neither_the_key_nor_what_is_built_whatever_its_top_ignores(
    tmp_path: Path
) -> None:
    folder = tmp_path / 'site'
    git(tmp_path, 'init', '-q', str(folder))
    (folder / '.gitignore').write_text('!*\n')
    scaffold.make(folder, scaffold.plan(folder), ANSWERS)
    for path in ('tls/server.pem', 'tls/server.key', 'htdocs/index.html', 'dist/mortio.xen',
                 'duniverse/x/x.ml', 'mirage/main.ml', '_build/log', 'Makefile', 'dune',
                 'dune-project', 'dune.build', 'mortio-xen.opam', 'mortio.opam.locked'):
        built = folder / '_mirage' / path
        built.parent.mkdir(parents=True, exist_ok=True)
        built.write_text('')
    git(folder, 'add', '-A')
    assert git(folder, 'ls-files', '_mirage').splitlines() == [
        '_mirage/.gitignore', '_mirage/config.ml', '_mirage/tls/README', '_mirage/unikernel.ml']


def test_the_deploy_key_is_made_where_neither_git_nor_jekyll_finds_it(site: Path) -> None:
    readme = (site / 'README.md').read_text()
    assert re.findall(r'ssh-keygen .*? -f (\S+)`', readme) == ['~/.ssh/deploy']


def test_jekyll_builds_the_site(site: Path) -> None:
    needs('jekyll', 'make')
    done = run('make', 'site', cwd=site)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {str(path.relative_to(site / '_site')): path.read_text()
             for path in (site / '_site').rglob('*') if path.is_file()}
    assert set(pages) == {'index.html', '404.html'}
    assert '<title>mort.io</title>' in pages['index.html']
    assert '<p>A &quot;B&quot;: C</p>' in pages['index.html']
    # dune would leave out the folders .well-known and what begins with _.
    assert {path.name: path.read_text() for path in (site / '_mirage/htdocs').iterdir()} == {
        **pages, 'dune': '(dirs :standard .* _*)\n'}


STATIC = 'ADDR=46.43.42.137/28 GWS=46.43.42.129'


@pytest.mark.parametrize(('arguments', 'called'), [
    (('configure.socket',), '_mirage: ADDR= GWS= mirage configure -t unix --net socket'),
    (('configure.direct',), '_mirage: ADDR= GWS= mirage configure -t unix --net direct'),
    *(((f'configure.{target}',),
       f'_mirage: {STATIC} mirage configure -t {target} --net direct --no-dhcp')
      for target in ('xen', 'spt', 'hvt')),
    (('configure.xen', 'ADDR=192.0.2.5', 'MASK=255.255.255.128', 'GWS=192.0.2.1:192.0.2.2'),
     '_mirage: ADDR=192.0.2.5/25 GWS=192.0.2.1 mirage configure -t xen --net direct --no-dhcp'),
    (('configure.xen', 'ADDR=10.1.2.3', 'MASK=255.240.0.0', 'GWS='),
     '_mirage: ADDR=10.1.2.3/12 GWS= mirage configure -t xen --net direct --no-dhcp'),
    (('configure.spt', 'ADDR=192.0.2.5', 'CIDR=24', 'GWS=192.0.2.1'),
     '_mirage: ADDR=192.0.2.5/24 GWS=192.0.2.1 mirage configure -t spt --net direct --no-dhcp'),
    (('configure.xen', 'ADDR=192.0.2.5/24'),
     '_mirage: ADDR=192.0.2.5/24 GWS= mirage configure -t xen --net direct --no-dhcp'),
    (('configure.xen', 'GWS=46.43.42.130'), '_mirage: ADDR=46.43.42.137/28 GWS=46.43.42.130 '
     'mirage configure -t xen --net direct --no-dhcp'),
    (('configure.hvt', 'ADDR=192.0.2.5/24', 'GWS=192.0.2.1', 'FLAGS=--utcp -vv'),
     '_mirage: ADDR=192.0.2.5/24 GWS=192.0.2.1 mirage configure -t hvt --net direct --no-dhcp '
     '--utcp -vv'),
    (('configure.spt', 'TLS=disk'),
     f'_mirage: {STATIC} TLS=disk mirage configure -t spt --net direct --no-dhcp'),
])
def test_every_target_configures_as_it_says(
    site: Path, log: Path, arguments: tuple[str, ...], called: str
) -> None:
    needs('make')
    done = run('make', *arguments, cwd=site)
    assert done.returncode == 0, done.stderr
    assert log.read_text() == called + '\n'


@pytest.mark.parametrize(('arguments', 'said'), [
    (('ADDR=192.0.2.5',), 'ADDR=192.0.2.5 wants /PREFIX, CIDR or MASK'),
    *((('ADDR=192.0.2.5', f'MASK={mask}'), f'MASK={mask} is no netmask')
      for mask in ('255.255.255.3', '255.255.0.255', '255.255.255', 'garbage', '%')),
    (('ADDR=192.0.2.5', 'CIDR=33'), 'CIDR=33 is not a number from 0 to 32'),
    (('ADDR=192.0.2.5/24', 'MASK=255.255.255.0'),
     'ADDR=192.0.2.5/24 has its prefix: leave out CIDR and MASK'),
    (('CIDR=24',), 'ADDR=46.43.42.137/28 has its prefix: leave out CIDR and MASK'),
])
def test_an_address_that_is_not_clear_is_refused(
    site: Path, log: Path, arguments: tuple[str, ...], said: str
) -> None:
    needs('make')
    done = run('make', 'configure.xen', *arguments, cwd=site)
    assert done.returncode == 2
    assert re.sub(r'^Makefile:\d+: ', '', done.stderr) == f'*** {said}.  Stop.\n'
    assert not log.exists()


@pytest.mark.parametrize(('goal', 'variable', 'said'), [
    ('configure.xen', 'MIRAGE', 'nope is not installed: opam install mirage'),
    ('site', 'JEKYLL', 'nope is not installed: apt install jekyll or gem install jekyll'),
])
def test_a_program_that_is_missing_is_named_with_how_to_get_it(
    site: Path, goal: str, variable: str, said: str
) -> None:
    needs('make')
    done = run('make', goal, f'{variable}=nope --quietly', cwd=site)
    assert (done.returncode, done.stdout) == (2, '')
    assert re.sub(r'^Makefile:\d+: ', '', done.stderr) == f'*** {said}.  Stop.\n'


def test_make_help_names_every_goal(site: Path) -> None:
    needs('make')
    said = run('make', 'help', cwd=site).stdout
    phony = next(line for line in (site / 'Makefile').read_text().split('\n')
                 if line.startswith('.PHONY: '))
    for goal in set(phony.split()[1:]) - {'help'}:
        assert goal.replace('configure', '') in said


@pytest.mark.usefixtures('log')
def test_every_netmask_is_its_prefix(site: Path) -> None:
    needs('make')
    for prefix in range(33):
        mask = ipaddress.IPv4Network(f'0.0.0.0/{prefix}').netmask
        done = run('make', '-n', 'configure.xen', 'ADDR=192.0.2.5', f'MASK={mask}', 'GWS=x',
                   cwd=site)
        assert done.stdout == (f"cd _mirage && ADDR='192.0.2.5/{prefix}' GWS='x' "
                               'mirage configure -t xen --net direct --no-dhcp \n')


def test_build_and_run_use_what_configure_made(
    site: Path, log: Path, tmp_path: Path
) -> None:
    needs('make', 'jekyll')
    (tmp_path / 'image').write_text('#!/bin/sh\necho "$@"\n')
    done = run('make', '-s', 'configure.socket', 'build', 'run', 'PORT=8123', cwd=site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert log.read_text().splitlines()[1:] == ['depends', 'build']
    assert done.stdout.splitlines()[-1] == '--port=8123'
    assert (site / '_mirage/htdocs/index.html').exists()
    # `mirage configure` wrote a file into dist/ that the next build needs.
    (site / '_mirage/dist/dune').write_text('')
    assert run('make', 'clean', cwd=site).returncode == 0
    assert [path.name for path in (site / '_mirage/dist').iterdir()] == ['dune']


def test_the_public_schemas_accept_both_ci_files(site: Path) -> None:
    if importlib.util.find_spec('check_jsonschema') is None:
        pytest.skip('check-jsonschema is missing: pip install check-jsonschema')
    for schema, path in (('vendor.github-workflows', '.github/workflows/unikernel.yml'),
                         ('vendor.travis', '.travis.yml')):
        done = run(sys.executable, '-m', 'check_jsonschema', '--builtin-schema', schema, path,
                   cwd=site)
        assert (done.returncode, done.stdout) == (0, 'ok -- validation done\n')


def test_github_builds_one_push_of_a_branch_after_the_other(site: Path) -> None:
    workflow = yaml.safe_load((site / '.github/workflows/unikernel.yml').read_text())
    assert workflow['concurrency'] == {
        'group': 'unikernel-${{ github.ref }}', 'cancel-in-progress': False}


def test_shellcheck_accepts_the_script(site: Path) -> None:
    needs('shellcheck')
    assert run('shellcheck', 'ci/build', cwd=site).stdout == ''


def test_ocaml_can_read_config_and_unikernel(site: Path) -> None:
    needs('ocamlfind' if shutil.which('ocamlc') is None else 'ocamlc')
    for name in ('config.ml', 'unikernel.ml'):
        done = run('ocamlc', '-stop-after', 'parsing', '-impl', name, cwd=site / '_mirage')
        assert (done.returncode, done.stderr) == (0, '')


def test_the_readme_tells_the_options_of_the_unikernel(site: Path) -> None:
    readme = (site / 'README.md').read_text().partition('## The road')[0]
    known = re.findall(r'option Arg.*? "([a-z-]+)"', (site / '_mirage/unikernel.ml').read_text())
    told = set(re.findall(r'`--([\w-]+)', readme)) - {'ipv4', 'ipv4-gateway'}
    assert told == set(known) - {'port', 'https-port'}


def clean(log: Path, tmp_path: Path, **more: str) -> dict[str, str]:
    """The environment of a fresh CI machine, apart from the recording tools."""
    path = f'{log.parent / "tools"}:/usr/local/bin:/usr/bin:/bin'
    return {'PATH': path, 'HOME': str(tmp_path), 'LANG': 'C.UTF-8', **more}


def test_the_script_builds_and_publishes_in_a_clean_environment(
    site: Path, log: Path, tmp_path: Path
) -> None:
    needs('make', 'jekyll')
    hub = tmp_path / 'hub.git'
    git(tmp_path, 'init', '-q', '--bare', '-b', 'master', str(hub))
    git(tmp_path, 'init', '-q', '-b', 'main', str(site))
    git(site, 'add', '-A')
    git(site, 'commit', '-q', '-m', 'site')
    commit = git(site, 'rev-parse', 'HEAD')
    done = _build(site, clean(log, tmp_path, MIRAGE_BACKEND='xen', MIRAGE_NET='static', DEPLOY='1',
                              DEPLOY_TO=str(hub)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert log.read_text().splitlines() == [
        f'_mirage: {STATIC} mirage configure -t xen --net direct --no-dhcp', 'depends', 'build']
    assert set(tree(hub)) == {
        'xen/latest', 'xen/.latest/mort.io.xen', f'xen/{commit}/config.ml',
        f'xen/{commit}/mort.io.json', f'xen/{commit}/mort.io.xen'}
    told = json.loads(git(hub, 'show', f'master:xen/{commit}/mort.io.json'))
    assert told['versions']['mirage'] == '4.11.1'
    assert git(site, 'status', '--porcelain') == ''


@pytest.mark.parametrize(('variables', 'called'), [
    ({}, '_mirage: ADDR= GWS= mirage configure -t unix --net socket'),
    ({'MIRAGE_BACKEND': 'unix', 'MIRAGE_NET': 'direct'},
     '_mirage: ADDR= GWS= mirage configure -t unix --net direct'),
    *(({'MIRAGE_BACKEND': backend},
       f'_mirage: {STATIC} mirage configure -t {backend} --net direct --no-dhcp')
      for backend in ('xen', 'spt', 'hvt')),
    ({'MIRAGE_BACKEND': 'xen', 'MIRAGE_ADDR': '192.0.2.5', 'MIRAGE_MASK': '255.255.255.0',
      'MIRAGE_GWS': '192.0.2.1:192.0.2.2'}, '_mirage: ADDR=192.0.2.5/24 GWS=192.0.2.1 '
     'mirage configure -t xen --net direct --no-dhcp'),
])
def test_the_script_takes_the_originals_variables(
    site: Path, log: Path, tmp_path: Path, variables: dict[str, str], called: str
) -> None:
    needs('make', 'jekyll')
    done = _build(site, clean(log, tmp_path, **variables))
    assert done.returncode == 0, done.stderr
    assert log.read_text().splitlines() == [called, 'depends', 'build']


@pytest.mark.parametrize(('variables', 'reason'), [
    ({}, 'DEPLOY is not 1'),
    ({'DEPLOY': '1', 'TRAVIS_BRANCH': 'main', 'TRAVIS_PULL_REQUEST': '7'},
     'this is a pull request'),
    *(({'DEPLOY': '1', 'GITHUB_REF_NAME': 'main', 'GITHUB_EVENT_NAME': event},
       'this is a pull request') for event in ('pull_request', 'pull_request_target')),
    ({'DEPLOY': '1', 'TRAVIS_BRANCH': 'next', 'TRAVIS_PULL_REQUEST': 'false'},
     'this is not the branch main but next'),
])
def test_the_script_publishes_only_from_the_main_branch(
    site: Path, log: Path, tmp_path: Path, variables: dict[str, str], reason: str
) -> None:
    needs('make', 'jekyll')
    _program(log.parent / 'tools/mirage-hooks', f'#!/bin/sh\necho published >> {log}\n')
    done = _build(site, clean(log, tmp_path, **variables))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f'not published: {reason}'
    assert 'published' not in log.read_text()


# Stands in for `python3 -m venv`: its pip notes what it is asked for, and installs that or fails.
VENV = """#!/bin/sh
[ "$1" = -c ] && exit
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "pip $*" >> {log}\\n[ "$3" != bad ] && cp {program} %s\\n' \\
    "$3/bin/mirage-hooks" > "$3/bin/pip"
chmod +x "$3/bin/pip"
"""


@pytest.mark.parametrize(('wanted', 'ends', 'noted'), [
    ('mirage-hooks==0.1.0', 0, ['pip install --quiet mirage-hooks==0.1.0',
                                '_mirage: ADDR= GWS= mirage configure -t unix --net socket',
                                'depends', 'build', 'published']),
    ('bad', 1, ['pip install --quiet bad']),
])
def test_the_script_installs_mirage_hooks_before_the_build_and_leaves_nothing_behind(
    site: Path, log: Path, tmp_path: Path, wanted: str, ends: int, noted: list[str]
) -> None:
    needs('make', 'jekyll')
    program = tmp_path / 'program'
    _program(program, f'#!/bin/sh\necho published >> {log}\n')
    (log.parent / 'tools/mirage-hooks').unlink()
    _program(log.parent / 'tools/python3', VENV.format(log=log, program=program))
    temporary = tmp_path / 'temporary'
    temporary.mkdir()
    done = _build(site, clean(log, tmp_path, DEPLOY='1', TRAVIS_BRANCH='main', MIRAGE_HOOKS=wanted,
                              TMPDIR=str(temporary)))
    assert done.returncode == ends, done.stdout + done.stderr
    assert log.read_text().splitlines() == noted
    assert list(temporary.iterdir()) == []


def test_the_script_updates_the_packages_once_before_it_installs_the_first(
    site: Path, log: Path, tmp_path: Path
) -> None:
    tools = log.parent / 'tools'
    for name in ('mirage', 'mirage-hooks'):
        (tools / name).unlink()
    for name in ('dirname', 'git', 'id'):
        (tools / name).symlink_to(shutil.which(name) or '')
    _program(tools / 'apt-get', f'#!/bin/sh\necho "apt-get $*" >> {log}\n'
             '[ "$3" != opam ] || exit 9\n')
    _program(tools / 'sudo', '#!/bin/sh\nexec "$@"\n')
    done = _build(site, {**clean(log, tmp_path), 'PATH': str(tools)})
    assert done.returncode == 9, done.stderr
    assert log.read_text().splitlines() == [
        'apt-get update', 'apt-get install -y jekyll', 'apt-get install -y opam']


def test_the_script_refuses_a_build_that_there_is_not(
    site: Path, log: Path, tmp_path: Path
) -> None:
    done = _build(site, clean(log, tmp_path, MIRAGE_BACKEND='xen', MIRAGE_NET='socket'))
    assert (done.returncode, done.stderr) == (
        2, 'ci/build: no build for MIRAGE_BACKEND=xen MIRAGE_NET=socket\n')
    assert not log.exists()


def test_the_packaged_templates_are_complete(tmp_path: Path) -> None:
    """What `pip install` would leave out is found here, not by a user."""
    text = (ROOT / 'setup.cfg').read_text()
    patterns = re.findall(r'^    (templates/\S+)$', text, re.M)
    packed = {path for pattern in patterns
              for path in scaffold.TEMPLATES.parent.glob(pattern) if path.is_file()}
    assert packed == {path for path in scaffold.TEMPLATES.rglob('*') if path.is_file()}


def _never(question: str) -> str:
    raise AssertionError(question)


def _build(site: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(site / 'ci/build')], env=environment, cwd='/', text=True,
                          capture_output=True, timeout=PATIENCE, check=False,
                          stdin=subprocess.DEVNULL)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
