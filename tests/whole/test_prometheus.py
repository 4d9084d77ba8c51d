"""Debian's Prometheus and node exporter take what a host writes, and its alerts fire."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mirage_hooks.state import user
from mirage_hooks.watching import metrics
from tests.deployment import ROOT, Deployment, free_port, run, web
from tests.patience import PATIENCE, until

MONITORING = ROOT / 'docs' / 'monitoring'
EXPORTER = 'prometheus-node-exporter'


def needs(program: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None,
                              reason=f'{program} is missing: apt-get install {package}')


NAMES = {
    *(f'{metrics.PREFIX}{name}' for name in metrics.REPOSITORY),
    *(f'{metrics.PREFIX}unikernel_{name}' for name in metrics.UNIKERNEL),
    *(f'{metrics.PREFIX}unikernel_{name}_total' for name in metrics.COUNTED),
}


def named(text: str) -> set[str]:
    """The metrics that `text` names."""
    words = ''.join(one if one.isalnum() or one == '_' else ' ' for one in text).split()
    return {word for word in words if word.startswith(metrics.PREFIX)}


def test_the_page_lists_every_metric_and_the_rest_names_no_other() -> None:
    assert named((ROOT / 'docs' / 'watching.md').read_text()) == NAMES
    for path in MONITORING.iterdir():
        assert named(path.read_text()) - NAMES == set(), path
    assert named((ROOT / 'tests' / 'watching' / 'alerts.yml').read_text()) - NAMES == set()


@needs('promtool', 'prometheus')
def test_promtool_takes_the_metrics(serving: Deployment) -> None:
    text = serving.mirage('metrics').stdout
    done = subprocess.run(('promtool', 'check', 'metrics'), input=text, text=True,
                          capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


@needs('promtool', 'prometheus')
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    """Which moments: tests/watching/alerts.yml."""
    path = MONITORING / 'rules.yml'
    done = run('promtool', 'check', 'rules', str(path), cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = ROOT / 'tests' / 'watching' / 'alerts.yml'
    done = run('promtool', 'test', 'rules', str(cases), cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = yaml.safe_load(path.read_text())['groups'][0]['rules']
    fired = {case['alertname'] for test in yaml.safe_load(cases.read_text())['tests']
             for case in test['alert_rule_test'] if case['exp_alerts']}
    assert fired == {rule['alert'] for rule in rules}


class Prometheus:
    """One that scrapes a node exporter, which reads the files in `textfiles`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.textfiles = folder, folder / 'textfiles'
        self.textfiles.mkdir(parents=True)
        self.exporter, self.server = (f'127.0.0.1:{free_port()}' for _ in range(2))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        config = self.folder / 'prometheus.yml'
        config.write_text(yaml.safe_dump({
            'global': {'scrape_interval': '1s', 'evaluation_interval': '1s'},
            'rule_files': [str(MONITORING / 'rules.yml')],
            'scrape_configs': [{'job_name': 'node',
                                'static_configs': [{'targets': [self.exporter]}]}],
        }))
        commands = (
            (EXPORTER, '--collector.disable-defaults', '--collector.textfile',
             f'--collector.textfile.directory={self.textfiles}',
             f'--web.listen-address={self.exporter}'),
            ('prometheus', f'--config.file={config}', f'--storage.tsdb.path={self.folder}/data',
             f'--web.listen-address={self.server}'),
        )
        with (self.folder / 'log').open('a') as log, contextlib.ExitStack() as started:
            for command in commands:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, cwd=self.folder)
                started.callback(process.wait, PATIENCE)
                started.callback(process.kill)
            yield

    def exported(self) -> str:
        """What the exporter says of us."""
        lines = asked(f'http://{self.exporter}/metrics').splitlines(keepends=True)
        return ''.join(line for line in lines if not line.startswith('#'))

    def found(self, query: str) -> list[dict[str, Any]]:
        """What `query` finds now."""
        given = urllib.parse.urlencode({'query': query})
        text = asked(f'http://{self.server}/api/v1/query?{given}')
        return list(json.loads(text)['data']['result']) if text else []

    def alerts(self) -> set[tuple[str, str, str]]:
        """The name, the repository and the state of each."""
        text = asked(f'http://{self.server}/api/v1/alerts')
        return {(one['labels']['alertname'], one['labels']['repository'], one['state'])
                for one in (json.loads(text)['data']['alerts'] if text else ())}


def asked(url: str) -> str:
    """What is answered; '' while nobody listens, or is ready."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        assert error.code == 503, error.read().decode()
        return ''
    except urllib.error.URLError:
        return ''


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Deployment]:
    """A second repository of the host, where an image was refused."""
    folder = tmp_path / 'other'
    folder.mkdir()
    made = Deployment(folder)
    made.publish(web('other'), 'a' * 40)
    made.clone()
    assert made.mirage('deploy').returncode == 0
    made.publish(b'nonsense', 'b' * 40)
    assert made.mirage('pull', '--quiet').returncode == 1
    yield made
    made.end()


@needs('prometheus', 'prometheus')
@needs(EXPORTER, EXPORTER)
def test_a_host_with_two_repositories_is_scraped_and_its_alerts_fire(
    serving: Deployment, other: Deployment, tmp_path: Path
) -> None:
    for one in (serving, other):
        user.remember(one.host, True)
    assert serving.mirage('pull', '--quiet').returncode == 0
    hosts, made = {str(serving.host), str(other.host)}, Prometheus(tmp_path / 'prometheus')
    whole = made.textfiles / 'mirage.prom'
    written(serving, whole)
    with made.running():
        until(lambda: len(made.found(f'{metrics.PREFIX}unikernel_serving')) == 2, pause=0.2)
        assert {one['metric']['repository'] for one in made.found(
            f'{metrics.PREFIX}unikernel_serving == 1')} == hosts
        assert [one['value'][1] for one in made.found('node_textfile_scrape_error')] == ['0']
        until(lambda: ('ImageRefused', str(other.host), 'firing') in made.alerts(), pause=0.2)
        for expression in dashed():
            assert made.found(expression) or 'increase(' in expression, expression
        serving.crash()
        written(serving, whole)
        until(lambda: ('UnikernelDown', str(serving.host), 'pending') in made.alerts(), pause=0.2)
        assert 'MetricsStale' not in {name for name, _, _ in made.alerts()}

        whole.unlink()  # a file for each will do as well
        for name, one in (('a', serving), ('b', other)):
            assert one.mirage('metrics', '--to', f'{made.textfiles}/{name}.prom').returncode == 0
        exported = made.exported()
        assert 'node_textfile_scrape_error 0\n' in exported
        for host in hosts:
            assert f'mirage_hooks_readable{{repository="{host}"}} 1\n' in exported
    log = (made.folder / 'log').read_text()
    assert [line for line in log.splitlines() if 'level=error' in line] == []


def written(deployment: Deployment, path: Path) -> None:
    """Have the metrics of all repositories put into the file `path`."""
    command = tuple(one for one in deployment.command('metrics', '--to', str(path))
                    if one not in ('-C', str(deployment.host)))
    assert run(*command, cwd=deployment.folder).returncode == 0


def dashed() -> Iterator[str]:
    """The queries of the dashboard, as Grafana asks them."""
    panels = json.loads((MONITORING / 'dashboard.json').read_text())['panels']
    for panel in panels:
        for target in panel['targets']:
            expression = target['expr'].replace('$__rate_interval', '1m')
            for variable in ('instance', 'repository', 'unikernel'):
                expression = expression.replace(f'"${variable}"', '".*"')
            assert '$' not in expression
            yield expression
