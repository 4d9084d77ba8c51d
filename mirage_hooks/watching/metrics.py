"""What is known of repositories and their unikernels, as Prometheus reads it. Every series has the
label `repository`, so that the files of two of them can lie next to each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .. import __version__
from ..git.repository import Repository
from ..messages import errors
from ..messages.report import plain
from . import counts, rows

PREFIX = 'mirage_hooks_'

REPOSITORY: dict[str, tuple[str, tuple[str, ...]]] = {
    'build_info': ('The version of mirage-hooks that wrote this.', ('version',)),
    'written_timestamp_seconds': ('When this was written.', ()),
    'readable': ('Whether the state and mirage.yml of the repository can be read.', ()),
    'cron_run_timestamp_seconds': ("When cron's run last began; 0 before it did.", ()),
    'cron_success_timestamp_seconds': (
        "When cron's run last ended with exit code 0; 0 before it did.", ()),
    'fetch_failed': ("Whether cron's run, or a pull, last failed to fetch or to merge.", ()),
}
UNIKERNEL: dict[str, tuple[str, tuple[str, ...]]] = {
    'serving': ('Whether its process or domain runs.', ()),
    'stopped': ('Whether it is not to run here: a person stopped it, or Pacemaker does not run it '
                'on this host.', ()),
    'healthy': ('Whether it answers; without a value where nobody knows what to ask.', ()),
    'silent': ('Whether the watcher found it silent, and it has not answered since.', ()),
    'probe_duration_seconds': ('How long the answer took; without a value where none came.', ()),
    'release_info': ('The release that is live.', ('release', 'commit', 'target')),
    'deployed_timestamp_seconds': ('When the live release was deployed; 0 for none.', ()),
    'start_timestamp_seconds': ('When what runs was started; 0 where nothing runs.', ()),
    'refused': ('Whether the newest image was refused.', ()),
    'pinned': ('Whether a rollback keeps it at an older release.', ()),
    'certificate_expiry_timestamp_seconds': (
        'When the certificate that it serves with ends; without a value where it has none.', ()),
    'certificate_ending': (
        'Whether that is in two weeks, or a third of its life is left, or it has none yet.', ()),
    'deployment_duration_seconds': (
        'How long the last deployment took that came to serve; 0 before one did.', ()),
    'switch_gap_seconds': (
        'For how long nobody served in the last switch; 0 where both did side by side.', ()),
}
COUNTED: dict[str, tuple[str, tuple[str, ...]]] = {
    'restarts': ('How often it was started again.', ('reason',)),
    'deployments': ('How often a deployment ended so.', ('result',)),
}


def text(folders: Iterable[Path], tell: Callable[[Path, errors.Refused], None]) -> str:
    """All of the repositories `folders`, in Prometheus' text format. What cannot be read is told
    to `tell`, and leaves the others alone."""
    gathered = _Gathered()
    for folder in folders:
        if refused := gathered.add(folder):
            tell(folder, refused)
    registry = CollectorRegistry()
    registry.register(gathered)
    written: str = generate_latest(registry).decode()
    return written


class _Gathered:
    """Metrics by name, to which repositories are added: a collector of the library's."""

    def __init__(self) -> None:
        at, of = ('repository',), ('repository', 'unikernel')
        self.found: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, (words, labels) in REPOSITORY.items():
            self.found[name] = GaugeMetricFamily(f'{PREFIX}{name}', words, labels=at + labels)
        for name, (words, labels) in UNIKERNEL.items():
            full = f'{PREFIX}unikernel_{name}'
            self.found[name] = GaugeMetricFamily(full, words, labels=of + labels)
        for name, (words, labels) in COUNTED.items():
            full = f'{PREFIX}unikernel_{name}'
            self.found[name] = CounterMetricFamily(full, words, labels=of + labels)

    def collect(self) -> Iterable[Metric]:
        return self.found.values()

    def add(self, folder: Path) -> errors.Refused | None:
        """Add the repository at `folder`; why it cannot be read, or its mirage.yml."""
        try:
            repository = Repository(folder)
            folder, found = repository.folder, rows.found(repository, '')
        except errors.Refused as refused:
            self._repository(plain(str(folder)), None)
            return refused
        where = plain(str(folder))
        self._repository(where, found)
        for row in found.rows:
            self._unikernel((where, plain(row['name'])), row)
            self._counted((where, plain(row['name'])), found.counted.get(row['name']))
        return found.wrong

    def _put(self, name: str, labels: tuple[str, ...], value: float) -> None:
        self.found[name].add_metric(labels, value)

    def _repository(self, where: str, found: rows.Found | None) -> None:
        self._put('build_info', (where, __version__), 1)
        self._put('written_timestamp_seconds', (where,), time.time())
        self._put('readable', (where,), found is not None and found.wrong is None)
        if found is not None:
            fields = found.fields
            self._put('cron_run_timestamp_seconds', (where,), fields['cron'] or 0)
            self._put('cron_success_timestamp_seconds', (where,), fields['cron_succeeded'] or 0)
            self._put('fetch_failed', (where,), bool(fields['fetch_failed']))

    def _unikernel(self, of: tuple[str, str], row: rows.Row) -> None:
        self._put('serving', of, row['state'] == 'running')
        self._put('stopped', of, row['state'] in ('stopped', 'ready'))
        health = row.get('health', {})
        if health or row['state'] != 'running':
            self._put('healthy', of, 'ms' in health)
        if 'ms' in health:
            self._put('probe_duration_seconds', of, health['ms'] / 1000)
        if 'release' in row:
            commit = plain(row['commit'][:12])
            self._put('release_info', (*of, str(row['release']), commit, row['target']), 1)
        self._put('deployed_timestamp_seconds', of, row.get('created', 0))
        self._put('start_timestamp_seconds', of, row.get('since', 0))
        if 'certificate' in row:
            self._put('certificate_ending', of, 'wrong' in row['certificate'])
            if 'ends' in row['certificate']:
                self._put('certificate_expiry_timestamp_seconds', of, row['certificate']['ends'])
        for name in ('silent', 'refused', 'pinned'):
            self._put(name, of, name in row)

    def _counted(self, of: tuple[str, str], found: counts.Counts | None) -> None:
        found = found or counts.Counts()
        for reason in counts.REASONS:
            self._put('restarts', (*of, reason), found.restarts[reason])
        for result in counts.RESULTS.values():
            self._put('deployments', (*of, result), found.deployments[result])
        self._put('deployment_duration_seconds', of, found.took)
        self._put('switch_gap_seconds', of, found.gap)
