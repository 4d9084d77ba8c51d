"""What Prometheus reads: whole, of every repository, and well formed whatever things are called."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_mock
from prometheus_client.parser import text_string_to_metric_families

from mirage_hooks import __version__
from mirage_hooks.cli import written
from mirage_hooks.messages import errors
from mirage_hooks.state import user, watched
from mirage_hooks.watching import metrics, rows
from tests.deployment import Deployment, run, web
from tests.patience import until

Samples = dict[tuple[str, ...], float]


def samples(text: str) -> Samples:
    """The values by name and labels, in the order of their names, the repository's left out."""
    return {
        (one.name.removeprefix(metrics.PREFIX),
         *(value for label, value in one.labels.items() if label != 'repository')): one.value
        for family in text_string_to_metric_families(text) for one in family.samples
    }


def mirage(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Without a repository."""
    return run(sys.executable, '-I', '-m', 'mirage_hooks', *arguments, cwd=cwd)


NONE = {('unikernel_restarts_total', reason, 'www'): 0.0 for reason in ('silent', 'ended', 'other')}


def test_what_runs_is_told_whole(serving: Deployment) -> None:
    assert serving.mirage('pull', '--quiet').returncode == 0
    done = serving.mirage('metrics')
    assert (done.returncode, done.stderr) == (0, '')
    found, release = samples(done.stdout), serving.current()
    times = [found.pop((name,)) for name in (
        'cron_run_timestamp_seconds', 'cron_success_timestamp_seconds',
        'written_timestamp_seconds')]
    assert times == sorted(times) and times[0] > 0
    started = found.pop(('unikernel_start_timestamp_seconds', 'www'))
    assert 0 < started <= times[2]
    assert 0 < found.pop(('unikernel_probe_duration_seconds', 'www')) < 2
    assert found.pop(('unikernel_deployment_duration_seconds', 'www')) > 0
    assert found.pop(('unikernel_switch_gap_seconds', 'www')) == 0, 'nobody served before'
    assert found == {
        ('build_info', __version__): 1, ('readable',): 1, ('fetch_failed',): 0,
        ('unikernel_serving', 'www'): 1, ('unikernel_stopped', 'www'): 0,
        ('unikernel_healthy', 'www'): 1, ('unikernel_silent', 'www'): 0,
        ('unikernel_release_info', release.commit[:12], '1', 'unix', 'www'): 1,
        ('unikernel_deployed_timestamp_seconds', 'www'): release.created,
        ('unikernel_refused', 'www'): 0, ('unikernel_pinned', 'www'): 0, **NONE,
        ('unikernel_deployments_total', 'deployed', 'www'): 1,
        ('unikernel_deployments_total', 'refused', 'www'): 0,
        ('unikernel_deployments_total', 'rolled_back', 'www'): 0,
    }
    assert f'unikernel_serving{{repository="{serving.host}",unikernel="www"}} 1.0\n' in done.stdout


def test_what_never_ran_has_its_zeros(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    found = samples(deployment.mirage('metrics').stdout)
    del found['written_timestamp_seconds',]
    assert found == {
        ('build_info', __version__): 1, ('readable',): 1, ('fetch_failed',): 0,
        ('cron_run_timestamp_seconds',): 0, ('cron_success_timestamp_seconds',): 0, **NONE,
        **{(f'unikernel_{name}', 'www'): 0.0 for name in (
            'serving', 'stopped', 'healthy', 'silent', 'refused', 'pinned',
            'deployed_timestamp_seconds', 'start_timestamp_seconds',
            'deployment_duration_seconds', 'switch_gap_seconds')},
        **{('unikernel_deployments_total', result, 'www'): 0.0
           for result in ('deployed', 'refused', 'rolled_back')},
    }


def test_each_trouble_is_a_one(twice: Deployment) -> None:
    def found(name: str, *labels: str) -> float:
        return samples(twice.mirage('metrics').stdout)[(f'unikernel_{name}', *labels, 'www')]

    twice.publish(b'nonsense', 'c' * 40)
    twice.pull()
    assert (found('refused'), found('deployments_total', 'refused')) == (1, 1)
    assert twice.mirage('rollback', 'www').returncode == 0
    assert (found('pinned'), found('deployments_total', 'rolled_back')) == (1, 1)
    watched.write(twice.state().of('www').root, watched.Record(
        silences=(watched.Silence(1.0, 1, 'no answer'),)), 2.0)
    assert found('silent') == 1
    assert twice.mirage('stop', 'www').returncode == 0
    assert (found('stopped'), found('serving'), found('healthy')) == (1, 0, 0)
    twice.hub.rename(twice.folder / 'elsewhere')
    assert twice.mirage('pull', '--quiet').returncode == 1
    assert samples(twice.mirage('metrics').stdout)['fetch_failed',] == 1


def test_what_is_not_asked_is_neither_healthy_nor_not(mocker: pytest_mock.MockerFixture) -> None:
    row = {'name': 'www', 'state': 'running', 'release': 1, 'commit': 'c' * 40, 'target': 'xen'}
    found = samples(_of(mocker, row))
    assert found['unikernel_serving', 'www'] == 1
    assert not {('unikernel_healthy', 'www'), ('unikernel_probe_duration_seconds', 'www')} & set(
        found)


def _of(mocker: pytest_mock.MockerFixture, *found: rows.Row, where: str = '/r') -> str:
    """The text where `found` is what is known."""
    fields: dict[str, Any] = {'cron': None, 'cron_succeeded': None, 'fetch_failed': ''}
    mocker.patch.object(rows, 'found', return_value=rows.Found(
        {**fields, 'unikernels': [*found]}, None))
    repository = mocker.patch.object(metrics, 'Repository')
    repository.return_value.folder = Path(where)
    return metrics.text([Path(where)], lambda folder, refused: None)


def test_no_name_breaks_the_format(mocker: pytest_mock.MockerFixture) -> None:
    name = 'a"} 1\nmirage_hooks_readable{b="\\\x1b\udcff\u202e'
    row = {'name': name, 'state': 'running', 'release': 1, 'commit': f'{name:12}', 'target': 'x'}
    text = _of(mocker, row, where=f'/{name}')
    shown = 'a"} 1\\x0amirage_hooks_readable{b="\\\\x1b\\udcff\\u202e'
    families = list(text_string_to_metric_families(text.encode().decode()))
    labels = [one.labels for family in families for one in family.samples]
    assert {one['repository'] for one in labels} == {f'/{shown}'}
    assert {one['unikernel'] for one in labels if 'unikernel' in one} == {shown}
    assert [one.value for family in families for one in family.samples
            if one.name == 'mirage_hooks_readable'] == [1]


def test_all_repositories_are_told_and_one_that_cannot_be_read_leaves_the_others(
    serving: Deployment,
) -> None:
    lost = serving.folder / 'lost'
    lost.mkdir()
    for folder in (serving.host, lost):
        user.remember(folder, True)
    done = mirage('metrics', cwd=serving.folder)
    assert (done.returncode, done.stderr) == (0, f'{lost}: {lost} is not a git repository\n')
    for where, readable in ((serving.host, 1), (lost, 0)):
        assert f'hooks_readable{{repository="{where}"}} {readable}.0\n' in done.stdout
    assert done.stdout.count('# HELP mirage_hooks_readable') == 1


def help_and_types(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith('#')]


def test_every_repository_has_the_same_help(serving: Deployment) -> None:
    """Else a node exporter takes neither of two files."""
    alone = serving.mirage('metrics').stdout
    lost = mirage('-C', '/', 'metrics', cwd=serving.folder).stdout
    assert help_and_types(alone) == help_and_types(lost)
    assert len(help_and_types(alone)) == 2 * sum(
        map(len, (metrics.REPOSITORY, metrics.UNIKERNEL, metrics.COUNTED)))


def test_a_wrong_mirage_yml_is_told_next_to_what_runs(serving: Deployment) -> None:
    serving.config.write_text('unikernels: 7\n')
    done = serving.mirage('metrics')
    found = samples(done.stdout)
    assert done.stderr == (f'{serving.host}: {serving.config}:1:13: unikernels is 7: it takes a '
                           'mapping, such as {www: {image: xen/latest}}\n')
    assert (done.returncode, found['readable',], found['unikernel_serving', 'www']) == (0, 0, 1)


def test_a_file_is_put_in_place_whole_for_everybody_to_read(
    serving: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / 'textfile'
    folder.mkdir()
    path, left, young = (folder / name for name in (
        'a.prom', '.a.prom.1234.new', '.a.prom.5678.new'))
    for one in (left, young):
        one.touch()
    os.utime(left, (0, 0))
    done = serving.mirage('metrics', '--to', str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    assert samples(path.read_text())['unikernel_serving', 'www'] == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert set(folder.iterdir()) == {path, young}, 'what a kill left is gone'


@pytest.mark.parametrize('text', ['', 'a\udcff'])
def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, mocker: pytest_mock.MockerFixture, text: str
) -> None:
    path = tmp_path / 'a.prom'
    written.write(path, text)
    assert path.read_bytes() == text.encode(errors='backslashreplace')
    mocker.patch.object(os, 'fchmod', side_effect=OSError(28, 'No space left on device'))
    with pytest.raises(errors.Unavailable) as refused:
        written.write(path, 'b')
    assert refused.value.reason == f'cannot write {path}: No space left on device'
    assert list(tmp_path.iterdir()) == [path] and 'b' not in path.read_text()


def test_what_would_be_lost_is_not_replaced(serving: Deployment) -> None:
    link = serving.folder / 'link'
    link.symlink_to(serving.config)
    for path in (link, serving.host, Path('/dev/null')):
        done = serving.mirage('metrics', '--to', str(path))
        assert (done.returncode, done.stdout, done.stderr) == (1, '', (
            f'mirage-hooks: {path} is no ordinary file: it would be replaced\n'
            '  hint: name a file: --to FILE\n'))
    path = serving.folder / 'nowhere' / 'a.prom'
    done = serving.mirage('metrics', '--to', str(path))
    assert (done.returncode, done.stderr) == (1, (
        f'mirage-hooks: cannot write {path}: No such file or directory\n'
        f'  hint: {path.parent} must be there, and this user must be able to write into it\n'))


@pytest.mark.parametrize(('options', 'code', 'said'), [
    ((), 1, 'mirage-hooks: no repository is known of this user\n'
     '  hint: the installer writes them down: mirage-hooks install REPOSITORY\n'),
    (('--fresh',), 2, 'mirage-hooks: --fresh is of every repository, into a file: --fresh --to '
     'FILE, without -C\n'),
    (('--fresh', '--to', 'a', '-C', '.'), 2, 'mirage-hooks: --fresh is of every repository, into a '
     'file: --fresh --to FILE, without -C\n'),
    (('--no-fresh', '--to', 'a'), 2, 'mirage-hooks: --no-fresh knows the file: leave --to and -C '
     'out\n'),
])
def test_what_makes_no_sense_is_said(
    tmp_path: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    done = mirage('metrics', *options, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (code, '', said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_watcher_keeps_it_fresh(serving: Deployment) -> None:
    user.remember(serving.host, True)
    path = serving.folder / 'a.prom'
    assert mirage('metrics', '--no-fresh', cwd=serving.folder).stdout == (
        'no file was kept fresh: nothing to do\n')
    done = mirage('metrics', '--fresh', '--to', 'a.prom', cwd=serving.folder)
    assert (done.returncode, done.stdout) == (
        0, f'{path}: the watcher writes it anew every minute\n')
    until(user.watcher, pause=0.2)
    path.unlink()
    until(path.exists, pause=0.2)
    assert samples(path.read_text())['unikernel_serving', 'www'] == 1
    other = serving.folder / 'b.prom'
    done = mirage('metrics', '--fresh', '--to', str(other), cwd=serving.folder)
    assert done.stdout == (f'{other}: the watcher writes it anew every minute\n'
                           f'{path}: it was kept until now, and is taken away\n')
    assert (path.exists(), other.exists()) == (False, True)
    done = mirage('metrics', '--no-fresh', cwd=serving.folder)
    assert (done.returncode, done.stdout) == (0, f'{other}: it is kept no longer, and taken away\n')
    assert not other.exists()
